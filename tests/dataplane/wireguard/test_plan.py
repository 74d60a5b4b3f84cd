"""What has to be said to a device: tables, and any state to any other."""

from __future__ import annotations

import asyncio
import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import structs

from dataplane.wireguard import plan
from dataplane.wireguard.codec import REMOVE_ME, UPDATE_ONLY, PeerChange
from dataplane.wireguard.state import DeviceState, PeerState, PeerWish
from tests.fakes.wireguard_device import FakeDevice

A, B, C = b"a" * 32, b"b" * 32, b"c" * 32
AT_A, AT_B, AT_C = ("172.30.0.1", 51820), ("172.30.0.2", 51820), ("172.30.0.3", 51820)
N1, N2, N3 = "10.1.0.0/26", "10.2.0.0/26", "10.3.0.0/26"


def wish(endpoint: tuple[str, int], *nets: str, keepalive: int = 0) -> PeerWish:
    return PeerWish("n", endpoint, frozenset(nets), keepalive)


def peer(endpoint: tuple[str, int] | None, *nets: str, keepalive: int = 0) -> PeerState:
    return PeerState(endpoint, frozenset(nets), keepalive)


TWO = {A: peer(AT_A, N1), B: peer(AT_B, N2)}
TWO_WISHED = {A: wish(AT_A, N1), B: wish(AT_B, N2)}

CASES = [
    # case, wished, there, additions, removals; the numbers are those of the test inventory
    ("nothing to do (25-27, 35-37)", TWO_WISHED, TWO, [], []),
    (
        "two nodes (24)",
        TWO_WISHED,
        {},
        [PeerChange(A, 0, AT_A, None, (N1,)), PeerChange(B, 0, AT_B, None, (N2,))],
        [],
    ),
    (
        "a node without a net yet, kept alive",
        {A: wish(AT_A, keepalive=5)},
        {},
        [PeerChange(A, 0, AT_A, 5)],
        [],
    ),
    ("two nodes gone (28, 29, 38)", {}, TWO, [], [PeerChange(A, 1), PeerChange(B, 1)]),
    (
        "its endpoint gone or another (39, 64)",
        {A: wish(AT_A, N1), B: wish(AT_C, N2)},
        {A: peer(None, N1), B: peer(AT_B, N2)},
        [PeerChange(A, UPDATE_ONLY, AT_A), PeerChange(B, UPDATE_ONLY, AT_C)],
        [],
    ),
    (
        "another key of the node (43)",
        {A: wish(AT_A, N1), C: wish(AT_B, N2)},
        TWO,
        [PeerChange(C, 0, AT_B, None, (N2,))],
        [PeerChange(B, REMOVE_ME)],
    ),
    (
        "a net more",
        {A: wish(AT_A, N1, N3), B: wish(AT_B, N2)},
        TWO,
        [PeerChange(A, UPDATE_ONLY, nets=(N3,))],
        [],
    ),
    (
        "a net less (34)",
        {A: wish(AT_A), B: wish(AT_B, N2)},
        TWO,
        [],
        [PeerChange(A, UPDATE_ONLY, nets_removed=(N1,))],
    ),
    (
        "a net moves (46)",
        {A: wish(AT_A), B: wish(AT_B, N1, N2)},
        TWO,
        [PeerChange(B, UPDATE_ONLY, nets=(N1,))],
        [],
    ),
    (
        "nets are swapped (35)",
        {A: wish(AT_A, N2), B: wish(AT_B, N1)},
        TWO,
        [PeerChange(A, UPDATE_ONLY, nets=(N2,)), PeerChange(B, UPDATE_ONLY, nets=(N1,))],
        [],
    ),
    (
        "nets of a node that is gone go to another (45)",
        {A: wish(AT_A, N1, N2)},
        TWO,
        [PeerChange(A, UPDATE_ONLY, nets=(N2,))],
        [PeerChange(B, REMOVE_ME)],
    ),
    (
        "a keepalive, and one less",
        {A: wish(AT_A, N1, keepalive=25), B: wish(AT_B, N2)},
        {A: peer(AT_A, N1), B: peer(AT_B, N2, keepalive=5)},
        [PeerChange(A, UPDATE_ONLY, None, 25), PeerChange(B, UPDATE_ONLY, None, 0)],
        [],
    ),
    (
        "a peer too many, one missing, surplus and missing nets (65)",
        {A: wish(AT_A, N1), B: wish(AT_B, N2)},
        {A: peer(AT_A, N3), C: peer(AT_C)},
        [PeerChange(A, UPDATE_ONLY, nets=(N1,)), PeerChange(B, 0, AT_B, None, (N2,))],
        [PeerChange(A, UPDATE_ONLY, nets_removed=(N3,)), PeerChange(C, REMOVE_ME)],
    ),
]


