"""An agent with IPsec and an etcd, on a kernel that may have no ESP: what it reads of the others,
what it publishes and takes back, what it says, and that it closes what it cannot encrypt.
"""

from __future__ import annotations

import contextlib
import json
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from msgspec import structs

from calc_graph.model import IpsecNode
from felixpy.datastore.convert.ipsec import render_ipsec_node
from tests.kernel.agent_lab import Running, eventually
from tests.kernel.conftest import Namespace
from tests.kernel.etcd_lab import Cluster
from tests.kernel.etcd_node import EtcdLab

pytestmark = pytest.mark.kernel

RECORDS = "/calico/felixpy/v1/ipsecnodes/"
NODE = """\
apiVersion: projectcalico.org/v3
kind: Node
metadata: {{name: {name}}}
spec: {{bgp: {{ipv4Address: 10.99.0.{number}/24}}}}
"""
POOL = """\
apiVersion: projectcalico.org/v3
kind: IPPool
metadata: {name: pool}
spec: {cidr: 10.65.0.0/16}
"""
BLOCK = {
    "cidr": "10.65.77.0/26",
    "affinity": "host:n2",
    "allocations": [None] * 64,
    "unallocated": list(range(64)),
    "attributes": [],
}
OTHER = IpsecNode(enabled=True, tag=7, boot="07" * 16, receive={3: "3" * 16}, ipv4="10.99.0.2")
KEY = f"3 rfc4106(gcm(aes)) {bytes(range(20)).hex()} 128\n"


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with Cluster(tmp_path_factory.mktemp("etcd"), members=1) as cluster:
        yield cluster


@pytest.fixture
def cluster(whole: Cluster) -> Cluster:
    whole.clear()
    return whole


@pytest.fixture
def keys(tmp_path: Path) -> Path:
    path = tmp_path / "keys"
    path.write_text(KEY)
    path.chmod(0o600)
    return path


@pytest.fixture
def lab(
    netns: Callable[[str], Namespace], tmp_path: Path, cluster: Cluster, keys: Path
) -> Iterator[EtcdLab]:
    lab = EtcdLab(netns, tmp_path, cluster, IPsecEnabled="true", IPsecKeyFile=str(keys))
    lab.populate()
    lab.write("pool", POOL)
    for name, number in (("n1", 100), ("n2", 2)):
        lab.write(name, NODE.format(name=name, number=number))
    cluster.put(
        "/calico/ipam/v2/assignment/ipv4/block/10.65.77.0-26", msgspec.json.encode(BLOCK).decode()
    )
    cluster.put(f"{RECORDS}n2", render_ipsec_node("n2", OTHER).decode())
    yield lab
    lab.end_all()


def details(lab: EtcdLab) -> dict[str, Any]:
    _, text = lab.ask("status", "ipsec", "--json")
    with contextlib.suppress(json.JSONDecodeError):
        found: dict[str, Any] = json.loads(text)
        return found
    return {}


def peers(lab: EtcdLab) -> dict[str, str]:
    return {peer["node"]: peer["stage"] for peer in details(lab).get("status", {}).get("peers", ())}


def policies(lab: EtcdLab) -> str:
    return lab.node.run("ip xfrm policy")


def without_esp(lab: EtcdLab, running: Running) -> bool:
    """Whether the agent has found that this kernel has no ESP; it says so."""
    eventually(lambda: bool(details(lab).get("keys")), "an agent that tells of its keys")
    assert running.process.poll() is None
    return "this kernel" in details(lab)["keys"]["reason"]


def test_what_cannot_be_encrypted_is_closed_and_said(lab: EtcdLab) -> None:
    running = lab.launch()
    eventually(lambda: "n2" in peers(lab), "the other node among the peers")
    eventually(lambda: "dst 10.65.77.0/26" in policies(lab), "policies for its block")
    out = policies(lab).split("src 0.0.0.0/0 dst 10.65.77.0/26")[1]
    assert "dir out action block" in " ".join(out.split()[:6])
    if without_esp(lab, running):
        lab.await_problem("this kernel")
        lab.await_status("0 of 1 peers encrypted; 1 closed; no key", 4)
        assert details(lab)["keys"]["checks"] == {}
        assert peers(lab) == {"n2": "closed"}
    assert running.end(signal.SIGTERM)[0] == 0
    assert "dst 10.65.77.0/26" in policies(lab)


