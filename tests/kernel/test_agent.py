"""The agent as its users have it: a process, signals, a directory of manifests, real traffic."""

from __future__ import annotations

import re
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.kernel.agent_lab import Lab, eventually
from tests.kernel.conftest import Namespace

pytestmark = pytest.mark.kernel


@pytest.fixture
def lab(netns: Callable[[str], Namespace], tmp_path: Path) -> Lab:
    return Lab(netns, tmp_path)


def only(source: str, target: str = "w2") -> str:
    return f"""\
apiVersion: projectcalico.org/v3
kind: NetworkPolicy
metadata: {{name: guard, namespace: default}}
spec:
  selector: role == '{target}'
  ingress:
  - action: Allow
    source: {{selector: role == '{source}'}}
"""


FOREIGN = """
iptables-nft -N theirs && iptables-nft -A theirs -j ACCEPT && iptables-nft -A FORWARD -j theirs
ipset create theirs hash:net && ipset add theirs 192.0.2.0/24
ip route add 198.51.100.0/24 dev lo proto static
ip neigh add 10.65.9.9 lladdr 02:00:00:00:00:01 dev caliw1 nud permanent
"""


def test_a_bad_manifest_refuses_the_start_and_touches_nothing(lab: Lab) -> None:
    lab.node.run(FOREIGN)
    lab.write("guard.yaml", only("w1").replace("ingress:", "ingres:"))
    before, generation = lab.kernel(), lab.generation()
    code, text = lab.launch().ended()
    assert code == 2
    assert "guard.yaml:6:3: spec.ingres: unknown field 'ingres', did you mean 'ingress'?" in text
    assert "Traceback" not in text
    assert (lab.kernel(), lab.generation()) == (before, generation)


def test_policy_opens_and_closes_real_flows(lab: Lab) -> None:
    lab.start()
    assert lab.reaches("w1", "w2")
    assert lab.reaches("w3", "w2")
    lab.write("guard.yaml", only("w1"))
    eventually(lambda: not lab.reaches("w3", "w2"), "the policy")
    assert lab.reaches("w1", "w2")
    lab.write("guard.yaml", only("w3"))
    eventually(lambda: lab.reaches("w3", "w2"), "the other policy")
    assert not lab.reaches("w1", "w2")
    lab.remove("guard.yaml")
    eventually(lambda: lab.reaches("w1", "w2"), "the end of the policy")


def test_a_mistake_while_running_leaves_the_last_good_version_in_force(lab: Lab) -> None:
    lab.write("guard.yaml", only("w1"))
    running = lab.start()
    lab.write("guard.yaml", only("w3").replace("Allow", "Alow"))
    eventually(lambda: not lab.is_well(running), "the complaint")
    code, text = lab.ask("status")
    assert code == 4
    assert "guard.yaml" in text
    assert lab.reaches("w1", "w2")
    assert not lab.reaches("w3", "w2")
    lab.write("guard.yaml", only("w3"))
    eventually(lambda: lab.is_well(running) and lab.reaches("w3", "w2"), "the mended policy")
    assert lab.ask("status")[0] == 0


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_rules_outlive_the_agent_and_the_next_one_writes_nothing(
    lab: Lab, how: signal.Signals
) -> None:
    lab.write("guard.yaml", only("w1"))
    running = lab.start()
    code, text = running.end(how)
    assert code == (-how if how is signal.SIGKILL else 0)
    assert "Traceback" not in text
    assert lab.ask("status")[0] == 3
    assert lab.reaches("w1", "w2")
    assert not lab.reaches("w3", "w2")
    before, generation = lab.kernel(), lab.generation()
    lab.start()
    assert lab.kernel() == before
    assert lab.generation() == generation


def test_a_restart_after_a_change_writes_the_difference(lab: Lab) -> None:
    lab.write("guard.yaml", only("w1"))
    lab.start().end(signal.SIGTERM)
    assert lab.reaches("w1", "w3")
    counted = _counters(lab.rules(), "cali-tw-caliw3")
    assert sum(counted) > 0
    lab.write("guard.yaml", only("w3"))
    running = lab.start()
    assert lab.reaches("w3", "w2")
    assert not lab.reaches("w1", "w2")
    assert _counters(lab.rules(), "cali-tw-caliw3") == counted
    _, text = running.end(signal.SIGTERM)
    assert "dataplane.applied" in text


def _counters(rules: str, chain: str) -> list[int]:
    lines = [line for line in rules.splitlines() if f"-A {chain} " in line]
    return [int(line[1 : line.index(":")]) for line in lines]


