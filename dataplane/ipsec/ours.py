"""Whose a state or a policy is that was found in the kernel: pure.

in   KernelState, KernelPolicy, the addresses of this node, our reqid
out  "ours"       to be kept, exchanged or deleted as we like
     "doubtful"   it looks like ours and may be somebody else's: reported, and left alone
     "foreign"    of strongSwan or whoever: none of our business

A policy carries a signature: the kernel lets its maker choose the number by which policies are
listed, and keeps it for as long as the policy is there, through every exchange.  Ours begin with
SIGNATURE, where the kernel's own counting does not come to.  So nothing on disk has to remember
what was installed, and nothing there can be out of step with the kernel: blocks, which have neither
reqid nor template, are as certain as tunnels.  The guide's dumps do not show the number.

A state has no such number.  It is ours if all of this holds: ESP, tunnel, our reqid, our mark and
an own address at the end that is ours, an SPI of one of the two layouts with the counting that goes
with it, and nothing besides.  strongSwan's SPIs begin at 0xc0000000, far above.
Source: section 10.1 of the IPsec reference; linux net/xfrm/xfrm_policy.c, xfrm_gen_index.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import Final, Literal, TypeAlias

from dataplane.families import Family
from dataplane.ipsec.kernel import ALL_PACKETS, ESP, TUNNEL, KernelPolicy, KernelState
from dataplane.ipsec.values import (
    ANYBODY,
    DECRYPTED,
    MARK_MASK,
    Direction,
    PolicyId,
)

Claim: TypeAlias = Literal["ours", "doubtful", "foreign"]

SIGNATURE: Final = 0x66000000  # the highest byte of the number of each policy of ours
SIGNED: Final = 0xFF000000  # where it is
LAST_PRIORITY: Final = 65000  # the largest of ours; those of others are larger by far
NUMBERS: Final = 1 << 20  # what is left beside signature, family and direction

# The kernel's policies of both families are in one list, and so are their numbers.
_FAMILIES: Final[dict[Family, int]] = {4: 0, 6: 8}
_DIRECTIONS: Final[dict[Direction, int]] = {"in": 0, "out": 1, "fwd": 2}
_OTHER_BITS: Final = 4
_ID_BITS: Final = 4
_SPIS: Final = 1 << 28  # a tag of 24 bits and an ID of four
_ANYBODY: Final = tuple(ANYBODY.values())


def index_of(number: int, family: Family, direction: Direction) -> int:
    """`number` below NUMBERS."""
    return SIGNATURE | number << _OTHER_BITS | _FAMILIES[family] | _DIRECTIONS[direction]


_FIRST: Final = {  # by whether it is of IPv6, and direction
    (family == 6, direction): index_of(0, family, direction)
    for family in _FAMILIES
    for direction in _DIRECTIONS
}


def number_of(index: int) -> int | None:
    """None for what does not carry our signature."""
    if index & SIGNED != SIGNATURE:
        return None
    return (index & ~SIGNED) >> _OTHER_BITS


class Numbers:
    """Those of policies of one family: each is given out once, for as long as there are others."""

    def __init__(self, indices: Iterable[int] = ()) -> None:
        """`indices` with our signature are in use."""
        self._used = {(index & ~SIGNED) >> _OTHER_BITS for index in indices}
        self._next = max(self._used, default=-1) + 1

    def indices(self, policies: Sequence[PolicyId]) -> list[int]:
        """For policies that are to be made, of numbers that are not in use, if there are any."""
        end = self._next + len(policies)
        numbers: Sequence[int] = range(self._next, end)
        if end <= NUMBERS and self._used.isdisjoint(numbers):
            self._used.update(numbers)
            self._next = end
        else:
            numbers = [self._take() for _ in policies]
        return [
            _FIRST[":" in policy.selector.destination, policy.direction] | number << _OTHER_BITS
            for policy, number in zip(policies, numbers, strict=True)
        ]

    def _take(self) -> int:
        used = self._used
        if len(used) >= NUMBERS:
            used.clear()
        while (number := self._next % NUMBERS) in used:
            self._next += 1
        used.add(number)
        self._next = number + 1
        return number


def claim_of_policy(policy: KernelPolicy, reqid: int) -> Claim:
    """One with our signature that has become something else is doubtful: whoever exchanged it may
    rely on it.  Of ours with another reqid the parameter has changed.
    """
    signed = number_of(policy.index) is not None
    templates = policy.templates
    formed = policy.has_name and policy.priority <= LAST_PRIORITY and len(templates) <= 1
    if formed and templates:
        asked = templates[0]
        formed = (asked.protocol, asked.mode, asked.plain) == (ESP, TUNNEL, True)
    if signed:
        return "ours" if formed else "doubtful"
    with_reqid = bool(templates) and templates[0].reqid == reqid
    return "doubtful" if formed and with_reqid else "foreign"


def claim_of_state(state: KernelState, reqid: int, own: Collection[str]) -> Claim:
    """`own`: addresses of this node."""
    spi = state.id.spi
    if (state.protocol, state.mode, state.reqid) != (ESP, TUNNEL, reqid) or not _is_spi(spi):
        return "foreign"
    marks = (state.set_mark, state.set_mark_mask)
    receives = marks == (DECRYPTED, MARK_MASK) and state.id.destination in own
    sends = marks == (0, 0) and state.source in own
    if not receives and not sends:
        return "doubtful" if state.id.destination in own or state.source in own else "foreign"
    # With an SPI that is a key's ID all senders share it; else it is of two nodes, who count.
    if spi < 1 << _ID_BITS:
        counts = not state.esn and state.replay_window == 0
    else:
        counts = state.esn and state.source not in _ANYBODY
    alone = (
        state.plain
        and not (state.mark or state.mark_mask or state.if_id or state.limited)
        and state.selector == ALL_PACKETS[state.family]
    )
    return "ours" if alone and counts else "doubtful"


def _is_spi(spi: int) -> bool:
    return spi < _SPIS and spi & ((1 << _ID_BITS) - 1) != 0
