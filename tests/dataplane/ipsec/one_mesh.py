"""A mesh on node "here" whose kernel does at once what is wished for, unless it is told not to."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Literal

from calc_graph.model import IpPool, IpsecNode, IpsecPeering
from calc_graph.updates import HostUpdate, IpsecPeer, PoolUpdate, RouteType, RouteUpdate
from dataplane.families import Family, family_of
from dataplane.ipsec.life import Life
from dataplane.ipsec.mesh import Mesh
from dataplane.ipsec.values import (
    Direction,
    PolicyId,
    PolicyWish,
    Selector,
    StateId,
    StateWish,
    Template,
)
from dataplane.settings import IpsecSettings

HERE, FIRST, SECOND = "192.168.77.10", "192.168.77.11", "192.168.77.12"
HERE6, FIRST6 = "fd77::10", "fd77::11"
OWN, BLOCK, BLOCK2 = "10.60.0.0/26", "10.60.1.0/26", "10.60.2.0/26"
ALL = "0.0.0.0/0"
TAG, FIRST_TAG, SECOND_TAG = 0x111111, 0x222222, 0x333333
LIFE = Life("aa" * 16, TAG)
THREE, FOUR = {3: "c3"}, {4: "c4", 3: "c3"}


def settings(
    *,
    families: Iterable[Family] = (4,),
    layout: Literal["pair", "shared"] = "pair",
    allow_clear: bool = False,
    node_encryption: bool = False,
    clear_ports: tuple[tuple[Literal["tcp", "udp"], int], ...] = (),
) -> IpsecSettings:
    return IpsecSettings(
        families=frozenset(families),
        layout=layout,
        allow_clear=allow_clear,
        node_encryption=node_encryption,
        clear_ports=clear_ports,
    )


def record(
    tag: int = FIRST_TAG,
    *,
    receive: Mapping[int, str] | None = None,
    taken_in: int = TAG,
    sends: int = 0,
    ipv4: str = FIRST,
    ipv6: str = "",
    boot: str = "bb" * 16,
    enabled: bool = True,
    layout: Literal["pair", "shared"] = "pair",
    nodes: bool = False,
    hosts: bool = False,
) -> IpsecNode:
    return IpsecNode(
        enabled=enabled,
        layout=layout,
        tag=tag,
        boot=boot,
        receive=dict(THREE if receive is None else receive),
        peers={"here": IpsecPeering(taken_in, sends, hosts)},
        ipv4=ipv4,
        ipv6=ipv6,
        node_encryption=nodes,
    )


def remote(cidr: str, node: str = "first", types: RouteType | None = None) -> RouteUpdate:
    return RouteUpdate(cidr, RouteType.REMOTE_WORKLOAD if types is None else types, "none", node)


def own(cidr: str) -> RouteUpdate:
    return RouteUpdate(cidr, RouteType.LOCAL_WORKLOAD, "none", "here")


class OneMesh:
    """`late`: states that the kernel does not take."""

    def __init__(self, asked: IpsecSettings | None = None, ring: Mapping[int, str] = THREE) -> None:
        self.asked = settings() if asked is None else asked
        self.mesh = Mesh("here", self.asked)
        self.mesh.life(LIFE)
        self.mesh.keys(ring)
        self.states: dict[StateId, StateWish] = {}
        self.policies_there: dict[PolicyId, PolicyWish] = {}
        self.now = 0.0
        self.late: set[StateId] = set()
        self.mesh.update(HostUpdate("here", HERE, HERE6 if 6 in self.asked.families else ""))
        self.mesh.update(PoolUpdate(IpPool("10.60.0.0/16")))
        self.mesh.update(own(OWN))

    def first(self, end: IpsecNode | None = None, *, v6: str = "") -> None:
        self.mesh.update(HostUpdate("first", FIRST, v6))
        self.mesh.update(remote(BLOCK))
        if end is not None:
            self.say(end)

    def say(self, end: IpsecNode, node: str = "first") -> None:
        self.mesh.update(IpsecPeer(node, end))

    def run(self, now: float | None = None) -> float:
        """Let the kernel follow, and again until nothing changes."""
        self.now = self.now if now is None else now
        for _ in range(20):
            due = self.mesh.resolve(self.now)
            if not self._follow():
                return due
        raise AssertionError("it does not come to rest")

    def _follow(self) -> bool:
        changed = False
        for family in sorted(self.asked.families):
            changes = self.mesh.take_changes(family)
            states = {i: w for i, w in changes.states.items() if i not in self.late}
            self.mesh.observe(family, states, changes.policies)
            changed |= bool(states or changes.policies)
            _apply(self.states, states)
            _apply(self.policies_there, changes.policies)
        return changed

    def policy(
        self,
        direction: Direction,
        source: str,
        destination: str,
        mark: int = 0,
        protocol: int = 0,
        source_port: int = 0,
        destination_port: int = 0,
    ) -> tuple[int, str | Template] | None:
        """Priority, and the template or the action."""
        family = family_of(destination)
        selector = Selector(source, destination, protocol, source_port, destination_port)
        wish = self.mesh.policies(family).get(PolicyId(direction, selector, mark))
        return None if wish is None else (wish.priority, wish.template or wish.action)


def _apply(there: dict[StateId, StateWish] | dict[PolicyId, PolicyWish], changes: object) -> None:
    assert isinstance(changes, dict)
    for key, value in changes.items():
        if value is None:
            there.pop(key, None)
        else:
            there[key] = value
