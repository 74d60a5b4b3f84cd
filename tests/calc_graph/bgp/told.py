"""What a consumer of BgpGraph knows: it believes update by update, and refuses what is none."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TypeAlias

from calc_graph.bgp.felix import FelixSettings
from calc_graph.bgp.graph import BgpGraph
from calc_graph.bgp.resources import BgpFilter
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
from calc_graph.model import Key, Value

HOST = "n1"
State: TypeAlias = Mapping[Key, Value]


class Told:
    def __init__(self) -> None:
        self.speaker: BgpSpeaker | None = None
        self.sessions: dict[str, BgpSession] = {}
        self.origins: dict[str, BgpOrigins] = {}
        self.filters: dict[str, BgpFilter] = {}
        self.faults: tuple[tuple[str, str], ...] = ()

    def play(self, updates: Iterable[BgpUpdate]) -> None:
        """Nothing is told twice, and nothing goes that was not there."""
        for update in updates:
            match update:
                case BgpSpeaker():
                    assert update != self.speaker
                    self.speaker = update
                case BgpSession():
                    assert update != self.sessions.get(update.name)
                    self.sessions[update.name] = update
                case BgpSessionRemove():
                    del self.sessions[update.name]
                case BgpOrigins():
                    assert update != self.origins.get(update.node)
                    self.origins[update.node] = update
                case BgpOriginsRemove():
                    del self.origins[update.node]
                case BgpFilterUpdate():
                    assert update.filter != self.filters.get(update.name)
                    self.filters[update.name] = update.filter
                case BgpFilterRemove():
                    del self.filters[update.name]
                case BgpFaults():
                    assert update.faults != self.faults
                    self.faults = update.faults

    def state(self) -> tuple[object, ...]:
        return self.speaker, self.sessions, self.origins, self.filters, self.faults

    def about(self, what: str) -> list[str]:
        return [text for about, text in self.faults if about == what]


def told(state: State, host: str = HOST, felix: FelixSettings | None = None) -> Told:
    """What a fresh graph says of this state."""
    graph, found = BgpGraph(host), Told()
    graph.settle(felix or FelixSettings())
    for key, value in state.items():
        graph.update(key, value)
    graph.in_sync()
    found.play(graph.flush())
    return found
