from __future__ import annotations

from typing import Any

import pytest
from msgspec import structs

from calc_graph.model import IpsecNode, IpsecPeering
from dataplane.ipsec.retire import KeyChange, Keys, Picture, may_send


def keys(*rings: dict[int, str]) -> Keys:
    made = Keys(300.0)
    for now, ring in enumerate(rings):
        made.offer(ring)
        made.take_over(float(now))
    return made


@pytest.mark.parametrize(
    ("sends", "receive", "may"),
    [
        (3, {}, True),
        (4, {3: "c"}, False),
        (2, {}, True),  # it may come to each that we publish
        (15, {}, True),
        (0, {3: "c"}, True),
        (0, {3: "another"}, False),
        (0, {4: "c"}, False),
    ],
)
def test_who_may_send(sends: int, receive: dict[int, str], may: bool) -> None:
    record = IpsecNode(enabled=True, receive=receive, peers={"here": IpsecPeering(sends=sends)})
    assert may_send(record, "here", 3, "c") == may


def test_who_is_off_may_not_begin() -> None:
    assert not may_send(IpsecNode(receive={3: "c"}), "here", 3, "c")


def test_phases() -> None:
    made = keys({3: "c"}, {4: "d"})
    assert [made.phase(key) for key in (3, 4, 5)] == ["used", "ring", "gone"]
    assert made.advance(10.0, held=[3], published=[3], sent=[3]) == (301.0, False)
    assert made.advance(20.0, held=[], published=[3], sent=[3]) == (50.0, True)
    assert made.phase(3) == "withdrawn"
    assert (made.receives(3), made.publishes(3)) == (True, False)
    assert made.advance(21.0, held=[], published=[], sent=[3]) == (23.0, False)
    assert made.advance(22.0, held=[3], published=[], sent=[3]) == (50.0, False)
    assert made.advance(23.0, held=[], published=[], sent=[3]) == (25.0, False)
    assert made.advance(25.0, held=[], published=[], sent=[3]) == (301.0, True)
    assert made.phase(3) == "deaf"
    assert made.order == [4, 3]
    assert made.advance(26.0, held=[], published=[], sent=[]) == (float("inf"), True)
    assert made.alive == {4: "d"}


def test_a_withdrawn_key_does_not_wait_for_ever() -> None:
    made = keys({3: "c"}, {4: "d"})
    made.advance(301.0, held=[3], published=[3], sent=[3])
    assert made.advance(330.9, held=[3], published=[3], sent=[3])[0] == 331.0
    made.advance(331.0, held=[3], published=[3], sent=[3])
    assert made.phase(3) == "gone"


def test_a_dropped_key_has_no_grace_time() -> None:
    made = keys({3: "c"}, {4: "d"})
    made.drop(3)
    made.drop(4)
    assert not made.take_over(10.0)
    made.advance(10.0, held=[3], published=[3], sent=[3])
    assert made.phase(3) == "withdrawn"
    assert made.phase(4) == "ring"


def test_a_key_that_comes_back() -> None:
    made = keys({3: "c"}, {4: "d"}, {3: "c"})
    assert [made.phase(key) for key in (3, 4)] == ["ring", "used"]
    assert made.order == [3, 4]


def test_a_key_that_was_known_before() -> None:
    made = Keys(300.0)
    made.remember({2: "b", 3: "c", 5: "e"})
    assert made.remembered == {2: "b", 3: "c", 5: "e"}
    made.found([3])
    made.offer({5: "e", 4: "d"})
    made.take_over(0.0)
    assert made.alive == {3: "c", 4: "d", 5: "e"}
    assert [made.can_be_made(key) for key in (3, 4, 5)] == [False, True, True]
    made.remember({9: "i"})
    assert 9 not in made.remembered


def test_another_key_under_the_same_id() -> None:
    made = keys({3: "c"}, {3: "x"})
    assert made.refused() == [3]
    assert made.phase(3) == "used"
    assert made.ring == []
    made.advance(2.0, held=[], published=[], sent=[])
    made.advance(4.0, held=[], published=[], sent=[])
    assert made.alive == {3: "x"}
    assert made.refused() == []


def changed(
    *,
    alive: bool = False,
    received: bool = False,
    retired: bool = False,
    offered: tuple[int, ...] = (),
) -> KeyChange:
    return KeyChange(alive, received, retired, offered)


FULL = Picture(
    checks={2: "b", 1: "a"},
    order=(2, 1),
    retired=(1,),
    received=(2, 1),
    published=(2, 1),
    makeable=frozenset({1, 2}),
)


@pytest.mark.parametrize(
    ("after", "change"),
    [
        ({"published": (2,), "closing": True}, changed()),
        ({"published": (2,), "received": (2,), "closing": True}, changed(received=True)),
        ({"retired": (2, 1)}, changed(retired=True)),
        (
            {"checks": {2: "b"}, "order": (2,), "received": (2,), "published": (2,)},
            changed(alive=True, received=True),
        ),
        (
            {
                "checks": {3: "c", 2: "b", 1: "a"},
                "order": (3, 2, 1),
                "received": (3, 2, 1),
                "published": (3, 2, 1),
                "makeable": frozenset({1, 2, 3}),
            },
            changed(alive=True, received=True, offered=(3,)),
        ),
        ({"checks": {2: "other", 1: "a"}}, None),
        ({"order": (1, 2)}, None),
        ({"makeable": frozenset({2})}, None),
    ],
)
def test_what_is_another_between_two_pictures(
    after: dict[str, Any], change: KeyChange | None
) -> None:
    assert structs.replace(FULL, **after).change_from(FULL) == change
