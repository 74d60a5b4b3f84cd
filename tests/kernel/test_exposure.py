"""`felixpy check exposure` against the kernel: what it calls open is open, and nothing else is."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from felixpy.exposure.targets import ANY_OTHER, MANAGEMENT_PORTS
from tests.kernel.agent_lab import WORKLOADS, eventually
from tests.kernel.conftest import Namespace
from tests.kernel.dual_stack import NODE, OUTSIDE, DualStackLab
from tests.kernel.etcd_lab import Cluster, Namespaces
from tests.kernel.etcd_node import EtcdLab

pytestmark = pytest.mark.kernel

METADATA = "169.254.169.254"
PORTS = [port for port, _ in MANAGEMENT_PORTS]
_SERVE = """
import select, socket, sys
waiting = select.poll()
kept = {}
for kind, port in [(socket.SOCK_STREAM, int(port)) for port in sys.argv[1:]] + [
    (socket.SOCK_DGRAM, int(sys.argv[1]))
]:
    own = socket.socket(socket.AF_INET6, kind)
    own.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
    own.bind(("::", port))
    if kind == socket.SOCK_STREAM:
        own.listen(100)
    else:
        waiting.register(own, select.POLLIN)
    kept[own.fileno()] = own
print("ready", flush=True)
while True:
    for number, _ in waiting.poll():
        data, peer = kept[number].recvfrom(100)
        kept[number].sendto(data, peer)
"""
# All at once; what is not answered within a second is not reached.
_TRY = """
import json, select, socket, sys
waiting, asked = select.poll(), {}
for protocol, address, port in json.load(sys.stdin):
    kind = socket.SOCK_STREAM if protocol == "tcp" else socket.SOCK_DGRAM
    where = address + "%eth0" if address.startswith("fe80") else address
    family, _, _, _, peer = socket.getaddrinfo(where, port, type=kind)[0]
    trying = socket.socket(family, kind)
    trying.setblocking(False)
    trying.connect_ex(peer)
    if protocol == "udp":
        trying.send(b"hello")
    waiting.register(trying, select.POLLOUT if protocol == "tcp" else select.POLLIN)
    asked[trying.fileno()] = trying, (protocol, address, port)
found = []
while asked and (ready := waiting.poll(1000)):
    for number, _ in ready:
        trying, what = asked.pop(number)
        waiting.unregister(number)
        if not trying.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
            found.append(what)
print(json.dumps(found))
"""
_NODE = f"""\
apiVersion: projectcalico.org/v3
kind: Node
metadata: {{name: n2}}
spec: {{bgp: {{ipv4Address: {OUTSIDE[4]}/24, ipv6Address: "{OUTSIDE[6]}/64"}}}}
"""
_POLICIES = f"""\
apiVersion: projectcalico.org/v3
kind: NetworkPolicy
metadata: {{name: some, namespace: default}}
spec:
  selector: role == 'w1'
  types: [Egress]
  egress:
  - {{action: Allow, protocol: TCP, destination: {{ports: [22]}}}}
  - {{action: Allow, protocol: UDP, destination: {{nets: [{NODE[4]}/32]}}}}
  - {{action: Allow, protocol: TCP, destination: {{nets: ["fe80::/10"], ports: [10250]}}}}
  - {{action: Allow, protocol: TCP, destination: {{nets: ["{OUTSIDE[6]}/128"], ports: [2379]}}}}
---
apiVersion: projectcalico.org/v3
kind: NetworkPolicy
metadata: {{name: none, namespace: default}}
spec:
  selector: role == 'w2'
  types: [Egress]
  egress:
  - {{action: Deny, destination: {{nets: [172.16.0.0/12, {METADATA}/32]}}}}
  - {{action: Deny, destination: {{nets: ["fc00::/7", "fe80::/10"]}}}}
  - {{action: Allow}}
