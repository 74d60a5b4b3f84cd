"""The order of writes: what is to be and what is there in, a list of requests in order out.  Pure.

    additions   what has to be spared -> what closes: whole pools, and what was open -> what bars a
                single net or node, and was not there -> what is for receiving -> receiving states
                -> sending states -> the way out, exchanged in place where it is there
    removals    what stays here no longer: from now on it is closed, or encrypted
                (then routes of table 200, and the main table's routes)
    additions   what stays here, though it is in a net of somebody else: it was there before, and
                the main table would have led it there in clear
    removals    the way out -> sending states; then routes of table 200
                -> what is for receiving -> receiving states -> what closes

Each stage begins when the kernel has taken the one before, and what one change depends on is wished
for only when the kernel has it: an error in one stage keeps nobody else waiting.  A way that comes
with its states is spared the bar where bars are written after those: it is written once, as open.
In a pool it was closed all along.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final, Literal, TypeAlias

from msgspec import Struct

from dataplane.ipsec.values import PolicyId, PolicyWish, StateId, StateWish

Stage: TypeAlias = Literal[
    "spare",
    "close",
    "bar",
    "accept",
    "receive",
    "send",
    "open",
    "leave",
    "stay",
    "shut",
    "mute",
    "refuse",
    "deafen",
    "unlock",
]
ADDITIONS: tuple[Stage, ...] = ("spare", "close", "bar", "accept", "receive", "send", "open")
CLOSING: tuple[Stage, ...] = ("spare", "close", "bar", "accept")
PREPARING: tuple[Stage, ...] = ("spare", "close", "accept", "receive", "send")
REMOVALS_BEFORE_MAIN: tuple[Stage, ...] = ("leave",)
ADDITIONS_AFTER_MAIN: tuple[Stage, ...] = ("stay",)
REMOVALS_BEFORE_ROUTES: tuple[Stage, ...] = ("shut", "mute")
REMOVALS_AFTER_ROUTES: tuple[Stage, ...] = ("refuse", "deafen", "unlock")

_PLACES: Final[Mapping[str, int]] = {
    stage: place
    for order in (
        (*ADDITIONS, *ADDITIONS_AFTER_MAIN),
        (*REMOVALS_BEFORE_MAIN, *REMOVALS_BEFORE_ROUTES, *REMOVALS_AFTER_ROUTES),
    )
    for place, stage in enumerate(order)
}


class Put(Struct, frozen=True, gc=False):
    """`exchanges` what is there: in place for a policy, by removal for a state."""

    stage: Stage
    wish: StateWish | PolicyWish
    exchanges: bool = False


class Remove(Struct, frozen=True, gc=False):
    stage: Stage
    id: StateId | PolicyId


def additions(
    states: Iterable[StateWish],
    policies: Iterable[PolicyWish],
    *,
    present_states: Mapping[StateId, StateWish],
    present_policies: Mapping[PolicyId, PolicyWish],
) -> list[Put]:
    """Of these wishes, those that the kernel does not fulfil, in order."""
    puts: list[Put] = []
    for state in states:
        there = present_states.get(state.id)
        if there != state:
            puts.append(Put("receive" if state.receives else "send", state, there is not None))
    for policy in policies:
        found = present_policies.get(policy.id)
        if found != policy:
            exchanges = found is not None
            puts.append(Put(_stage_of(policy, exchanges=exchanges), policy, exchanges))
    return sorted(puts, key=lambda put: _PLACES[put.stage])


def removals(
    states: Iterable[StateId],
    policies: Iterable[PolicyId],
    *,
    present_states: Mapping[StateId, StateWish],
    present_policies: Mapping[PolicyId, PolicyWish],
) -> list[Remove]:
    """Of what is not wished for any more, what the kernel has, in order.

    Between "mute" and "refuse" the routes of table 200 go.
    """
    gone: list[Remove] = []
    for state in states:
        there = present_states.get(state)
        if there is not None:
            gone.append(Remove("deafen" if there.receives else "mute", state))
    for policy in policies:
        found = present_policies.get(policy)
        if found is not None:
            gone.append(Remove(_end_of(found), policy))
    return sorted(gone, key=lambda removal: _PLACES[removal.stage])


def _stage_of(policy: PolicyWish, *, exchanges: bool) -> Stage:
    if policy.action == "block":
        return "close" if exchanges or policy.id.mark else "bar"
    if policy.template is None:
        return "stay" if _stays(policy) else "spare"
    return "open" if policy.id.direction == "out" else "accept"


def _stays(policy: PolicyWish) -> bool:
    """Whether it opens a way to whatever protocol, marked or not: to what is here."""
    name = policy.id
    way_out = name.direction == "out" and not name.mark and not name.selector.protocol
    return way_out and policy.template is None and policy.action == "allow"


def _end_of(policy: PolicyWish) -> Stage:
    if policy.action == "block":
        return "unlock"
    if _stays(policy):
        return "leave"
    if policy.id.direction == "out" and policy.template is not None:
        return "shut"
    return "refuse"
