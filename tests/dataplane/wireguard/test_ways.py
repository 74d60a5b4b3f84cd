"""Which way each packet takes, after every single write to any of three tables: the peers' nets,
WireGuard's routes, and the main table.  Where nothing may go in clear, nothing ever does.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import pytest
from hypothesis import example, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from tests.dataplane.wireguard.builders import HERE, behind, end, gone, host, key, node, pool
from tests.dataplane.wireguard.one_family import ALL, Node
from tests.fakes.wireguard import FakeKernel

A, B = "10.0.1.0/26", "10.0.2.0/26"
A1, B1 = "10.0.1.1/32", "10.0.2.1/32"  # single addresses, each out of a block
NETS = (A, B, A1, B1)
PROBES = ("10.0.1.1", "10.0.1.50", "10.0.2.1", "10.0.2.50")
POOL = "10.0.0.0/16"


class Way(NamedTuple):
    """`to` is a node; "" for whoever has the default route, or for a peer that has not answered."""

    how: str  # "encrypted", "in clear", "nowhere"
    to: str = ""


def within(nets: Iterable[str], address: str) -> list[str]:
    return [net for net in nets if ipaddress.ip_address(address) in ipaddress.ip_network(net)]


def length(net: str) -> int:
    return int(net.partition("/")[2])


def longest(nets: Iterable[str], address: str) -> str:
    """ "" for none."""
    return max(within(nets, address), key=length, default="")


class Ways(FakeKernel):
    """`main`: net -> node; `owners`: what the node is told.  Since everything was written: `seen`,
    whose an address has been; `around`, who has had a net around it.  `publishing`: who ever
    published a key.
    """

    def __init__(self) -> None:
        super().__init__()
        self.main: dict[str, str] = {}
        self.owners: dict[str, str] = {}
        self.seen: dict[str, set[str]] = {address: {""} for address in PROBES}
        self.around: dict[str, set[str]] = {address: set() for address in PROBES}
        self.publishing: dict[bytes, set[str]] = {key(name): {name} for name in (*ALL, "x")}
        self.in_pool = False  # what is nobody's goes nowhere, then
        self.guarded = False
        self.known = False  # the agent that runs has written everything once

    def owner(self, address: str) -> str:
        return self.owners.get(longest(self.owners, address), "")

    def way(self, address: str) -> Way:
        kind = self.routes.get(longest(self.routes, address), "throw") if self.rule else "throw"
        if kind == "unreachable":
            return Way("nowhere")
        if kind == "throw":
            return Way("in clear", self.main.get(longest(self.main, address), ""))
        holder = {net: k for k, peer in self.peers.items() for net in peer.nets}
        k = holder.get(longest(holder, address))
        answered = k is not None and self.peers[k].handshake
        return Way("encrypted", ",".join(self.publishing[k]) if k is not None and answered else "")

    def tells(self, nets: Mapping[str, str | None]) -> None:
        """None: it is nobody's any more."""
        for net, name in nets.items():
            self.owners.pop(net, None)
            if name:
                self.owners[net] = name
        for address in PROBES:
            self.seen[address].add(self.owner(address))
            self.around[address] |= {self.owners[net] for net in within(self.owners, address)}

    def all_written(self) -> None:
        self.seen = {address: set() for address in PROBES}
        self.around = {address: set() for address in PROBES}
        self.tells({})
        self.known = True

    def write_main(self) -> None:
        """What comes, the longest first; then what goes, the shortest first."""
        by_length = sorted(NETS, key=length)
        for net in reversed(by_length):
            if net in self.owners and self.main.get(net) != self.owners[net]:
                self.main[net] = self.owners[net]
                self.check()
        for net in by_length:
            if net in self.main.keys() - self.owners.keys():
                del self.main[net]
                self.check()

    def check(self) -> None:
        nets = [net for p in self.peers.values() for net in p.nets]
        assert len(nets) == len(set(nets))
        if not self.guarded:
            return
        for address in PROBES:
            seen, (how, to) = self.seen[address], self.way(address)
            if seen == {HERE} and self.known and not self.fails:
                assert (how, to) == ("in clear", HERE), (
                    f"{address}, which stays here, {how} to {to}"
                )
            if how == "in clear":
                nobodys = to == "" and "" in seen and not self.in_pool
                assert to == HERE or nobodys, f"{address} in clear to {to}, {self.routes}"
            if how == "encrypted" and to:
                known = not (seen | self.around[address]).isdisjoint(to.split(","))
                assert known, f"{address} encrypted to {to}, which never had it"


class Driven(Node):
    kernel: Ways

    async def round(self, *, routed: bool = True) -> bool:
        """Whether there was anything to do."""
        self.failed = []
        await self.on.before(self.step)
        if routed:
            self.kernel.write_main()
            await self.on.after(self.step)
        return bool(self.kernel.take())

    async def finish(self) -> None:
        for _ in range(12):
            if not await self.round():
                self.kernel.all_written()
                return
        raise AssertionError("it never ends")

    def everybody_answers(self) -> None:
        for k in self.kernel.peers:
            self.kernel.answers(k)

    def owns(self, name: str | None, *nets: str) -> None:
        self.kernel.tells(dict.fromkeys(nets, name))
        self.told(*(behind(name, *nets) if name else gone(*nets)))