"""
_TO_HOST = """\
apiVersion: projectcalico.org/v3
kind: FelixConfiguration
metadata: {{name: default}}
spec: {{defaultEndpointToHostAction: {}}}
"""


class Way(NamedTuple):
    protocol: str
    address: str
    port: int


@pytest.fixture
def lab(netns: Callable[[str], Namespace], tmp_path: Path) -> DualStackLab:
    lab = DualStackLab(netns, tmp_path)
    lab.write("node.yaml", _NODE)
    lab.write("policies.yaml", _POLICIES)
    lab.outside.run(f"ip addr add {METADATA}/32 dev lo")
    lab.node.run(f"ip route add {METADATA} via {OUTSIDE[4]}")
    eventually(lambda: not lab.node.run("ip -6 addr show tentative"), "all addresses")
    for space in (lab.node, lab.outside):
        served = space.start(sys.executable, "-c", _SERVE, *map(str, (ANY_OTHER, 80, *PORTS)))
        assert served.stdout is not None
        assert served.stdout.readline() == "ready\n"
    return lab


def gateway(lab: DualStackLab, name: str) -> str:
    listed = lab.node.run(f"ip -j -6 addr show dev cali{name} scope link")
    return str(json.loads(listed)[0]["addr_info"][0]["local"])


def ways(lab: DualStackLab, name: str) -> Iterator[Way]:
    """All that the survey asks about."""
    for address in (*NODE.values(), gateway(lab, name)):
        yield from (Way("tcp", address, port) for port in (*PORTS, ANY_OTHER))
        yield Way("udp", address, ANY_OTHER)
    for address in OUTSIDE.values():
        yield from (Way("tcp", address, port) for port in PORTS)
    yield Way("tcp", METADATA, 80)


def reached(lab: DualStackLab, name: str) -> set[Way]:
    asked = json.dumps(list(ways(lab, name)))
    said = lab.workloads[name].run(f"{sys.executable} -c '{_TRY}'", stdin=asked)
    return {Way(*each) for each in json.loads(said)}


def exposed(found: dict[str, Any], name: str) -> set[Way]:
    return {
        Way(port["protocol"], target["address"], port["port"])
        for workload in found["exposed"]
        if workload["workload"] == f"default/{name}"
        for exposure in workload["exposures"]
        for target in exposure["targets"]
        for each in exposure["open"]
        for port in each["ports"]
    }


def kinds(found: dict[str, Any]) -> Iterable[str]:
    return {each["kind"] for workload in found["exposed"] for each in workload["exposures"]}


@pytest.mark.parametrize("action", ["Drop", "Accept"])
def test_what_is_called_open_is_open_and_nothing_else(lab: DualStackLab, action: str) -> None:
    lab.write("felix.yaml", _TO_HOST.format(action))
    before, text = lab.ask("check", "exposure", "--json")
    lab.start()
    code, again = lab.ask("check", "exposure", "--json")
    assert (before, code) == (5, 5)
    assert json.loads(again) == json.loads(text)  # whether the agent runs does not matter
    found = json.loads(text)
    for name in WORKLOADS:
        assert exposed(found, name) == reached(lab, name), name
    assert exposed(found, "w2") == set()
    assert Way("tcp", OUTSIDE[4], 22) in exposed(found, "w1")
    assert (Way("tcp", NODE[6], 22) in exposed(found, "w1")) == (action == "Accept")
    assert ("host" in kinds(found)) == (action == "Accept")


def test_nothing_is_open(lab: DualStackLab) -> None:
    lab.remove("policies.yaml")
    lab.write("profile.yaml", "")
    code, text = lab.ask("check", "exposure")
    assert (code, "0 of 3 local workloads exposed" in text) == (0, True)


def test_etcd_is_read_and_asked_about(tmp_path: Path) -> None:
    namespaces = Namespaces()
    try:
        with Cluster(tmp_path, members=1) as cluster:
            lab = EtcdLab(namespaces, tmp_path, cluster)
            lab.populate()
            code, text = lab.ask("check", "exposure", "--json")
    finally:
        namespaces.close()
    found = json.loads(text)
    assert (code, found["local_workloads"]) == (5, len(WORKLOADS))
    assert Way("tcp", cluster.address(1), 2379) in exposed(found, "w1")
    assert "datastore" in kinds(found)
