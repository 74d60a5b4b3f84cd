"""What BIRD's configuration is to be about: the graph's updates, kept by what they concern.

in   apply      updates of calc_graph.bgp, any number, in any order
out  speaker, origins, sessions, filters, faults     the newest of each
     secrets    which keys of which Secrets sessions ask for
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import assert_never

from calc_graph.bgp.resources import BgpFilter, SecretRef
from calc_graph.bgp.updates import (
    BgpFaults,
    BgpFilterRemove,
    BgpFilterUpdate,
    BgpOrigins,
    BgpOriginsRemove,
    BgpSession,
    BgpSessionRemove,
    BgpSpeaker,
    BgpUpdate,
)


class Wanted:
    """`speaker` is None until the graph has told it: there is nothing to render before."""

    def __init__(self) -> None:
        self._speaker: BgpSpeaker | None = None
        self._faults = BgpFaults()
        self._origins: dict[str, BgpOrigins] = {}
        self._sessions: dict[str, BgpSession] = {}
        self._filters: dict[str, BgpFilter] = {}

    def apply(self, updates: Iterable[BgpUpdate]) -> None:
        for update in updates:
            self._apply(update)

    def _apply(self, update: BgpUpdate) -> None:
        match update:
            case BgpSpeaker():
                self._speaker = update
            case BgpOrigins():
                self._origins[update.node] = update
            case BgpOriginsRemove():
                self._origins.pop(update.node, None)
            case BgpSession():
                self._sessions[update.name] = update
            case BgpSessionRemove():
                self._sessions.pop(update.name, None)
            case BgpFilterUpdate():
                self._filters[update.name] = update.filter
            case BgpFilterRemove():
                self._filters.pop(update.name, None)
            case BgpFaults():
                self._faults = update
            case _:
                assert_never(update)

    @property
    def speaker(self) -> BgpSpeaker | None:
        return self._speaker

    @property
    def faults(self) -> BgpFaults:
        return self._faults

    @property
    def origins(self) -> Mapping[str, BgpOrigins]:
        """By node, this one among them."""
        return MappingProxyType(self._origins)

    @property
    def sessions(self) -> Mapping[str, BgpSession]:
        return MappingProxyType(self._sessions)

    @property
    def filters(self) -> Mapping[str, BgpFilter]:
        return MappingProxyType(self._filters)

    def secrets(self) -> frozenset[SecretRef]:
        """Which keys of which Secrets have to be read, and watched."""
        return frozenset(
            session.password for session in self._sessions.values() if session.password is not None
        )
