"""The agent's node with workloads in both families, and one machine outside.

w1, w2, w3 ════ node, 172.30.0.10 and fd30::10 ════ outside, 172.30.0.1 and fd30::1
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from dataplane.families import Family
from tests.kernel.agent_lab import MAC, WORKLOADS, Lab
from tests.kernel.conftest import Namespace

V6 = {"w1": "fd65::1", "w2": "fd65::2", "w3": "fd65::3"}
ADDRESSES: dict[Family, dict[str, str]] = {4: WORKLOADS, 6: V6}
NODE: dict[Family, str] = {4: "172.30.0.10", 6: "fd30::10"}
OUTSIDE: dict[Family, str] = {4: "172.30.0.1", 6: "fd30::1"}

_ENDPOINT = """\
apiVersion: projectcalico.org/v3
kind: WorkloadEndpoint
metadata: {{name: n1-lab-{name}-eth0, namespace: default, labels: {{role: {role}}}}}
spec:
  node: n1
  orchestrator: lab
  workload: {name}
  endpoint: eth0
  interfaceName: cali{name}
  ipNetworks: [{v4}/32, {v6}/128]
  mac: 02:65:00:00:00:0{number}
  profiles: [open]
"""


class DualStackLab(Lab):
    def __init__(self, netns: Callable[[str], Namespace], directory: Path) -> None:
        super().__init__(netns, directory)
        self.outside = netns("outside")
        self.node.run(f"ip link add eth0 type veth peer name eth0 netns {self.outside.name}")
        for space, addresses in ((self.node, NODE), (self.outside, OUTSIDE)):
            space.run(
                f"ip addr add {addresses[4]}/24 dev eth0; ip addr add {addresses[6]}/64 dev eth0"
                " nodad; ip link set eth0 up"
            )
        self.outside.run(
            f"ip route add 10.65.0.0/24 via {NODE[4]}; ip route add fd65::/64 via {NODE[6]}"
        )
        for name, v6 in V6.items():
            self.workloads[name].run(
                f"ip addr add {v6}/128 dev eth0 nodad;"
                f"ip neigh replace fe80::1 lladdr {MAC} dev eth0 nud permanent;"
                "ip route add default via fe80::1 dev eth0"
            )
            self.label(name, name)

    def label(self, name: str, role: str) -> None:
        """The workload, with another role."""
        text = _ENDPOINT.format(
            name=name, role=role, v4=WORKLOADS[name], v6=V6[name], number=name[1:]
        )
        self.write(f"{name}.yaml", text)
