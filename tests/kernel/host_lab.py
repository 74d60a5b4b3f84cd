"""A node whose parameters and resources are given as text, with two networks beside its workloads.

         cali1, cali2        eth0            eth0
    w1, w2 ═══════════ node ════════════════════ x1      172.30.0.0/24, fd30::/64
    10.65.0.1, 2        ║    eth1            eth0
    fd65::1, 2          ╚═══════════════════════ x2      172.31.0.0/24, fd31::/64

    await lab.configure(DefaultEndpointToHostAction="Accept")   the dataplane, anew
    await lab.have(text, …)                 exactly these resources, besides the workloads'
    lab.check(open="w1 -> node tcp 80", …)  flows of `host_traffic`, all at once

The dataplane and the graph are the agent's own, in this process; what they are told goes by the
agent's own reading of parameters and resources.  What is in the fabric knows its neighbours: policy
may forbid to look for them.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

import yaml

from calc_graph.graph import CalcGraph
from calc_graph.model import Key, Value
from calc_graph.updates import Update
from felixpy.config import to_settings
from felixpy.config.resolve import resolve
from felixpy.config.sources import parse_file
from felixpy.datastore import builtin
from felixpy.datastore.decode import decode_documents
from tests.kernel.conftest import Namespace
from tests.kernel.host_traffic import Flow, Outcome, State, ask, parse
from tests.kernel.test_dataplane import MAC, Lab

ADDRESSES = {
    "node": ("172.30.0.10", "fd30::10"),
    "node2": ("172.31.0.10", "fd31::10"),
    "x1": ("172.30.0.1", "fd30::1"),
    "x2": ("172.31.0.1", "fd31::1"),
    "w1": ("10.65.0.1", "fd65::1"),
    "w2": ("10.65.0.2", "fd65::2"),
    "loopback": ("127.0.0.1", "::1"),
}
OPEN = """\
kind: Profile
metadata: {name: open}
spec: {ingress: [{action: Allow}], egress: [{action: Allow}]}
"""
PARAMETERS = {
    "FelixHostname": "n1",
    "DatastoreType": "file",
    "IptablesBackend": "NFT",
    "MTUFile": "none",  # it would be the whole machine's
}
COMMANDS = {4: "iptables-nft -w", 6: "ip6tables-nft -w"}


def workload(n: int, **spec: Any) -> str:
    given = {
        "node": "n1",
        "orchestrator": "lab",
        "workload": f"w{n}",
        "endpoint": "eth0",
        "interfaceName": f"cali{n}",
        "ipNetworks": [f"10.65.0.{n}/32", f"fd65::{n}/128"],
        "mac": MAC.format(n),
        "profiles": ["open"],
    }
    metadata = {"name": f"n1-lab-w{n}-eth0", "namespace": "default", "labels": {"name": f"w{n}"}}
    return json.dumps({"kind": "WorkloadEndpoint", "metadata": metadata, "spec": given | spec})


def policy(name: str, selector: str, /, **spec: Any) -> str:
    """Of the whole cluster."""
    given = {"selector": selector, **spec}
    return json.dumps({"kind": "GlobalNetworkPolicy", "metadata": {"name": name}, "spec": given})


def host_endpoint(name: str, /, **spec: Any) -> str:
    metadata = {"name": name, "labels": {"host": name}}
    given = {"node": "n1", **spec}
    return json.dumps({"kind": "HostEndpoint", "metadata": metadata, "spec": given})


class HostLab(Lab):
    def __init__(self, node: Namespace, netns: Callable[[str], Namespace]) -> None:
        super().__init__(node, netns)
        self.addresses = dict(ADDRESSES)
        for n in (1, 2):
            self.plug(n)
        fabric = {"x1": netns("hp-x1"), "x2": netns("hp-x2")}
        for number, far in enumerate(fabric.values()):
            self._connect(far, f"eth{number}", 30 + number)
        self.spaces = {"node": node, "node2": node, "loopback": node, **fabric}
        self.spaces |= {f"w{n}": self.workloads[n] for n in (1, 2)}
        for space in self.spaces.values():
            space.run("sysctl -qw net.ipv4.ping_group_range='0 0'")
        node.run("ip route add default via 172.30.0.1; ip route add default via fd30::1")
        self._graph = CalcGraph("n1")
        self._graph.in_sync()
        self._known: dict[Key, Value] = {}

    def _connect(self, far: Namespace, name: str, number: int) -> None:
        near_mac, far_mac = f"02:{number}:00:00:00:0a", f"02:{number}:00:00:00:01"
        self.node.run(
            f"ip link add {name} address {near_mac} type veth"
            f" peer name eth0 address {far_mac} netns {far.name}"
        )
        for space, interface, own, other, mac in (
            (self.node, name, "10", "1", far_mac),
            (far, "eth0", "1", "10", near_mac),
        ):
            space.run(
                f"ip addr add 172.{number}.0.{own}/24 dev {interface};"
                f"ip addr add fd{number}::{own}/64 dev {interface} nodad;"
                f"ip link set {interface} up;"
                f"ip neigh add 172.{number}.0.{other} lladdr {mac} dev {interface};"
                f"ip neigh add fd{number}::{other} lladdr {mac} dev {interface}"
            )
        far.run(
            f"ip route add default via 172.{number}.0.10; ip route add default via fd{number}::10"
        )
        self.node.await_carrier(name)

    # ---------------------------------------------------------------- what the user does

    async def configure(self, **parameters: str) -> None:
        given = PARAMETERS | parameters
        text = "".join(f"{name} = {value}\n" for name, value in given.items())
        settings = to_settings(resolve([parse_file(text, "felixpy.cfg")]).config)
        await self.start(settings)
        await self.told(*self._graph.replay())

    async def have(self, *texts: str) -> None:
        """Workloads 1 and 2 besides, unless one of these is of their name."""
        values: dict[Key, Value] = dict((builtin.DEFAULT_TIER, builtin.DEFAULT_ALLOW_PROFILE))
        for text in (OPEN, workload(1), workload(2), *texts):
            for document in yaml.safe_load_all(text):
                full = {"apiVersion": "projectcalico.org/v3", **document}
                for made in decode_documents(full):
                    values.update(made.changes)
        for key in self._known.keys() - values.keys():
            self._graph.update(key, None)
        for key, value in values.items():
            if self._known.get(key) != value:
                self._graph.update(key, value)
        self._known = values
        updates = self._graph.flush()
        if self.dataplane is not None:
            await self.told(*updates)

    async def told(self, *updates: Update) -> None:
        """An endpoint may be without an interface."""
        assert self.dataplane is not None
        self.dataplane.desire(updates)
        await self.settle()
        problems = self.applied[-1].problems.values()
        assert set(problems) <= {"governs no interface of this host"}, problems

    async def settle(self, seconds: float = 0.0) -> None:
        """Until nothing is left to do; `seconds` longer, for what interfaces may bring."""
        assert self.dataplane is not None
        while self.dataplane.seconds_to_next() == 0:
            await self.turn(0)
        if seconds:
            await super().settle(seconds)

    def operator(self, rules: str) -> None:
        """Rules that are not ours, in both families; `-t nat -A OUTPUT …`, between semicolons."""
        for command in COMMANDS.values():
            self.node.run("; ".join(f"{command} {rule}" for rule in rules.split(";")))

    # ---------------------------------------------------------------- what comes of it

    def ask(self, **expected: str) -> dict[Flow, Outcome]:
        """Flows by the state that is expected of them; nothing that was known of them counts."""
        self.node.run("conntrack -F 2>&1")
        states: Mapping[str, State] = {
            "open": "open",
            "shut": "silent",
            "refused": "refused",
            "heard": "heard",
        }
        flows = {flow: states[state] for state in expected for flow in parse(expected[state])}
        return ask(self.spaces, self.addresses, flows)

    def check(self, what: str, **expected: str) -> None:
        outcomes = self.ask(**expected)
        words = {"silent": "shut"}
        found = {
            flow: words.get(outcome.state, outcome.state) for flow, outcome in outcomes.items()
        }
        wrong = [
            f"{flow.text} (IPv{flow.family}): {found[flow]}, not {state}"
            for state, text in expected.items()
            for flow in parse(text)
            if found[flow] != state
        ]
        assert not wrong, f"{what}: " + "; ".join(wrong)

    def origins(self, *texts: str) -> dict[str, list[tuple[str, int]]]:
        """From where flows that come about seem to come to those whom they reach: address and port,
        a family each.
        """
        outcomes = self.ask(open=",".join(texts))
        origins: dict[str, list[tuple[str, int]]] = {text: [] for text in texts}
        for flow, outcome in outcomes.items():
            assert outcome.state == "open", (flow.text, outcome)
            origins[flow.text].append((outcome.seen, outcome.seen_port))
        return origins
