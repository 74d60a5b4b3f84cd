from __future__ import annotations

import pytest

from calc_graph.model import IpsecNode, IpsecPeering
from calc_graph.updates import HostUpdate, IpsecPeer
from dataplane.ipsec.leaving import Leaving, policy_stays, state_stays
from dataplane.ipsec.off import Off, record_of
from dataplane.ipsec.values import PolicyId, PolicyWish, Selector, Template

ALL, NET = "0.0.0.0/0", "10.60.1.0/26"
ON = IpsecNode(enabled=True, tag=7, receive={3: "c"}, peers={"there": IpsecPeering(9, 3)}, ipv4="a")
PEER = IpsecNode(enabled=True, tag=9, peers={"here": IpsecPeering(7, 3)}, ipv4="b")
NOTHING = {"sends": False, "left": True}


def leaving() -> Leaving:
    made = Leaving("here", 0.0)
    for name, record in (("here", ON), ("there", PEER)):
        made.update(HostUpdate(name, name, ""))
        made.update(IpsecPeer(name, record))
    return made


def heard(made: Leaving) -> None:
    made.update(IpsecPeer("here", made.record))


def test_it_is_published_first_and_what_is_sent_still_says_so() -> None:
    made = leaving()
    assert made.advance(0.0, sends=True, left=True) == 30.0
    assert made.phase == "withdrawing"
    assert (made.record.enabled, made.record.peers) == (False, ON.peers)


def test_the_ways_out_go_when_that_is_known() -> None:
    made = leaving()
    heard(made)
    assert made.advance(1.0, sends=True, left=True) == 61.0
    assert (made.phase, made.record.peers) == ("draining", ON.peers)
    made.advance(1.5, sends=False, left=True)
    assert (made.phase, made.record.peers) == ("draining", {})


class Going(Off):
    def __init__(self, record: IpsecNode | None) -> None:
        self.said = record

    def record(self) -> IpsecNode | None:
        return self.said


def test_as_long_as_one_family_sends_this_node_says_so() -> None:
    """Else the others would stop to decrypt what the slower one still sends."""
    silent, sending = leaving(), leaving()
    silent.advance(31.0, sends=False, left=True)
    assert (silent.record.peers, sending.record.peers) == ({}, ON.peers)
    for order in ((silent, sending), (sending, silent)):
        assert record_of([Going(each.record) for each in order]) == sending.record
    assert record_of([Going(None), Going(silent.record)]) == silent.record
    assert record_of([Going(None)]) is None


def test_it_waits_for_those_that_send() -> None:
    made = leaving()
    heard(made)
    made.advance(1.0, **NOTHING)
    assert made.advance(5.0, **NOTHING) == 61.0
    made.update(IpsecPeer("there", IpsecNode(enabled=True)))
    assert made.advance(6.0, **NOTHING) == 8.0
    phases = []
    for now, left in ((8.0, True), (9.0, False)):
        made.advance(now, sends=False, left=left)
        phases.append(made.phase)
    assert phases == ["removing", "off"]


def test_both_waits_are_bounded() -> None:
    made = leaving()
    phases = []
    for now in (29.0, 30.0, 89.0, 90.0):
        made.advance(now, sends=True, left=True)
        phases.append(made.phase)
    assert phases == ["withdrawing", "draining", "draining", "removing"]


def test_where_nothing_was_published_nothing_is_waited_for() -> None:
    made = Leaving("here", 0.0)
    made.advance(0.0, sends=False, left=False)
    made.advance(2.0, sends=False, left=False)
    assert made.phase == "off"


def policy(direction: str, mark: int = 0, template: Template | None = None) -> PolicyWish:
    action = "allow" if template else "block"
    name = PolicyId(direction, Selector(ALL, NET), mark)  # type: ignore[arg-type]
    return PolicyWish(name, 1000, action, template)  # type: ignore[arg-type]


TUNNEL = Template("a", "b")


@pytest.mark.parametrize(
    ("wish", "withdrawing", "draining"),
    [
        (policy("out"), False, False),
        (policy("out", template=TUNNEL), True, False),
        (policy("in", template=TUNNEL), False, False),
        (policy("fwd", template=TUNNEL), False, False),
        (policy("fwd", 0xD00, TUNNEL), True, True),
    ],
)
def test_what_stays(wish: PolicyWish, withdrawing: bool, draining: bool) -> None:
    assert policy_stays("withdrawing", wish) == withdrawing
    assert policy_stays("draining", wish) == draining
    assert not policy_stays("removing", wish)


def test_receiving_states_stay_longest() -> None:
    assert [state_stays("withdrawing", receives=r) for r in (True, False)] == [True, True]
    assert [state_stays("draining", receives=r) for r in (True, False)] == [True, False]
    assert not state_stays("removing", receives=True)
