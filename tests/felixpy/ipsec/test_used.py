"""A key that may have counted packets is not used again, whoever remembers it."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec import structs

from calc_graph.model import IpPool, IpPoolKey, IpsecNode, IpsecNodeKey, Node, NodeKey
from felixpy.ipsec.used import MOST, Kept, Used

END = IpsecNode(enabled=True, boot="one", ipv4="192.0.2.2")
HOST = Node(ipv4="192.0.2.2")


def having(*nodes: str) -> Used:
    """Of an agent that knows these nodes, and key 3."""
    used = Used("n1")
    used.restore(Kept())
    told(used, *nodes)
    return used


def told(used: Used, *nodes: str) -> None:
    for name in nodes:
        used.resource(NodeKey(name), HOST)
        used.resource(IpsecNodeKey(name), END)
    used.resource(IpPoolKey("p"), IpPool("10.65.0.0/16"))
    used.keys({3: "cafe"})
    used.complete()


def restarted(used: Used) -> Used:
    kept = used.take_kept()
    assert kept is not None
    assert used.take_kept() is None
    other = Used("n1")
    other.restore(kept)
    return other


def test_what_stays_is_never_again() -> None:
    used = having("n1", "n2", "n3")
    for nodes in (("n3", "n2", "n1"), ("n1", "n2", "n3")):
        used = restarted(used)
        told(used, *nodes)
        told(used, *nodes)
        assert not used.again
    # what is told before the file was read counts
    kept = used.take_kept()
    assert kept is not None
    other = Used("n1")
    told(other, "n1", "n2")
    other.restore(kept)
    told(other, "n3")
    assert not other.again


GIVEN_UP: list[tuple[Any, Any, Any]] = [
    # key, what it is in between, and again
    (IpsecNodeKey("n2"), structs.replace(END, boot="two"), END),
    (IpsecNodeKey("n2"), structs.replace(END, ipv4="192.0.2.3"), END),
    (IpsecNodeKey("n2"), structs.replace(END, enabled=False), END),
    (IpsecNodeKey("n2"), structs.replace(END, layout="shared"), END),
    (IpsecNodeKey("n2"), None, END),
    (NodeKey("n2"), None, HOST),
    (NodeKey("n2"), Node(ipv4="192.0.2.3"), HOST),
    (NodeKey("n1"), Node(ipv4="192.0.2.3"), HOST),
    ("keys", {}, {3: "cafe"}),
    ("keys", {3: "beef"}, {3: "cafe"}),
    ("keys", {4: "beef"}, {4: "beef", 3: "cafe"}),
]


def note(used: Used, key: Any, value: Any) -> None:
    if key == "keys":
        used.keys(value)
    else:
        used.resource(key, value)


@pytest.mark.parametrize(("key", "between", "again"), GIVEN_UP)
@pytest.mark.parametrize("restarts", [(), (1,), (2,), (1, 2)])
def test_what_was_given_up_and_is_back(
    key: Any, between: Any, again: Any, restarts: tuple[int, ...]
) -> None:
    used = having("n1", "n2", "n3")
    values: dict[Any, Any] = {"keys": {3: "cafe"}}
    for name in ("n1", "n2", "n3"):
        values |= {NodeKey(name): HOST, IpsecNodeKey(name): END}
    for step, value in ((1, between), (2, again)):
        values[key] = value
        if step in restarts:
            used = restarted(used)
            for each, what in values.items():
                note(used, each, what)
            used.complete()
        note(used, key, value)
        assert bool(used.again) == (step == 2)
    used.begin_life()
    assert not used.again
    used = restarted(used)
    for each, what in values.items():
        note(used, each, what)
    assert not used.again


def test_own_record_is_nobodys_key() -> None:
    used = having("n1")
    used.resource(IpsecNodeKey("n1"), None)
    used.resource(IpsecNodeKey("n1"), END)
    assert not used.again


def test_what_was_noted_before_the_file_was_read() -> None:
    used = having("n1", "n2")
    used.resource(IpsecNodeKey("n2"), None)
    kept = used.take_kept()
    assert kept is not None
    other = Used("n1")
    told(other, "n2")
    other.restore(kept)
    assert other.again


def test_what_is_remembered_is_bounded() -> None:
    used = having("n1", "n2")
    for number in range(MOST + 1):
        assert not used.again
        used.resource(IpsecNodeKey("n2"), structs.replace(END, boot=str(number)))
    assert used.again
    used.begin_life()
    kept = used.take_kept()
    assert kept is not None
    assert kept.gone == ()


def test_the_same_of_another_is_something_else() -> None:
    used = having("n1", "n2")
    used.resource(IpsecNodeKey("n2"), None)
    told(used, "n3")
    assert not used.again
