"""A node whose kernel may have no WireGuard: it says so, goes on with everything else, and is as
strict as it was asked to be.

What this machine's kernel has is asked first; the guest lane asks one that has it for all the rest.
"""

from __future__ import annotations

import json
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from felixpy.datastore.etcd_keys import resource_key
from tests.guest import wireguard_manifests as manifests
from tests.kernel.agent_lab import Lab, eventually
from tests.kernel.conftest import Namespace
from tests.kernel.etcd_lab import Cluster
from tests.kernel.etcd_node import EtcdLab

pytestmark = pytest.mark.kernel

KEY = "HIgo9xNzJMWLKASShiTqIybxZ0U3wGLiUeJ1PKf8ykw="
REMOTE = "10.65.2.2"
NO_MODULE = "no WireGuard"
NODE = resource_key("Node", "n1")
SOMEBODYS = {"type": "Ready", "status": "Unknown", "since": 1.5}


@pytest.fixture
def has_wireguard(netns: Callable[[str], Namespace]) -> bool:
    return "yes" in netns("ask").run("ip link add wg0 type wireguard 2>&1 && echo yes; true")


@pytest.fixture
def lab(netns: Callable[[str], Namespace], tmp_path: Path) -> Lab:
    made = Lab(netns, tmp_path)
    wire = netns("wire")
    made.node.run(
        f"ip link add eth0 type veth peer name eth0 netns {wire.name}; ip link set eth0 up;"
        "ip addr add 172.31.0.1/24 dev eth0; ip addr add fd31::1/64 dev eth0 nodad;"
        "ip route add default via 172.31.0.254"
    )
    wire.run("ip link set eth0 up")
    made.write("pools.yaml", manifests.pools())
    made.write("n1.yaml", manifests.together(manifests.node(1), manifests.blocks(1)))
    made.write("n2.yaml", manifests.together(manifests.node(2, (KEY, "")), manifests.blocks(2)))
    return made


def way(lab: Lab) -> str:
    """Where the node sends to a workload of another node."""
    return lab.node.run(f"ip route get {REMOTE} 2>&1; true")


def said(lab: Lab) -> str:
    status = lab.status()
    return "" if status is None else " ".join(f"{p.about}: {p.text}" for p in status.problems)


def pid_and_state(lab: Lab) -> tuple[int, str]:
    status = lab.status()
    return (0, "") if status is None else (status.pid, status.state)


def condition(status: dict[str, Any]) -> dict[str, Any]:
    """Ours, without its time."""
    found = next(dict(each) for each in status["conditions"] if each["type"] == "WireguardReady")
    assert found.pop("lastTransitionTime").endswith("Z")
    return found


LACKING = {
    "type": "WireguardReady",
    "status": "False",
    "reason": "KernelLacksWireguard",
    "message": "this kernel has no WireGuard (module wireguard)",
}


@pytest.mark.parametrize("strict", [False, True])
def test_a_kernel_without_wireguard(lab: Lab, has_wireguard: bool, strict: bool) -> None:
    lab.configure(
        WireguardEnabled="true",
        WireguardStrict=str(strict).lower(),
        LogSeverityScreen="INFO",
    )
    agent = lab.launch()
    eventually(lambda: "in sync" in str(lab.status()), "any status")
    if has_wireguard:
        eventually(lambda: "wireguard.cali" in lab.node.run("ip link"), "the device")
        assert NO_MODULE not in said(lab)
        agent.end(signal.SIGTERM)
        return
    eventually(lambda: NO_MODULE in said(lab), "the status's word")
    status = lab.status()
    assert status is not None
    assert (status.dataplane.state, status.state) == ("in sync", "degraded")
    eventually(lambda: lab.reaches("w1", "w2"), "everything else")
    run_directory = Path(lab.settings["RunDir"]) / f"netns-{lab.node.name}"
    file = run_directory / "status" / NODE.removeprefix("/calico/")
    eventually(file.exists, "the Node's status")
    assert condition(json.loads(file.read_text())["status"]) == LACKING
    if strict:
        eventually(lambda: "No route to host" in way(lab), "strictness")
    else:
        eventually(lambda: "dev eth0" in way(lab), "a route in clear")
        assert "lookup 1" not in lab.node.run("ip rule")
    code, text = agent.end(signal.SIGTERM)
    assert code == 0
    assert NO_MODULE in text, text


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    with Cluster(tmp_path, members=1) as cluster:
        yield cluster


def test_the_node_in_etcd_says_so_once(
    netns: Callable[[str], Namespace], tmp_path: Path, cluster: Cluster, has_wireguard: bool
) -> None:
    lab = EtcdLab(netns, tmp_path, cluster, WireguardEnabled="true")
    lab.populate()
    before = json.loads(manifests.node(1))
    before |= {"tomorrow": [1.5, None], "status": {"conditions": [SOMEBODYS], "later": {}}}
    cluster.put(NODE, json.dumps(before))

    def node() -> Any:
        return json.loads(cluster.etcdctl(f"get --print-value-only {NODE}"))

    def version() -> int:
        """How often it has been written."""
        (pair,) = json.loads(cluster.etcdctl(f"get -w json {NODE}"))["kvs"]
        return int(pair["version"])

    agent = lab.launch()
    eventually(lambda: len(node()["status"]["conditions"]) == 2, "the condition")
    after = node()
    if has_wireguard:
        assert condition(after["status"])["reason"] == "KeyInKernel"
        agent.end(signal.SIGTERM)
        return
    assert condition(after["status"]) == LACKING
    ours = after["status"]["conditions"].pop()
    assert after == before
    assert agent.end(signal.SIGTERM)[0] == 0

    agent = lab.launch()  # says the same, and therefore writes nothing
    eventually(lambda: (agent.pid, "degraded") == pid_and_state(lab), "its status")
    assert version() == 2
    assert node()["status"]["conditions"] == [SOMEBODYS, ours]
    assert agent.end(signal.SIGTERM)[0] == 0

    lab.configure(WireguardEnabled="false")
    agent = lab.start()
    eventually(lambda: node() == before, "the condition's end")
    assert version() == 3  # nor has the second agent written since
    assert agent.end(signal.SIGTERM)[0] == 0
