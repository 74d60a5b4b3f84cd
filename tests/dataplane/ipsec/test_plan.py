from __future__ import annotations

from dataplane.ipsec.plan import Puts, Removals, additions, removals
from dataplane.ipsec.values import PolicyId, PolicyWish, Selector, StateId, StateWish, Template

NET, ALL = "10.60.1.0/26", "0.0.0.0/0"
IN, OUT = Template("b", "a"), Template("a", "b", 3)
RECEIVE = StateWish(StateId("a", 3), "b", 3, receives=True)
SEND = StateWish(StateId("b", 3), "a", 3, receives=False)
INTO = PolicyWish(PolicyId("in", Selector(NET, ALL)), 1006, template=IN)
ONWARD = PolicyWish(PolicyId("fwd", Selector(NET, ALL)), 1006, template=IN)
OPEN = PolicyWish(PolicyId("out", Selector(ALL, NET)), 1006, template=OUT)
SHUT = PolicyWish(OPEN.id, 1006, "block")
POOL = PolicyWish(PolicyId("out", Selector(ALL, "10.60.0.0/16"), 0xE00), 65000, "block")
OWN = PolicyWish(PolicyId("out", Selector(ALL, "10.60.0.0/26"), 0xE00), 62000)


def test_what_comes() -> None:
    puts = additions([SEND, RECEIVE], [OPEN, INTO, OWN, POOL], present_policies=())
    assert puts == [
        Puts("spare", policies=[OWN]),
        Puts("close", policies=[POOL]),
        Puts("accept", policies=[INTO]),
        Puts("receive", [RECEIVE]),
        Puts("send", [SEND]),
        Puts("open", policies=[OPEN]),
    ]


def test_what_stays_here_is_opened_last_and_closed_first() -> None:
    """Between the two, the main table leads it elsewhere."""
    borrowed = Selector(ALL, "10.60.1.9/32")
    stays = PolicyWish(PolicyId("out", borrowed), 400)
    spoken = PolicyWish(PolicyId("fwd", Selector("10.60.1.9/32", ALL)), 400)
    ours = [stays, spoken]
    assert additions([], [*ours, SHUT], present_policies=()) == [
        Puts("spare", policies=[spoken]),
        Puts("bar", policies=[SHUT]),
        Puts("stay", policies=[stays]),
    ]
    assert removals({}, {policy.id: policy for policy in [*ours, SHUT]}) == [
        Removals("leave", policies=[stays.id]),
        Removals("refuse", policies=[spoken.id]),
        Removals("unlock", policies=[SHUT.id]),
    ]


def test_what_was_open_is_closed_before_what_was_not_there_is_barred() -> None:
    assert additions([], [SHUT], present_policies={OPEN.id}) == [Puts("close", policies=[SHUT])]


def test_what_goes() -> None:
    states, policies = [RECEIVE, SEND], [POOL, OWN, INTO, ONWARD, OPEN]
    gone = removals({state.id: state for state in states}, {p.id: p for p in policies})
    assert gone == [
        Removals("shut", policies=[OPEN.id]),
        Removals("mute", [SEND.id]),
        Removals("refuse", policies=[OWN.id, INTO.id, ONWARD.id]),
        Removals("deafen", [RECEIVE.id]),
        Removals("unlock", policies=[POOL.id]),
    ]


def test_where_there_is_nothing_to_do_there_are_no_stages() -> None:
    assert additions([], [], present_policies=()) == []
    assert removals({}, {}) == []