def test_sighup_changes_what_is_written_and_breaks_no_flow(lab: Lab) -> None:
    lab.write("guard.yaml", only("w1"))
    running = lab.start()
    carries = lab.flow("w1", "w2")
    assert carries()
    lab.configure(IptablesFilterDenyAction="Reject")
    running.process.send_signal(signal.SIGHUP)
    eventually(lambda: "-j REJECT" in lab.rules(), "the other deny action")
    assert carries()
    lab.configure(IptablesFilterDenyAction="Rejekt")
    running.process.send_signal(signal.SIGHUP)
    eventually(lambda: not lab.is_well(running), "the complaint")
    assert "-j REJECT" in lab.rules()
    lab.configure(IptablesFilterDenyAction="Drop", LogSeverityScreen="DEBUG")
    running.process.send_signal(signal.SIGHUP)
    eventually(lambda: "-j REJECT" not in lab.rules(), "the deny action as it was")
    eventually(lambda: lab.is_well(running), "the end of the complaint")
    assert carries()
    _, text = running.end(signal.SIGTERM)
    assert text.count("configuration.read_again") == 3


def test_felix_configuration_takes_effect_while_running(lab: Lab) -> None:
    lab.node.run("ip addr add 10.65.9.9/32 dev lo")
    lab.start()
    carries = lab.flow("w1", "w2")

    def asks_the_host() -> bool:
        return "1 received" in lab.workloads["w1"].run("ping -c1 -W1 10.65.9.9", check=False)

    assert carries()
    assert not asks_the_host()
    lab.write(
        "felix.yaml",
        "apiVersion: projectcalico.org/v3\nkind: FelixConfiguration\nmetadata: {name: default}\n"
        "spec: {defaultEndpointToHostAction: Accept}\n",
    )
    eventually(asks_the_host, "the way to the host")
    assert carries()
    lab.remove("felix.yaml")
    eventually(lambda: not asks_the_host(), "the end of the way to the host")
    assert carries()


def test_a_datastore_that_is_not_ready_is_waited_for(lab: Lab) -> None:
    cluster = (
        "apiVersion: projectcalico.org/v3\nkind: ClusterInformation\nmetadata: {name: default}\n"
        "spec: {datastoreReady: %s}\n"
    )
    lab.write("cluster.yaml", cluster % "false")
    before = lab.kernel()
    running = lab.launch()
    eventually(lambda: (s := lab.status()) is not None and bool(s.problems), "the complaint")
    assert lab.kernel() == before
    lab.write("cluster.yaml", cluster % "true")
    eventually(lambda: lab.is_well(running), "in sync")
    lab.write("cluster.yaml", cluster % "false")
    eventually(lambda: not lab.is_well(running), "the second complaint")
    lab.write("guard.yaml", only("w1"))
    lab.write("cluster.yaml", cluster % "true")
    eventually(lambda: not lab.reaches("w3", "w2"), "the policy that had waited")


def test_a_second_agent_is_refused(lab: Lab) -> None:
    running = lab.start()
    code, text = lab.launch().ended()
    assert code == 1
    assert f"process {running.pid} is already the agent of this node" in text
    assert lab.is_well(running)


def test_another_datastore_is_taken_up_and_one_that_is_missing_changes_nothing(lab: Lab) -> None:
    lab.write("guard.yaml", only("w1"))
    running = lab.start()
    before = lab.kernel()
    there = lab.settings["DatastorePath"]
    lab.configure(DatastorePath=f"{there}-elsewhere")
    running.process.send_signal(signal.SIGHUP)
    eventually(lambda: not lab.is_well(running), "the complaint")
    assert lab.kernel() == before
    Path(there).rename(f"{there}-elsewhere")
    Path(f"{there}-elsewhere", "guard.yaml").write_text(only("w3"))
    eventually(lambda: lab.is_well(running) and lab.reaches("w3", "w2"), "the other datastore")
    assert not lab.reaches("w1", "w2")


@pytest.mark.parametrize("backend", ["nft", "legacy"])
def test_cleanup_takes_ours_and_nothing_else(lab: Lab, backend: str) -> None:
    lab.configure(IptablesBackend=backend)
    lab.node.run(FOREIGN)
    before = lab.kernel()
    lab.write("guard.yaml", only("w1"))
    running = lab.start()
    assert lab.reaches("w1", "w2")
    assert not lab.reaches("w3", "w2")
    code, text = lab.ask("cleanup")
    assert code == 1
    assert f"process {running.pid}" in text
    running.end(signal.SIGTERM)
    during = lab.kernel()
    assert "cali-FORWARD" in during
    assert "10.65.0.1 dev caliw1 lladdr 02:65:00:00:00:01 PERMANENT" in during
    assert lab.ask("cleanup", "--dry-run")[0] == 0
    assert lab.kernel() == during
    code, text = lab.ask("cleanup")
    assert code == 0, text
    assert _foreign(lab.kernel()) == _foreign(before)
    code, text = lab.ask("cleanup")
    nothing = "removed 0 chains, 0 IP sets, 0 routes, 0 static neighbours, 0 tunnels\n"
    assert (code, text) == (0, nothing)


def _foreign(kernel: str) -> list[str]:
    """Without tables and built-in chains that are there, empty, since somebody looked."""
    return [line for line in kernel.splitlines() if not re.match(r"\s*$|\*|:[A-Z]|COMMIT", line)]
