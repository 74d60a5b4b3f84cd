"""A node's graph, configuration and guard, with a machine whose flows a test names.

node.batch({key: value})   as the pipeline gives it: noted, then reviewed
node.in_force(flow)        whether a judge of all that the dataplane was told lets a flow through
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from ipaddress import ip_address
from pathlib import Path

from calc_graph.graph import CalcGraph
from calc_graph.judge import Flow, HostInterface, HostView, Judge
from calc_graph.model import (
    FelixConfigurationKey,
    HostEndpoint,
    HostEndpointKey,
    Key,
    Peer,
    Policy,
    PolicyKey,
    PortRange,
    Rule,
    Value,
)
from calc_graph.updates import Update
from dataplane.settings import Settings
from felixpy.holds import Holds
from felixpy.live_config import LiveConfig
from felixpy.lockout import flows
from felixpy.lockout.flows import Connection, Essential
from felixpy.lockout.guard import LockoutGuard
from felixpy.lockout.ledger import Ledger
from felixpy.lockout.machine import Facts
from felixpy.lockout.memory import Memory
from felixpy.lockout.state import NodeState

OWN, ADMIN, ETCD = (ip_address(a) for a in ("172.30.0.10", "172.30.0.1", "172.30.0.2"))
SSH = tuple(flows.ssh(Connection(OWN, 22, ADMIN, 40000), "eth0"))
DATASTORE = tuple(flows.datastore(Connection(OWN, 50000, ETCD, 2379), "eth0"))
VIEW = HostView(
    {
        "lo": HostInterface(1, frozenset({"127.0.0.1"})),
        "eth0": HostInterface(2, frozenset({str(OWN)})),
    }
)
HEP = HostEndpointKey("n1", "eth0")
DEFAULT = FelixConfigurationKey("default")


class FakeMachine:
    def __init__(self) -> None:
        self.facts = Facts((*SSH, *DATASTORE), VIEW)
        self.reads = 0

    async def read(self, _: Settings, datastore_ports: Iterable[int]) -> Facts:
        assert set(datastore_ports) == set()  # the file datastore has no connection
        self.reads += 1
        return self.facts


class Node:
    """Without failsafes unless `config` says otherwise; "default" is a tier, and denies."""

    def __init__(self, directory: Path, config: str = "") -> None:
        self.path = directory / "felixpy.cfg"
        self.configure(config or "FailsafeInboundHostPorts = none\n")
        self.live = LiveConfig(self.path, {})
        self.memory = Memory(directory)
        self.graph = CalcGraph("n1")
        self.graph.in_sync()
        self.machine = FakeMachine()
        self.holds = Holds(lambda: None)
        self.counted: list[str] = []
        self.now = 0.0
        self.judge = Judge(NodeState(self.graph, self.live).judge_settings)
        self.guard = self._guard()
        self.live.settle()
        self.told: list[Update] = []

    def _guard(self) -> LockoutGuard:
        state = NodeState(self.graph, self.live)
        return LockoutGuard(
            state,
            "n1",
            self.machine,
            Ledger(self.holds, self.counted.append),
            self.memory,
            lambda: self.now,
        )

    def configure(self, text: str) -> None:
        lines = f"FelixHostname = n1\nFailsafeOutboundHostPorts = none\n{text}"
        self.path.write_text(f"[global]\n{lines}")

    async def batch(self, changes: Mapping[Key, Value | None]) -> None:
        for key, value in changes.items():
            self.live.note(key, value)
            self.guard.note(key, value)
            self.graph.update(key, value)
        updates = await self.guard.review()
        self.live.settle()
        self.told = updates
        self.judge.update(updates)

    async def review(self, seconds: float = 0.0) -> None:
        self.now += seconds
        await self.batch({})

    def in_force(self, flow: Flow) -> bool:
        """As far as resources go; the configuration is that of the start."""
        return self.judge.judge(flow, VIEW).allowed

    @property
    def manageable(self) -> bool:
        return all(self.in_force(each.flow) for each in self.machine.facts.essentials)

    @property
    def held(self) -> set[str]:
        return {hold.id for hold in self.holds.current()}


def gnp(name: str) -> PolicyKey:
    return PolicyKey("GlobalNetworkPolicy", "", name)


def policy(*rules: Rule, order: float = 100, tier: str = "default", **more: object) -> Policy:
    """On host endpoints, with these rules in both directions."""
    fields = {"selector": "has(host)", "ingress": rules, "egress": rules, **more}
    return Policy(tier, order=order, **fields)  # type: ignore[arg-type]


def to_port(port: int, action: str = "deny") -> Rule:
    ports = Peer(ports=(PortRange(port, port),))
    return Rule(action, protocol="tcp", destination=ports)  # type: ignore[arg-type]


def from_set(label: str) -> Rule:
    return Rule("allow", source=Peer(selector=f"has({label})"))


ALLOW, DENY = Rule("allow"), Rule("deny")
OPEN, SHUT = policy(ALLOW), policy(DENY)
ENDPOINT = HostEndpoint("eth0", labels={"host": "yes"})
GUARDED: dict[Key, Value | None] = {HEP: ENDPOINT, gnp("open"): policy(ALLOW, order=1000)}
"""An endpoint in force, and a policy that lets everything through at the end of the tier."""


def many(number: int) -> dict[Key, Value | None]:
    """Harmless policies."""
    return {gnp(f"harmless-{i}"): policy(to_port(i), order=50) for i in range(1000, 1000 + number)}


def essentials(*more: Essential) -> Facts:
    return Facts((*SSH, *DATASTORE, *more), VIEW)
