"""The guard itself: between the changes of a batch and the dataplane.

    in   note(key, value)   a resource that the graph and the configuration have been given
    out  review()           what the dataplane is to be told, with what would cut an essential flow
                            taken back: in graph and configuration those resources are as they were
         problems, waiting  for status and metrics

What waits is tried again with the next change of anything that could be held back, and when the
essential flows are others, which is looked at every RECHECK seconds while something waits; its
newest wanted value counts.  `felixpy confirm` lets it go whatever it cuts.

At the start nothing is in force, so there is nothing that a policy could stay as: it is the host
endpoints at which a flow would be cut that wait, and everything else goes on.

Without a host endpoint of this node nothing is looked at.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Mapping
from typing import Final, Protocol, cast

from calc_graph.model import HostEndpointKey, Key, Value
from calc_graph.updates import Update
from dataplane.settings import Settings
from felixpy.lockout.ledger import HARMLESS, NOT_ENFORCED, READ_ANEW, Ledger, Waiting
from felixpy.lockout.machine import Facts
from felixpy.lockout.memory import Memory, Remembered
from felixpy.lockout.model import HostModel
from felixpy.lockout.resources import GUARDED, MACHINE, GuardedKey, GuardedValue
from felixpy.lockout.search import Found, find_culprits
from felixpy.lockout.state import NodeState
from felixpy.lockout.trial import Change, Trial, advance, find_cuts

RECHECK: Final = 10.0  # seconds


class Reader(Protocol):
    """felixpy.lockout.machine.Machine."""

    async def read(self, settings: Settings, datastore_ports: Iterable[int]) -> Facts: ...


class LockoutGuard:
    """`host` is this node's name; `clock` gives seconds that only grow."""

    def __init__(
        self,
        state: NodeState,
        host: str,
        machine: Reader,
        ledger: Ledger,
        memory: Memory,
        clock: Callable[[], float],
    ) -> None:
        self._state = state
        self._host = host
        self._machine = machine
        self._ledger = ledger
        self._memory = memory
        self._clock = clock
        self._remembered = memory.load()
        self._accepted = set(self._remembered.accepted)  # texts of flows that may be cut
        self._noted: dict[GuardedKey, GuardedValue | None] = {}
        self._in_force: dict[GuardedKey, GuardedValue] = {MACHINE: state.machine}
        self._endpoints: set[GuardedKey] = set()  # of this node: in force, or wanted
        self._model: HostModel | None = None  # of what is in force; None: no endpoint, no look
        self._facts = Facts()
        self._look_at = float("inf")
        self._starting = True
        self._aside = False  # it was Off: what is in force was not looked at

    def note(self, key: Key, value: Value | None) -> None:
        """A resource as it now is in the datastore; of most kinds nothing is kept."""
        if type(key) not in GUARDED:
            return
        # the graph has refused pairs that do not belong together
        self._noted[cast(GuardedKey, key)] = cast(GuardedValue | None, value)
        if isinstance(key, HostEndpointKey) and key.host == self._host and value is not None:
            self._endpoints.add(key)

    @property
    def problems(self) -> dict[str, str]:
        """What was let through although it cuts; what waits is among the holds."""
        return self._ledger.problems

    @property
    def waiting(self) -> tuple[Waiting, ...]:
        """May be asked by another thread."""
        return self._ledger.waiting

    def close(self) -> None:
        """The next guard begins as at a start, with what is wanted."""
        held = self._ledger.held.get(MACHINE)
        if held is not None:
            self._state.put(MACHINE, held.wanted)
        self._ledger.let_go(READ_ANEW)

    # ---------------------------------------------------------------- one batch

    async def review(self) -> list[Update]:
        """The flush of the graph, and that of what was taken back.

        To be called when a batch has been noted, and from time to time; before the configuration
        is settled.
        """
        changes = self._take()
        updates = self._state.flush()
        mode = self._state.config.lockout_guard
        if not self._endpoints and not self._remembered.held:
            self._model = None
            self._commit(changes, ())
        elif mode == "Off":
            updates += self._stand_aside(changes)
        elif self._aside:
            self._aside = False
            self._model = advance(self._state, None, updates)
            self._commit(changes, ())
        else:
            updates += await self._judge(changes, updates, enforce=mode == "Enforce")
        self._starting = False
        self._remember()
        return updates

    def _take(self) -> dict[GuardedKey, Change]:
        """What has been noted, and what of it is different from what is in force or waits."""
        machine = self._state.machine
        if machine is not self._in_force[MACHINE]:
            self._noted[MACHINE] = machine
            if machine == self._in_force[MACHINE]:
                self._in_force[MACHINE] = machine  # read again, and the same
        noted, self._noted = self._noted, {}
        return {
            key: Change(self._in_force.get(key), value, current=value)
            for key, value in noted.items()
            if key in self._ledger.held or value != self._in_force.get(key)
        }

    async def _judge(
        self, changes: dict[GuardedKey, Change], updates: list[Update], *, enforce: bool
    ) -> list[Update]:
        before = self._model
        model = advance(self._state, before, updates)
        ledger = self._ledger
        again = bool(ledger.held) and bool(changes or ledger.confirmed)
        if not await self._look() and not again and model is before:
            self._commit(changes, ())
            return []
        facts = self._facts = await self._read()
        self._look_at = self._clock() + RECHECK
        candidates = self._candidates(changes)
        trial = Trial(self._state, model, candidates, facts)
        if before is not None:
            cut = {each.essential for each in find_cuts(before, facts.essentials, facts.view)}
            trial.asked = [each for each in facts.essentials if each not in cut]
        trial.asked = [each for each in trial.asked if each.text not in self._accepted]
        confirmed = self._let_confirmed_go(trial, candidates)
        if enforce:
            open_ = [key for key in candidates if key not in confirmed]
            known = self._remembered.held if self._starting else ledger.held
            found = find_culprits(open_, trial.ask, known)
        else:
            found = Found({}, tuple(trial.ask(())))
        self._model = trial.model
        ledger.note_held(candidates, found.held, confirmed, HARMLESS if enforce else NOT_ENFORCED)
        ledger.note_standing(found.beyond, "not prevented" if enforce else "warned")
        ledger.forget_standing(trial.model, facts)
        self._commit({**changes, **candidates}, found.held)
        still = [each for each in facts.essentials if each.text in self._accepted]
        cuts = find_cuts(trial.model, still, facts.view)
        self._accepted = {cut.essential.text for cut in cuts}
        return trial.updates

    def _candidates(self, changes: Mapping[GuardedKey, Change]) -> dict[GuardedKey, Change]:
        """With what waits already; at the start, with what an agent before this one held back."""
        found: dict[GuardedKey, Change] = {}
        if not self._starting:
            for key, held in self._ledger.held.items():
                in_force = self._in_force.get(key)
                found[key] = Change(in_force, held.wanted, current=in_force)
            return {**found, **changes}
        for key, in_force in self._remembered.held.items():
            wanted = changes[key].wanted if key in changes else None
            if wanted != in_force:
                found[key] = Change(in_force, wanted, current=wanted)
        new = {key: changes[key] for key in changes if key in self._endpoints}
        return {**new, **found}

    def _let_confirmed_go(
        self, trial: Trial, candidates: Mapping[GuardedKey, Change]
    ) -> set[GuardedKey]:
        """What these alone would cut is not asked any more: so nothing else is held for it."""
        confirmed = self._ledger.take_confirmed() & candidates.keys()
        if confirmed:
            cuts = trial.ask(candidates.keys() - confirmed)
            self._ledger.note_confirmed(cuts)
            accepted = {cut.essential.text for cut in cuts}
            self._accepted |= accepted
            trial.asked = [each for each in trial.asked if each.text not in accepted]
        return confirmed

    def _stand_aside(self, changes: Mapping[GuardedKey, Change]) -> list[Update]:
        candidates = self._candidates(changes)
        for key, change in candidates.items():
            if change.current is not change.wanted:
                self._state.put(key, change.wanted)
        self._ledger.let_go(NOT_ENFORCED)
        self._commit({**candidates, **changes}, ())
        self._model, self._aside = None, True
        return self._state.flush() if candidates else []

    def _commit(self, changes: Mapping[GuardedKey, Change], held: Container[GuardedKey]) -> None:
        for key, change in changes.items():
            value = change.in_force if key in held else change.wanted
            if value is not None:
                self._in_force[key] = value
                continue
            self._in_force.pop(key, None)
            if key not in held:
                self._endpoints.discard(key)

    def _remember(self) -> None:
        held = {key: self._in_force.get(key) for key in self._ledger.held if key != MACHINE}
        self._remembered = Remembered(held, frozenset(self._accepted))
        self._memory.save(self._remembered)

    # ---------------------------------------------------------------- the machine

    async def _read(self) -> Facts:
        return await self._machine.read(self._state.settings, self._state.datastore_ports)

    async def _look(self) -> bool:
        """From time to time while something waits: whether that may be different now."""
        if not self._ledger or self._clock() < self._look_at:
            return False
        self._look_at = self._clock() + RECHECK
        facts, old = await self._read(), self._facts
        self._facts = facts
        return facts != old
