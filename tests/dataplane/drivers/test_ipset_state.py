"""The writes between what a set is and what it should be."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from calc_graph.updates import IpsetType
from dataplane.drivers.ipset_messages import Codec, Header
from dataplane.drivers.ipset_state import SetState
from dataplane.netlink import Request

NET = IpsetType.NET
CODEC = Codec(NET, 4)
HEADER = Header("cali40s:a", "hash:net", 1000, 4)
CREATE, DESTROY, SWAP, ADD, DEL = 2, 3, 6, 9, 10
A, B, C = (CODEC.parse(f"10.0.0.{i}/32") for i in (1, 2, 3))


def commands(requests: tuple[Request, ...] | list[Request]) -> list[int]:
    return [request.type & 0xFF for request in requests]


def other(**changes: object) -> Header:
    fields = {"name": "cali40s:a", "type": "hash:net", "maxelem": 1000, "family": 4}
    return Header(**{**fields, **changes})  # type: ignore[arg-type]


CASES = [
    # case              kernel                       members  wanted  first                then
    ("nothing there", None, [], [A], [], [CREATE, ADD]),
    ("an empty one", None, [], [], [], [CREATE]),
    ("as it should be", HEADER, [A], [A], [], []),
    ("one missing", HEADER, [A], [A, B], [ADD], []),
    ("one too many", HEADER, [A, B], [A], [], []),
    ("another size", other(maxelem=5), [A], [A], [CREATE, ADD], [SWAP, DESTROY]),
    ("with counters", other(counters=True), [A], [A], [CREATE, ADD], [SWAP, DESTROY]),
    ("with options", other(plain=False), [A], [A], [CREATE, ADD], [SWAP, DESTROY]),
    ("strange members", HEADER, [None], [A], [CREATE, ADD], [SWAP, DESTROY]),
    ("another type", other(type="hash:ip"), [], [A], [DESTROY], [CREATE, ADD]),
    ("another family", other(family=6), [], [A], [DESTROY], [CREATE, ADD]),
]


@pytest.mark.parametrize(
    ("kernel", "members", "wanted", "first", "then"),
    [case[1:] for case in CASES],
    ids=[case[0] for case in CASES],
)
def test_growth(
    kernel: Header | None,
    members: list[bytes | None],
    wanted: list[bytes],
    first: list[int],
    then: list[int],
) -> None:
    state = SetState("cali40s:a")
    state.want(NET, HEADER, CODEC, wanted)
    state.observe(kernel)
    if kernel is not None:
        state.observe_members(members)
    growth = state.growth(6, "cali4t1", make_room=False)
    assert commands(growth.requests) == first
    assert commands(growth.then) == then
    state.grown(growth)
    assert state.editable
    assert not state.members.additions


def test_room_is_made_before_others_are_added() -> None:
    state = SetState("cali40s:a")
    state.want(NET, HEADER, CODEC, [B])
    state.observe(HEADER)
    state.observe_members([A])
    growth = state.growth(6, "cali4t1", make_room=True)
    assert commands(growth.requests) == [DEL, ADD]
    state.grown(growth)
    assert state.settled


def test_a_set_wanted_again_has_to_be_read() -> None:
    state = SetState("cali40s:a")
    state.observe(HEADER)
    state.want(NET, HEADER, CODEC, [A])
    assert state.unread
    assert not state.settled


MEMBERS = st.frozensets(st.sampled_from([A, B, C]))


@given(MEMBERS, st.lists(st.tuples(MEMBERS, MEMBERS)))
def test_between_growing_and_shrinking_a_set_holds_both_states(
    start: frozenset[bytes], changes: list[tuple[frozenset[bytes], frozenset[bytes]]]
) -> None:
    state = SetState("cali40s:a")
    state.want(NET, HEADER, CODEC, list(start))
    state.grown(state.growth(6, "", make_room=False))
    kernel = set(start)
    for added, removed in changes:
        before = frozenset(kernel)
        state.members.desire(added, removed)
        growth = state.growth(6, "", make_room=False)
        kernel |= growth.added
        state.grown(growth)
        assert kernel == before | state.members.desired
        removals = frozenset(state.members.removals)
        kernel -= removals
        state.members.observe((), removals)
        assert kernel == state.members.desired == (before - removed) | added
        assert state.settled
