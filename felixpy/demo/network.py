"""The demo's namespaces: one for the node, one for each workload, and nothing outside of them."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence

from pyroute2 import IPRoute, NetNS, netns

from felixpy.demo import probe
from felixpy.demo.story import Workload

HOST_SIDE_MAC = "ee:ee:ee:ee:ee:ee"
GATEWAY = "169.254.1.1"


class Network:
    def __init__(self, workloads: Sequence[Workload]) -> None:
        self._prefix = f"felixpy-demo-{os.getpid()}"
        self._made: list[str] = []
        self._probes: dict[str, subprocess.Popen[str]] = {}
        self._workloads = workloads
        self.node = self._name("node")

    def _name(self, part: str) -> str:
        return f"{self._prefix}-{part}"

    def build(self) -> None:
        """Make everything, and start a probe in each workload."""
        self._add(self.node)
        for workload in self._workloads:
            self._attach(workload)
        for workload in self._workloads:
            self._probes[workload.name] = subprocess.Popen(
                self.inside(
                    self._name(workload.name), sys.executable, probe.__file__, str(workload.port)
                ),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )

    @staticmethod
    def inside(namespace: str, *argv: str) -> tuple[str, ...]:
        return ("ip", "netns", "exec", namespace, *argv)

    def _add(self, namespace: str) -> None:
        netns.create(namespace)
        self._made.append(namespace)
        with NetNS(namespace) as inside:
            _up(inside, "lo")

    def _attach(self, workload: Workload) -> None:
        """A veth pair: cali… on the node, eth0 in the workload, which sends all to the node.

        The gateway's address is nobody's, so its neighbour entry is written down: the node would
        answer for it only if it had a default route, and it has none.
        """
        namespace = self._name(workload.name)
        interface = f"cali{workload.name}"
        self._add(namespace)
        with NetNS(self.node) as node:
            node.link(
                "add",
                ifname=interface,
                kind="veth",
                address=HOST_SIDE_MAC,
                peer={"ifname": "eth0", "net_ns_fd": namespace},
            )
            _up(node, interface)
        with NetNS(namespace) as inside:
            index = _up(inside, "eth0")
            inside.addr("add", index=index, address=workload.address, prefixlen=32)
            inside.neigh(
                "add", dst=GATEWAY, lladdr=HOST_SIDE_MAC, ifindex=index, state="permanent"
            )
            inside.route("add", dst=f"{GATEWAY}/32", oif=index, scope="link")
            inside.route("add", dst="0.0.0.0/0", gateway=GATEWAY, oif=index)

    def reaches(self, source: str, target: Workload) -> bool:
        """Whether a TCP connection from one workload to another comes about."""
        process = self._probes[source]
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(f"{target.address} {target.port}\n")
        process.stdin.flush()
        return process.stdout.readline().strip() == "open"

    def counters(self) -> str:
        """The node's IPv4 filter table with packet counters."""
        argv = self.inside(self.node, "iptables-nft-save", "--counters", "--table", "filter")
        return subprocess.run(argv, capture_output=True, text=True, check=True).stdout

    def close(self) -> None:
        for process in self._probes.values():
            process.kill()
            process.wait()
        for namespace in reversed(self._made):
            netns.remove(namespace)


def _up(inside: IPRoute, interface: str) -> int:
    index = int(inside.link_lookup(ifname=interface)[0])
    inside.link("set", index=index, state="up")
    return index