@pytest.mark.parametrize(("case", "wishes", "peers", "more", "less"), CASES)
def test_what_is_said(case, wishes, peers, more, less) -> None:
    endpoints = {key: found.endpoint for key, found in peers.items() if found.endpoint}
    assert plan.additions(wishes, peers, endpoints) == more
    after = plan.done(peers, more)
    assert plan.removals(wishes, after) == less
    assert plan.additions(wishes, plan.done(after, less), endpoints | wished_ends(wishes)) == []


def wished_ends(wishes: dict[bytes, PeerWish]) -> dict[bytes, tuple[str, int]]:
    return {key: each.endpoint for key, each in wishes.items()}


def test_a_peer_that_roams_is_left_alone() -> None:
    peers = {A: peer(AT_C, N1)}
    assert plan.additions({A: wish(AT_A, N1)}, peers, {A: AT_A}) == []
    assert plan.additions({A: wish(AT_B, N1)}, peers, {A: AT_A}) == [PeerChange(A, 4, AT_B)]


def test_a_scratch_peer_takes_all_nets_and_goes() -> None:
    less = plan.removals({A: wish(AT_A), B: wish(AT_B)}, {**TWO, C: peer(None)})
    assert plan.by_scratch_peer(less, b"s" * 32) == [
        PeerChange(b"s" * 32, nets=(N1, N2)),
        PeerChange(b"s" * 32, REMOVE_ME),
        PeerChange(C, REMOVE_ME),
    ]
    assert plan.by_scratch_peer(less[2:], b"s" * 32) == [PeerChange(C, REMOVE_ME)]


# ---------------------------------------------------------------- any state to any other

KEYS, NETS, ENDS = [A, B, C], [f"10.{n}.0.0/26" for n in range(5)], [AT_A, AT_B, AT_C]


@st.composite
def wishes_of(draw: st.DrawFn) -> dict[bytes, PeerWish]:
    owners = draw(st.lists(st.sampled_from([None, *KEYS]), min_size=len(NETS), max_size=len(NETS)))
    return {
        key: wish(
            draw(st.sampled_from(ENDS)),
            *(net for net, owner in zip(NETS, owners, strict=True) if owner == key),
            keepalive=draw(st.sampled_from([0, 5])),
        )
        for key in draw(st.sets(st.sampled_from(KEYS)))
    }


@settings(deadline=None)  # event loops take their time on a busy machine
@given(wishes_of(), wishes_of(), st.booleans())
def test_each_net_is_somewhere_at_each_moment(
    before: dict[bytes, PeerWish], after: dict[bytes, PeerWish], removes_nets: bool
) -> None:
    """A net that is had before and after is had all the time, at the one peer or the other."""
    peers = {key: PeerState(w.endpoint, w.nets, w.keepalive) for key, w in before.items()}
    kernel = FakeDevice(DeviceState(7, None, 0, 0, peers))
    stays = {net for w in before.values() for net in w.nets} & {
        net for w in after.values() for net in w.nets
    }
    model = peers

    async def say(changes: list[PeerChange]) -> None:
        for change in changes:  # the kernel takes one peer after the other
            await kernel.set_peers(7, [change])
            held = list(itertools.chain(*(p.nets for p in kernel.state.peers.values())))
            assert len(held) == len(set(held))
            assert stays <= set(held)

    more = plan.additions(after, peers, wished_ends(before))
    asyncio.run(say(more))
    model = plan.done(model, more)
    assert model == kernel.state.peers
    less = plan.removals(after, model)
    if not removes_nets:
        less = plan.by_scratch_peer(less, b"s" * 32)
    asyncio.run(say(less))
    model = plan.done(model, less)
    assert model == kernel.state.peers
    assert model == {
        key: structs.replace(PeerState(), endpoint=w.endpoint, nets=w.nets, keepalive=w.keepalive)
        for key, w in after.items()
    }
