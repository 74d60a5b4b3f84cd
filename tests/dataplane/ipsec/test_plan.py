from __future__ import annotations

from dataplane.ipsec.plan import Put, Remove, additions, removals
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
    puts = additions(
        [SEND, RECEIVE], [OPEN, INTO, OWN, POOL], present_states={}, present_policies={}
    )
    assert puts == [
        Put("spare", OWN),
        Put("close", POOL),
        Put("accept", INTO),
        Put("receive", RECEIVE),
        Put("send", SEND),
        Put("open", OPEN),
    ]


def test_what_is_there_is_not_written() -> None:
    there = {RECEIVE.id: RECEIVE}
    assert (
        additions([RECEIVE], [INTO], present_states=there, present_policies={INTO.id: INTO}) == []
    )


def test_what_stays_here_is_opened_last_and_closed_first() -> None:
    """Between the two, the main table leads it elsewhere."""
    borrowed = Selector(ALL, "10.60.1.9/32")
    stays = PolicyWish(PolicyId("out", borrowed), 400)
    spoken = PolicyWish(PolicyId("fwd", Selector("10.60.1.9/32", ALL)), 400)
    ours = [stays, spoken]
    puts = additions([], [*ours, SHUT], present_states={}, present_policies={})
    assert puts == [Put("spare", spoken), Put("bar", SHUT), Put("stay", stays)]
    there = {policy.id: policy for policy in [*ours, SHUT]}
    gone = removals([], there, present_states={}, present_policies=there)
    assert gone == [
        Remove("leave", stays.id),
        Remove("refuse", spoken.id),
        Remove("unlock", SHUT.id),
    ]


def test_what_is_another() -> None:
    other = StateWish(SEND.id, "a", 3, receives=False, life="another")
    puts = additions(
        [SEND], [SHUT], present_states={SEND.id: other}, present_policies={OPEN.id: OPEN}
    )
    assert puts == [Put("close", SHUT, exchanges=True), Put("send", SEND, exchanges=True)]


def test_what_goes() -> None:
    states, policies = [RECEIVE, SEND], [POOL, OWN, INTO, ONWARD, OPEN]
    gone = removals(
        [state.id for state in states],
        [policy.id for policy in policies],
        present_states={state.id: state for state in states},
        present_policies={policy.id: policy for policy in policies},
    )
    assert gone == [
        Remove("shut", OPEN.id),
        Remove("mute", SEND.id),
        Remove("refuse", OWN.id),
        Remove("refuse", INTO.id),
        Remove("refuse", ONWARD.id),
        Remove("deafen", RECEIVE.id),
        Remove("unlock", POOL.id),
    ]


def test_what_is_not_there_does_not_go() -> None:
    assert removals([SEND.id], [OPEN.id], present_states={}, present_policies={}) == []
