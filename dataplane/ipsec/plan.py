"""The order of writes: what is to be and what is there in, what each stage does out.  Pure.

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

Each stage is of states or of policies, and there may be thousands of them: what belongs to a stage
is said of all at once, and nothing is called for each.
"""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from typing import Literal, TypeAlias

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


class Puts(Struct, frozen=True):
    """What one stage makes, or exchanges: a policy in its place, a state by removal."""

    stage: Stage
    states: Sequence[StateWish] = ()
    policies: Sequence[PolicyWish] = ()


class Removals(Struct, frozen=True):
    """What one stage deletes."""

    stage: Stage
    states: Sequence[StateId] = ()
    policies: Sequence[PolicyId] = ()


def additions(
    states: Sequence[StateWish],
    policies: Sequence[PolicyWish],
    *,
    present_policies: Container[PolicyId],
) -> list[Puts]:
    """Of these wishes, which the kernel does not fulfil, the stages that there are, in order.

    `present_policies`: what there is in some other form.
    """
    there = present_policies
    blocks = [p for p in policies if p.action == "block"]
    tunnels = [p for p in policies if p.action == "allow" and p.template is not None]
    clear = [p for p in policies if p.action == "allow" and p.template is None]
    found = (
        Puts("spare", policies=[p for p in clear if not _stays(p)]),
        Puts("close", policies=[p for p in blocks if p.id.mark or p.id in there]),
        Puts("bar", policies=[p for p in blocks if not p.id.mark and p.id not in there]),
        Puts("accept", policies=[p for p in tunnels if p.id.direction != "out"]),
        Puts("receive", [s for s in states if s.receives]),
        Puts("send", [s for s in states if not s.receives]),
        Puts("open", policies=[p for p in tunnels if p.id.direction == "out"]),
        Puts("stay", policies=[p for p in clear if _stays(p)]),
    )
    return [each for each in found if each.states or each.policies]


def removals(
    states: Mapping[StateId, StateWish], policies: Mapping[PolicyId, PolicyWish]
) -> list[Removals]:
    """Of what is there and not wished for any more, the stages that there are, in order.

    Between "mute" and "refuse" the routes of table 200 go.
    """
    allowing = {name: p for name, p in policies.items() if p.action == "allow"}
    leaving = {n for n, p in allowing.items() if p.template is None and _stays(p)}
    ways = {n for n, p in allowing.items() if p.template is not None and n.direction == "out"}
    found = (
        Removals("leave", policies=[n for n in allowing if n in leaving]),
        Removals("shut", policies=[n for n in allowing if n in ways]),
        Removals("mute", [name for name, s in states.items() if not s.receives]),
        Removals("refuse", policies=[n for n in allowing if n not in leaving and n not in ways]),
        Removals("deafen", [name for name, s in states.items() if s.receives]),
        Removals("unlock", policies=[name for name, p in policies.items() if p.action == "block"]),
    )
    return [each for each in found if each.states or each.policies]


def _stays(policy: PolicyWish) -> bool:
    """Whether what goes in clear does so by whatever protocol, marked or not: to what is here."""
    name = policy.id
    return name.direction == "out" and not name.mark and not name.selector.protocol
