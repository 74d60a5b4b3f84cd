"""The record is made anew whenever anything in it is another, and only then."""

from __future__ import annotations

from calc_graph.model import IpsecPeering
from dataplane.ipsec.life import Life
from dataplane.ipsec.record import Record
from dataplane.ipsec.retire import Picture
from tests.dataplane.ipsec.one_mesh import settings

LIFE = Life("aa", 7)
KEYS = Picture(checks={3: "c3", 2: "c2"}, makeable=frozenset({3}))


def record() -> Record:
    made = Record(settings())
    made.list_keys({3: True}, KEYS)
    made.set_peer("first", IpsecPeering(9, 3))
    return made


def test_it_is_the_same_until_anything_in_it_is_another() -> None:
    made = record()
    value = made.value(LIFE, {4: "10.0.0.1"})
    made.set_peer("first", IpsecPeering(9, 3))
    made.set_peer("nobody")
    assert not made.list_keys({3: True}, KEYS)
    assert made.value(LIFE, {4: "10.0.0.1"}) is value


def test_whatever_is_another_is_in_it() -> None:
    made = record()
    made.value(LIFE, {4: "10.0.0.1"})
    assert made.value(Life("bb", 8), {4: "10.0.0.1"}).tag == 8
    assert made.value(LIFE, {4: "10.0.0.2"}).ipv4 == "10.0.0.2"
    for peering in (IpsecPeering(9, 4), IpsecPeering(8, 4), IpsecPeering(8, 4, hosts=True)):
        made.set_peer("first", peering)
        assert made.value(LIFE, {4: "10.0.0.2"}).peers == {"first": peering}
    made.set_peer("first")
    assert made.value(LIFE, {4: "10.0.0.2"}).peers == {}
    made.restart()
    assert made.value(LIFE, {4: "10.0.0.2"}).receive == {}
    assert made.list_keys({3: True, 2: False}, KEYS)
    assert made.value(LIFE, {4: "10.0.0.2"}).receive == {3: "c3"}
    assert made.list_keys({}, KEYS)
    assert made.value(LIFE, {4: "10.0.0.2"}).receive == {}
