"""Puts and removals as requests to the kernel, one stage at a time, and what came of them.

    in   Put, Remove (plan.py); keys
    out  Present is told what is done; what was refused, in words

A key leaves the ring only into a state, and its material is overwritten when the kernel has it.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterable, Sequence
from itertools import groupby
from operator import attrgetter
from typing import TypeVar

import structlog

from dataplane.families import Family
from dataplane.ipsec.kernel import Change, PolicyDelete, PolicyPut, StateAdd, StateDelete, Xfrm
from dataplane.ipsec.keys import KeyRing, Material
from dataplane.ipsec.plan import Put, Remove, Stage
from dataplane.ipsec.present import Present
from dataplane.ipsec.values import PolicyId, PolicyWish, StateId, StateWish

log = structlog.get_logger(__name__)

_GONE = (0, errno.ESRCH, errno.ENOENT)

T = TypeVar("T", Put, Remove)


class Writer:
    """`kernel` is asked for when it is needed first."""

    def __init__(self, family: Family, present: Present, kernel: Callable[[], Xfrm]) -> None:
        self.ring = KeyRing()  # that states are made from
        self.written = 0  # states and policies made, exchanged or deleted, since the start
        self._family: Family = family
        self._present = present
        self._kernel = kernel

    async def put(self, puts: Sequence[Put]) -> list[str]:
        """In the order of their stages.  What was refused, in words; raises NetlinkError."""
        failures: list[str] = []
        for stage, group in _by_stage(puts):
            materials: list[Material] = []
            try:
                failures += await self._put(stage, group, materials)
            finally:
                for material in materials:
                    material.forget()
        return failures

    async def _put(self, stage: Stage, puts: list[Put], materials: list[Material]) -> list[str]:
        changes: list[Change] = []
        last: list[int] = []  # of the changes of each
        new_index = self._present.policies.new_index
        for put in puts:
            wish, exchanges = put.wish, put.exchanges
            if isinstance(wish, PolicyWish):
                index = 0 if exchanges else new_index(wish.id)
                changes.append(PolicyPut(wish, exchanges, index))
            else:
                if exchanges:
                    changes.append(StateDelete(wish.id))
                material = self.ring[wish.key].material(wish)
                materials.append(material)
                changes.append(StateAdd(wish, material))
            last.append(len(changes) - 1)
        codes = await self._kernel().change(changes)
        failures: list[str] = []
        done: list[StateWish | PolicyWish] = []
        for put, place in zip(puts, last, strict=True):
            if code := codes[place]:
                failures.append(f"{_text(put.wish.id)}: {os.strerror(code)}")
            else:
                done.append(put.wish)
        self._present.done(done)
        self._note(stage, len(done))
        return failures

    async def remove(self, removals: Sequence[Remove]) -> list[str]:
        """In the order of their stages.  What was refused, in words; raises NetlinkError."""
        failures: list[str] = []
        for stage, group in _by_stage(removals):
            failures += await self._remove(stage, group)
        return failures

    async def _remove(self, stage: Stage, removals: list[Remove]) -> list[str]:
        changes: list[Change] = [
            StateDelete(r.id) if isinstance(r.id, StateId) else PolicyDelete(r.id) for r in removals
        ]
        failures: list[str] = []
        codes = await self._kernel().change(changes)
        for removal, code in zip(removals, codes, strict=True):
            if code in _GONE:
                self._present.gone(removal.id)
            else:
                failures.append(f"{_text(removal.id)}: {os.strerror(code)}")
        self._note(stage, len(removals) - len(failures))
        return failures

    def _note(self, stage: Stage, count: int) -> None:
        self.written += count
        if count:
            log.debug("ipsec.written", family=self._family, stage=stage, count=count)


def _by_stage(wanted: Iterable[T]) -> list[tuple[Stage, list[T]]]:
    """They are in the order of their stages."""
    return [(stage, list(group)) for stage, group in groupby(wanted, attrgetter("stage"))]


def _text(name: StateId | PolicyId) -> str:
    if isinstance(name, StateId):
        return f"state to {name.destination} SPI {name.spi:#x}"
    return f"policy {name.direction} {name.selector.source} to {name.selector.destination}"
