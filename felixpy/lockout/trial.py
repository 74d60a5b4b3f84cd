"""Changes tried on the state of this node: all but some, then others, until the right ones are
found.

    ask(held)    the flows that would be cut if all went on but these
    updates      what the graph has said on the way, for the dataplane to be told as a whole

The graph's output depends on its state alone, so what was tried and taken back leaves nothing
behind: such updates cancel each other out before anything is written.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import NamedTuple

from calc_graph.judge import HostView
from calc_graph.updates import Update
from felixpy.lockout.flows import Essential
from felixpy.lockout.machine import Facts
from felixpy.lockout.model import HostModel
from felixpy.lockout.resources import GuardedKey, GuardedValue
from felixpy.lockout.search import Cut
from felixpy.lockout.state import NodeState


class Change(NamedTuple):
    """None: absent.  `current` is what the state holds of it just now."""

    in_force: GuardedValue | None
    wanted: GuardedValue | None
    current: GuardedValue | None


class Trial:
    """`model` is always that of the state as it is; `asked` are the flows that have to pass."""

    def __init__(
        self,
        state: NodeState,
        model: HostModel,
        changes: Mapping[GuardedKey, Change],
        facts: Facts,
    ) -> None:
        self.model = model
        self.updates: list[Update] = []
        self.asked: Collection[Essential] = facts.essentials
        self._view = facts.view
        self._state = state
        self._changes = changes
        self._current = {key: change.current for key, change in changes.items()}

    def ask(self, held: Collection[GuardedKey]) -> list[Cut]:
        for key, change in self._changes.items():
            value = change.in_force if key in held else change.wanted
            if value is not self._current[key]:
                self._state.put(key, value)
                self._current[key] = value
        updates = self._state.flush()
        self.updates += updates
        self.model = advance(self._state, self.model, updates)
        return find_cuts(self.model, self.asked, self._view)


def find_cuts(model: HostModel, asked: Iterable[Essential], view: HostView) -> list[Cut]:
    found = ((each, model.cut(each.flow, view)) for each in asked)
    return [Cut(essential, step) for essential, step in found if step is not None]


def advance(state: NodeState, model: HostModel | None, updates: Iterable[Update]) -> HostModel:
    """The model of the state as it is after a flush; the same one if nothing in it is different."""
    settings = state.judge_settings
    if model is None or settings != model.settings:
        return HostModel.build(settings, state.replay())
    return model.after(updates, state.replay)
