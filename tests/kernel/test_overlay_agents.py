"""Real agents on three nodes, one datastore: pools and blocks in, tunnels and traffic out."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.kernel.agent_lab import MAC, eventually
from tests.kernel.conftest import Namespace

pytestmark = pytest.mark.kernel

NODES = (1, 2, 3)
FAMILIES = (4, 6)

_HEAD = "apiVersion: projectcalico.org/v3\nkind: {kind}\n"
_PROFILE = (
    _HEAD.format(kind="Profile")
    + "metadata: {name: open}\nspec: {ingress: [{action: Allow}], egress: [{action: Allow}]}\n"
)
_NODE = (
    _HEAD.format(kind="Node")
    + """\
metadata: {{name: n{n}}}
spec:
  bgp: {{ipv4Address: 172.31.0.{n}/24, ipv6Address: "fd31::{n}/64"}}
  ipv4VXLANTunnelAddr: 10.65.{n}.1
  ipv6VXLANTunnelAddr: "fd65:0:0:{n}::1"
---
"""
    + _HEAD.format(kind="IPAMBlock")
    + """\
metadata: {{name: b4-{n}}}
spec: {{cidr: 10.65.{n}.0/26, affinity: "host:n{n}", allocations: [], attributes: []}}
---
"""
    + _HEAD.format(kind="IPAMBlock")
    + """\
metadata: {{name: b6-{n}}}
spec: {{cidr: "fd65:0:0:{n}::/122", affinity: "host:n{n}", allocations: [], attributes: []}}
---
"""
    + _HEAD.format(kind="WorkloadEndpoint")
    + """\
metadata: {{name: n{n}-lab-w{n}-eth0, namespace: default}}
spec:
  node: n{n}
  orchestrator: lab
  workload: w{n}
  endpoint: eth0
  interfaceName: caliw{n}
  ipNetworks: [10.65.{n}.2/32, "fd65:0:0:{n}::2/128"]
  mac: "02:65:00:00:00:0{n}"
  profiles: [open]