MODES: dict[str, tuple[dict[str, Any], list[Any]]] = {
    "strict": ({"strict": True}, []),
    "strict, in a pool": ({"strict": True}, [pool(POOL, encrypted=False)]),
    "a pool": ({}, [pool(POOL)]),
}


async def driven(mode: str, kernel: Ways | None = None) -> Driven:
    """Peers a and b are ready, c has not answered, d has no key."""
    given, pools = MODES[mode]
    n = Driven(kernel or Ways(), **given)
    n.has_device()
    n.told(*node("a"), *node("b"), host("d"))
    n.told(*pools)
    n.kernel.in_pool = bool(pools)
    if kernel is None:
        n.owns("a", A)
        n.owns("b", B)
        await n.finish()
        n.everybody_answers()
        await n.peers.look()
        n.told(*node("c"))
        await n.finish()
        n.kernel.guarded = True
    else:
        kernel.known = False
        n.told(*node("c"), *(u for net, name in kernel.owners.items() for u in behind(name, net)))
    n.kernel.check()
    return n


MOVES: list[tuple[str, list[tuple[str | None, str]]]] = [
    ("a block comes here", [(HERE, A)]),
    ("a block comes here, and goes on", [(HERE, A), ("b", A)]),
    ("a block goes from here to who has no key", [(HERE, A), ("d", A)]),
    ("an address comes here out of another's block", [(HERE, A1)]),
    ("an address comes here from who has borrowed it", [("b", A1), (HERE, A1)]),
    ("an address goes back into its block", [(HERE, A1), (None, A1)]),
    ("an address goes on to who has no key", [(HERE, A1), ("d", A1)]),
    ("the block follows its address here", [(HERE, A1), (HERE, A)]),
    ("the block goes, the address stays", [(HERE, A), (HERE, A1), ("b", A)]),
    ("the block goes to a silent one, the address stays", [(HERE, A), (HERE, A1), ("c", A)]),
    ("an address is borrowed by who has not answered", [("c", A1)]),
    ("an address is borrowed by who has no key", [("d", A1)]),
    ("a block goes, and comes back as ours", [(None, A), (HERE, A)]),
    ("a new block of ours", [(None, A), (None, A), (HERE, A), (HERE, A1)]),
]  # fmt: skip


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("each", [True, False], ids=["each written", "written at once"])
@pytest.mark.parametrize(("case", "moves"), MOVES, ids=[case for case, _ in MOVES])
async def test_what_moves_never_goes_in_clear(case, moves, each, mode) -> None:
    n = await driven(mode)
    for name, net in moves:
        n.owns(name, net)
        if each:
            await n.round(routed=False)  # the main table may fail for as long as it likes
            await n.finish()
    await n.finish()


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(("case", "moves"), MOVES, ids=[case for case, _ in MOVES])
async def test_nor_if_it_moved_while_no_agent_ran(case, moves, mode) -> None:
    n = await driven(mode)
    *first, last = moves
    for name, net in first:
        n.owns(name, net)
        await n.finish()
    n.kernel.tells({last[1]: last[0]})
    await (await driven(mode, n.kernel)).finish()


steps = st.lists(
    st.tuples(
        st.sampled_from(
            (
                *("net", "net", "net", "gone", "withdraw", "publish", "rekey", "twice"),
                *("answer", "fail", "restart", "down", "up"),
            )
        ),
        st.sampled_from(("a", "b", "c", "d", HERE)),
        st.sampled_from(NETS),
        st.sampled_from(("not yet", "main fails", "written", "finished")),
    ),
    max_size=25,
)


@pytest.mark.parametrize("mode", MODES)
@hypothesis_settings(deadline=None)
@example([("net", HERE, A1, "finished"), ("gone", "a", A1, "written")])
@given(steps)
async def test_whatever_happens(mode, steps) -> None:
    n = await driven(mode)
    for what, name, net, then in steps:
        n = await _happens(n, mode, what, name, net)
        if then == "finished" and not n.kernel.fails:
            await n.finish()
        elif then != "not yet":
            await n.round(routed=then == "written")
    n.kernel.fails = []
    n.has_device()
    n.told(*(end(name) for name in ("a", "b", "c")))
    await n.finish()
    n.everybody_answers()
    await n.peers.look()
    await n.finish()
    n.kernel.publishing = {key(name): {name} for name in ALL}
    for address in PROBES:
        assert n.kernel.way(address) == _expected(n.kernel.owner(address), mode), address


def _expected(owner: str, mode: str) -> Way:
    if owner in ("a", "b", "c"):
        return Way("encrypted", owner)
    if owner == HERE or (owner == "" and mode == "strict"):
        return Way("in clear", owner)
    return Way("nowhere")


async def _happens(n: Driven, mode: str, what: str, name: str, net: str) -> Driven:
    n.kernel.fails = []
    other = "a" if name in (HERE, "d") else name
    match what:
        case "net":
            n.owns(name, net)
        case "gone":
            n.owns(None, net)
        case "withdraw":
            n.told(end(other, ""))
        case "publish":
            n.told(end(other))
        case "rekey" | "twice":
            given = key("x" if what == "rekey" else "a")
            n.kernel.publishing[given].add(other)
            n.told(end(other, given))
        case "answer":
            n.everybody_answers()
            await n.peers.look()
        case "fail":
            n.kernel.fails = [f"+ {name}", net]
        case "restart":
            return await driven(mode, n.kernel)
        case "down" | "up":
            n.has_device(up=what == "up")
    return n