def test_a_record_that_turns_bad_is_a_problem_and_counts_as_before(
    lab: EtcdLab, cluster: Cluster
) -> None:
    running = lab.launch()
    eventually(lambda: "n2" in peers(lab), "the other node among the peers")
    (before,) = details(lab)["status"]["peers"]
    cluster.put(f"{RECORDS}n2", '{"spec": {"enabled": true}}')
    lab.await_problem("spec.tag")
    (after,) = details(lab)["status"]["peers"]
    assert after == before
    cluster.put(f"{RECORDS}n2", render_ipsec_node("n2", OTHER).decode())
    eventually(lambda: "spec.tag" not in lab.problems(), "no problem with the record")
    assert running.end(signal.SIGTERM)[0] == 0


def test_switched_off_nothing_is_left_here_or_there(lab: EtcdLab, cluster: Cluster) -> None:
    cluster.put(f"{RECORDS}n1", render_ipsec_node("n1", OTHER).decode())
    running = lab.launch()
    eventually(lambda: "dst 10.65.77.0/26" in policies(lab), "policies for its block")
    kept = Path(lab.settings["RunDir"]) / f"netns-{lab.node.name}/ipsec.json"
    assert kept.exists()
    lab.configure(IPsecEnabled="false")
    running.process.send_signal(signal.SIGHUP)
    eventually(lambda: policies(lab) == "", "a kernel without policies")
    eventually(
        lambda: cluster.etcdctl(f"get --keys-only {RECORDS}n1").strip() == "", "no record of ours"
    )
    eventually(lambda: not kept.exists(), "no life")
    assert lab.node.run("ip rule | grep -c 'lookup 200' || :").strip() == "0"
    assert f"{RECORDS}n2" in cluster.etcdctl(f"get --keys-only {RECORDS}n2")
    assert lab.ask("status", "ipsec") == (0, "IPsec is off\n")
    lab.await_well(running)
    assert running.end(signal.SIGTERM)[0] == 0


FELIX = """\
apiVersion: projectcalico.org/v3
kind: FelixConfiguration
metadata: {name: default}
spec: {wireguardEnabled: true, ipv6Support: false}
"""


def test_the_datastore_takes_nothing_away(lab: EtcdLab) -> None:
    running = lab.launch()
    eventually(lambda: "dst 10.65.77.0/26" in policies(lab), "policies for its block")
    before = policies(lab)
    lab.write("felix", FELIX)
    lab.await_problem("WireguardEnabled of the datastore is not followed: IPsec encrypts IPv4 here")
    lab.await_problem("Ipv6Support of the datastore is not followed")
    assert policies(lab) == before
    assert "wireguard" not in lab.node.run("ip link")
    lab.remove("felix")
    eventually(lambda: "is not followed" not in lab.problems(), "no such problem")
    assert running.end(signal.SIGTERM)[0] == 0


def test_a_boot_that_comes_back_begins_another_life(lab: EtcdLab, cluster: Cluster) -> None:
    kept = Path(lab.settings["RunDir"]) / f"netns-{lab.node.name}/ipsec.json"
    path = f"{RECORDS}n2"

    def read() -> Any:
        """Between two lives there is none for a moment."""
        try:
            return json.loads(kept.read_text())
        except FileNotFoundError:
            return {"life": {"boot": ""}, "used": {"gone": ["not known"] * 9}}

    def life() -> str:
        return str(read()["life"]["boot"])

    def gone() -> int:
        return len(read()["used"]["gone"])

    running = lab.launch()
    eventually(lambda: "n2" in peers(lab), "the other node among the peers")
    first = life()
    renewed = structs.replace(OTHER, boot="08" * 16)
    cluster.put(path, render_ipsec_node("n2", renewed).decode())
    eventually(lambda: gone() == 1, "its former boot is remembered")
    assert running.end(signal.SIGTERM)[0] == 0
    running = lab.launch()
    eventually(lambda: "n2" in peers(lab), "the other node among the peers")
    assert life() == first
    cluster.put(path, render_ipsec_node("n2", OTHER).decode())
    eventually(lambda: life() not in ("", first), "another life")
    eventually(lambda: gone() == 0, "nothing of the former one")
    assert running.end(signal.SIGTERM)[0] == 0


def test_a_changed_key_file_is_noticed(lab: EtcdLab, keys: Path) -> None:
    running = lab.launch()
    first = without_esp(lab, running)
    keys.write_text("16 rfc4106(gcm(aes)) 00 128\n")
    eventually(lambda: "after 15 comes 1" in str(details(lab)["keys"]["reason"]), "a reason")
    assert "after 15 comes 1" in lab.ask("status")[1]
    keys.write_text(KEY.replace("3 ", "4 ", 1))
    if not first:
        eventually(lambda: [*details(lab)["keys"]["checks"]] == ["4"], "the new key in use")
    assert running.end(signal.SIGTERM)[0] == 0