"""
)
_POOLS = (
    _HEAD.format(kind="IPPool")
    + "metadata: {{name: p4}}\nspec: {{cidr: 10.65.0.0/16, vxlanMode: {mode}}}\n---\n"
    + _HEAD.format(kind="IPPool")
    + 'metadata: {{name: p6}}\nspec: {{cidr: "fd65::/48", vxlanMode: {mode}}}\n'
)


class Cluster:
    """Nodes on one wire, 172.31.0.N and fd31::N, each with the workload wN and an agent."""

    def __init__(self, netns: Callable[[str], Namespace], directory: Path) -> None:
        self.manifests = directory / "manifests"
        self.manifests.mkdir()
        self._directory = directory
        self._wire = netns("wire")
        self._wire.run("ip link add br0 type bridge && ip link set br0 up")
        self.nodes = {n: netns(f"n{n}") for n in NODES}
        self.workloads = {n: netns(f"w{n}") for n in NODES}
        self.write("profile.yaml", _PROFILE)
        for n in NODES:
            self._attach(n)
            self.write(f"n{n}.yaml", _NODE.format(n=n))
        self._agents: list[subprocess.Popen[str]] = []

    def _attach(self, n: int) -> None:
        node, workload = self.nodes[n], self.workloads[n]
        self._wire.run(
            f"ip link add p{n} type veth peer name eth0 netns {node.name}"
            f" && ip link set p{n} master br0 up"
        )
        node.run(
            "ip link set lo up && ip link set eth0 up"
            f" && ip addr add 172.31.0.{n}/24 dev eth0"
            f" && ip addr add fd31::{n}/64 dev eth0 nodad"
            f" && ip link add caliw{n} address {MAC} type veth peer name eth0"
            f" netns {workload.name} && ip link set caliw{n} up"
        )
        workload.run(
            f"ip link set eth0 address 02:65:00:00:00:0{n} up"
            f" && ip addr add 10.65.{n}.2/32 dev eth0"
            f" && ip addr add fd65:0:0:{n}::2/128 dev eth0 nodad"
            f" && ip neigh add 169.254.1.1 lladdr {MAC} dev eth0 nud permanent"
            " && ip route add 169.254.1.1 dev eth0 && ip route add default via 169.254.1.1"
            f" && ip -6 neigh add fe80::1 lladdr {MAC} dev eth0 nud permanent"
            " && ip -6 route add default via fe80::1 dev eth0"
        )

    def write(self, name: str, text: str) -> None:
        scratch = self.manifests / f".{name}.new"
        scratch.write_text(text)
        scratch.rename(self.manifests / name)

    def start(self) -> None:
        for n, node in self.nodes.items():
            config = self._directory / f"n{n}.cfg"
            config.write_text(
                f"[global]\nFelixHostname = n{n}\nDatastorePath = {self.manifests}\n"
                f"RunDir = {self._directory}/run\nMTUFile = none\nLogFilePath = none\n"
                "LogSeverityScreen = ERROR\nLogSeveritySys = none\n"
                "EndpointStatusPathPrefix = none\n"
            )
            self._agents.append(
                node.start(sys.executable, "-m", "felixpy", "run", "-c", str(config))
            )

    def stop(self) -> None:
        for agent in self._agents:
            agent.send_signal(signal.SIGTERM)
        for agent in self._agents:
            agent.communicate(timeout=20)

    def reaches(self, source: int, target: int, family: int) -> bool:
        address = f"10.65.{target}.2" if family == 4 else f"fd65:0:0:{target}::2"
        return (
            self.workloads[source]
            .run(f"ping -{family} -c 1 -W 1 {address} >/dev/null && echo yes || echo no")
            .strip()
            == "yes"
        )

    def routes(self, n: int, family: int) -> str:
        return self.nodes[n].run(f"ip -{family} route")


@pytest.fixture
def cluster(netns: Callable[[str], Namespace], tmp_path: Path) -> Iterator[Cluster]:
    made = Cluster(netns, tmp_path)
    made.write("pools.yaml", _POOLS.format(mode="Always"))
    made.start()
    yield made
    made.stop()


def test_pools_change_their_mode_under_a_flow_and_leave_nothing_behind(cluster: Cluster) -> None:
    for family in FAMILIES:
        for source, target in ((1, 2), (2, 3), (3, 1)):
            eventually(
                lambda f=family, s=source, t=target: cluster.reaches(s, t, f),  # type: ignore[misc]
                f"w{source} -> w{target}, IPv{family}",
            )
    assert re.search(
        r"10\.65\.2\.0/26 via 10\.65\.2\.1 dev vxlan\.calico onlink mtu 1450",
        cluster.routes(1, 4),
    )
    assert "fd65:0:0:2::/122 via fd65:0:0:2::1 dev vxlan-v6.calico" in cluster.routes(1, 6)
    assert "blackhole 10.65.1.0/26 proto 80" in cluster.routes(1, 4)
    flows = [
        cluster.workloads[1].start("ping", f"-{family}", "-i", "0.02", "-q", address)
        for family, address in ((4, "10.65.2.2"), (6, "fd65:0:0:3::2"))
    ]
    cluster.write("pools.yaml", _POOLS.format(mode="CrossSubnet"))
    direct = "10.65.2.0/26 via 172.31.0.2 dev eth0 proto 80 onlink"
    eventually(lambda: direct in cluster.routes(1, 4), "a direct route")
    cluster.write("pools.yaml", _POOLS.format(mode="Always"))
    eventually(lambda: direct not in cluster.routes(1, 4), "the tunnel's route")
    for flow in flows:
        flow.send_signal(signal.SIGINT)
        text, _ = flow.communicate(timeout=10)
        assert " 0% packet loss" in text, text
    (cluster.manifests / "pools.yaml").unlink()
    eventually(lambda: "proto 80" not in cluster.routes(1, 4), "no route of a pool that is gone")
    eventually(lambda: "vxlan" not in cluster.nodes[1].run("ip link"), "no device either")
