"""The demo's namespaces: one for the node, one for each workload, and nothing outside of them."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence

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
        """Make everything, and start a probe in each workload.

        Raises OSError or subprocess.CalledProcessError; `close` tidies up what there is then.
        """
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
                start_new_session=True,  # Ctrl-C is for the demo, which ends them itself
            )

    @staticmethod
    def inside(namespace: str, *argv: str) -> tuple[str, ...]:
        return ("ip", "netns", "exec", namespace, *argv)

    def _add(self, namespace: str) -> None:
        self._made.append(namespace)
        _run("ip", "netns", "add", namespace)
        _configure(namespace, "link set lo up")

    def _attach(self, workload: Workload) -> None:
        """A veth pair: cali… on the node, eth0 in the workload, which sends all to the node.

        The gateway's address is nobody's, so its neighbour entry is written down: the node would
        answer for it only if it had a default route, and it has none.
        """
        namespace = self._name(workload.name)
        interface = f"cali{workload.name}"
        self._add(namespace)
        _configure(
            self.node,
            f"link add {interface} address {HOST_SIDE_MAC} type veth"
            f" peer name eth0 netns {namespace}",
            f"link set {interface} up",
        )
        _configure(
            namespace,
            "link set eth0 up",
            f"address add {workload.address}/32 dev eth0",
            f"neighbour add {GATEWAY} lladdr {HOST_SIDE_MAC} dev eth0 nud permanent",
            f"route add {GATEWAY} dev eth0 scope link",
            f"route add default via {GATEWAY} dev eth0",
        )

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
        return _run(*self.inside(self.node, "iptables-nft-save", "--counters", "--table", "filter"))

    def close(self) -> None:
        """Take away what there is; what is already gone is no trouble."""
        for process in self._probes.values():
            process.kill()
            process.communicate()
        for namespace in reversed(self._made):
            subprocess.run(["ip", "netns", "delete", namespace], capture_output=True, check=False)


def _configure(namespace: str, *commands: str) -> None:
    _run("ip", "-netns", namespace, "-batch", "-", stdin="".join(f"{c}\n" for c in commands))


def _run(*argv: str, stdin: str = "") -> str:
    return subprocess.run(argv, input=stdin, capture_output=True, text=True, check=True).stdout
