"""What is to be put and removed as requests to the kernel, a stage at a time, and what came of it.

    in   Puts, Removals (plan.py); keys
    out  Present is told what is done; what was refused, in words

A key leaves the ring only into a state, and its material is overwritten when the kernel has it.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterable, Sequence
from typing import Final, TypeVar

import structlog

from dataplane.families import Family
from dataplane.ipsec.kernel import Change, PolicyDelete, PolicyPut, StateAdd, StateDelete, Xfrm
from dataplane.ipsec.keys import KeyRing, Material
from dataplane.ipsec.plan import Puts, Removals
from dataplane.ipsec.present import Present
from dataplane.ipsec.values import PolicyId, PolicyWish, StateId, StateWish

log = structlog.get_logger(__name__)

_DONE: Final = (0,)
_GONE: Final = (0, errno.ESRCH, errno.ENOENT)

T = TypeVar("T", StateWish, PolicyWish, StateId, PolicyId)


class Writer:
    """`kernel` is asked for when it is needed first."""

    def __init__(self, family: Family, present: Present, kernel: Callable[[], Xfrm]) -> None:
        self.ring = KeyRing()  # that states are made from
        self.written = 0  # states and policies made, exchanged or deleted, since the start
        self._family: Family = family
        self._present = present
        self._kernel = kernel

    async def put(self, stages: Iterable[Puts]) -> list[str]:
        """In their order.  What was refused, in words; raises NetlinkError."""
        failures: list[str] = []
        for puts in stages:
            failures += await (self._put_states(puts) if puts.states else self._put_policies(puts))
        return failures

    async def _put_states(self, puts: Puts) -> list[str]:
        there = self._present.states.actual
        ring = dict(self.ring)
        materials: list[Material] = []
        changes: list[Change] = []
        try:
            for wish in puts.states:
                if wish.id in there:
                    changes.append(StateDelete(wish.id))
                material = ring[wish.key].material(wish)
                materials.append(material)
                changes.append(StateAdd(wish, material))
            codes = await self._kernel().change(changes)
        finally:
            for material in materials:
                material.forget()
        pairs = zip(changes, codes, strict=True)
        codes = [code for change, code in pairs if type(change) is StateAdd]
        done, failures = _parted(puts.states, codes, _DONE, lambda wish: _state(wish.id))
        self._present.states.done(done)
        self._note(puts.stage, len(done))
        return failures

    async def _put_policies(self, puts: Puts) -> list[str]:
        policies = self._present.policies
        there = policies.actual
        new = [wish.id for wish in puts.policies if wish.id not in there]
        indices = dict(zip(new, policies.new_indices(new), strict=True))
        changes = [
            PolicyPut(wish, replace=False, index=indices[wish.id])
            if wish.id in indices
            else PolicyPut(wish)
            for wish in puts.policies
        ]
        codes = await self._kernel().change(changes)
        done, failures = _parted(puts.policies, codes, _DONE, lambda wish: _policy(wish.id))
        policies.done(done)
        self._note(puts.stage, len(done))
        return failures

    async def remove(self, stages: Iterable[Removals]) -> list[str]:
        """In their order.  What was refused, in words; raises NetlinkError."""
        failures: list[str] = []
        for removals in stages:
            states, policies = removals.states, removals.policies
            if states:
                codes = await self._kernel().change([StateDelete(name) for name in states])
                gone, refused = _parted(states, codes, _GONE, _state)
                self._present.states.gone(gone)
                self._note(removals.stage, len(gone))
            else:
                codes = await self._kernel().change([PolicyDelete(name) for name in policies])
                away, refused = _parted(policies, codes, _GONE, _policy)
                self._present.policies.gone(away)
                self._note(removals.stage, len(away))
            failures += refused
        return failures

    def _note(self, stage: str, count: int) -> None:
        self.written += count
        if count:
            log.debug("ipsec.written", family=self._family, stage=stage, count=count)


def _parted(
    wanted: Sequence[T], codes: Sequence[int], good: Sequence[int], text: Callable[[T], str]
) -> tuple[Sequence[T], list[str]]:
    """What was done, and what was refused, in words."""
    if not any(codes):  # as nearly always
        return wanted, []
    pairs = list(zip(wanted, codes, strict=True))
    refused = [f"{text(one)}: {os.strerror(code)}" for one, code in pairs if code not in good]
    return [one for one, code in pairs if code in good], refused


def _state(name: StateId) -> str:
    return f"state to {name.destination} SPI {name.spi:#x}"


def _policy(name: PolicyId) -> str:
    return f"policy {name.direction} {name.selector.source} to {name.selector.destination}"
