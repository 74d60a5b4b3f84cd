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

from collections.abc import Callable, Collection, Iterable, Mapping
from functools import partial
from typing import Final, NamedTuple, Protocol

import structlog
from msgspec import Struct

from calc_graph.model import HostEndpointKey, Key, Value
from calc_graph.updates import Update
from dataplane.settings import Settings
from felixpy.holds import Hold
from felixpy.lockout import words
from felixpy.lockout.machine import Facts
from felixpy.lockout.model import HostModel
from felixpy.lockout.resources import GUARDED, MACHINE, GuardedKey, GuardedValue, identify
from felixpy.lockout.search import Cut, Found, find_culprits
from felixpy.lockout.state import NodeState
from felixpy.lockout.trial import Change, Trial, advance, find_cuts

log = structlog.get_logger(__name__)

KIND: Final = "lockout"
RECHECK: Final = 10.0  # seconds
CONFIRMED, TAKEN_BACK = "confirmed", "what is wanted is what is in force"
HARMLESS, NOT_ENFORCED = "no essential flow is cut by it", "LockoutGuard is not Enforce"


class Holds(Protocol):
    """Where it is kept until somebody confirms it: felixpy.holds.Holds."""

    def place(self, hold: Hold, confirm: Callable[[], None]) -> None: ...
    def lift(self, id_: str, reason: str) -> None: ...


class Reader(Protocol):
    """felixpy.lockout.machine.Machine."""

    async def read(self, settings: Settings, datastore_ports: Iterable[int]) -> Facts: ...


class Waiting(Struct, frozen=True):
    """What a metric says of a change that is held back."""

    resource: str
    flow: str
    cause: str


class _Held(NamedTuple):
    wanted: GuardedValue | None
    cut: Cut


class LockoutGuard:
    """`count` is told "held", "warned" or "not prevented" for each; `clock` gives seconds."""

    def __init__(
        self,
        state: NodeState,
        host: str,
        machine: Reader,
        holds: Holds,
        count: Callable[[str], None],
        clock: Callable[[], float],
    ) -> None:
        self._state = state
        self._host = host
        self._machine = machine
        self._holds = holds
        self._count = count
        self._clock = clock
        self._noted: dict[GuardedKey, GuardedValue | None] = {}
        self._in_force: dict[GuardedKey, GuardedValue] = {MACHINE: state.machine}
        self._endpoints: set[GuardedKey] = set()  # of this node: in force, or wanted
        self._held: dict[GuardedKey, _Held] = {}
        self._confirmed: set[GuardedKey] = set()
        self._standing: list[Cut] = []  # in force although it cuts
        self._model: HostModel | None = None  # of what is in force; None: no endpoint, no look
        self._facts = Facts()
        self._look_at = float("inf")
        self._starting = True
        self._aside = False  # it was Off: what is in force was not looked at
        self.waiting: tuple[Waiting, ...] = ()  # may be read by another thread

    def note(self, key: Key, value: Value | None) -> None:
        """A resource as it now is in the datastore; of most kinds nothing is kept."""
        if not isinstance(key, GUARDED):
            return
        self._noted[key] = value  # type: ignore[assignment]  # the graph has refused other pairs
        if isinstance(key, HostEndpointKey) and key.host == self._host and value is not None:
            self._endpoints.add(key)

    @property
    def problems(self) -> dict[str, str]:
        """What was let through although it cuts; what is held back is told by `holds`."""
        return {cut.essential.text: words.render_standing(cut) for cut in self._standing}

    def close(self) -> None:
        for key in self._held:
            self._holds.lift(identify(key), "the datastore is read anew")

    # ---------------------------------------------------------------- one batch

    async def review(self) -> list[Update]:
        """The flush of the graph, and that of what was taken back.

        To be called when a batch has been noted, and from time to time; before the configuration
        is settled.
        """
        changes = self._take()
        updates = self._state.flush()
        mode = self._state.config.lockout_guard
        if not self._endpoints and not self._held:
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
            if key in self._held or value != self._in_force.get(key)
        }

    async def _judge(
        self, changes: dict[GuardedKey, Change], updates: list[Update], *, enforce: bool
    ) -> list[Update]:
        before = self._model
        model = advance(self._state, before, updates)
        again = bool(self._held) and bool(changes or self._confirmed)
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
        confirmed = self._let_confirmed_go(trial, candidates)
        if enforce:
            open_ = [key for key in candidates if key not in confirmed]
            found = find_culprits(open_, trial.ask)
        else:
            found = Found({}, tuple(trial.ask(())))
        self._model = trial.model
        self._note_held(candidates, found, confirmed, HARMLESS if enforce else NOT_ENFORCED)
        self._note_standing(found, "not prevented" if enforce else "warned")
        self._commit({**changes, **candidates}, found.held)
        return trial.updates

    def _candidates(self, changes: Mapping[GuardedKey, Change]) -> dict[GuardedKey, Change]:
        if self._starting:
            return {key: change for key, change in changes.items() if key in self._endpoints}
        found = {
            key: Change(in_force, held.wanted, current=in_force)
            for key, held in self._held.items()
            for in_force in [self._in_force.get(key)]
        }
        return {**found, **changes}

    def _let_confirmed_go(
        self, trial: Trial, candidates: Mapping[GuardedKey, Change]
    ) -> set[GuardedKey]:
        """What these alone would cut is not asked any more: so nothing else is held for it."""
        confirmed, self._confirmed = self._confirmed & candidates.keys(), set()
        if confirmed:
            cuts = trial.ask(candidates.keys() - confirmed)
            for cut in cuts:
                log.warning("lockout.confirmed", **_facts(cut))
            accepted = {cut.essential for cut in cuts}
            trial.asked = [each for each in trial.asked if each not in accepted]
        return confirmed

    def _stand_aside(self, changes: Mapping[GuardedKey, Change]) -> list[Update]:
        candidates = self._candidates(changes)
        for key, change in candidates.items():
            if change.current is not change.wanted:
                self._state.put(key, change.wanted)
        self._note_held(candidates, Found({}, ()), set(), NOT_ENFORCED)
        self._commit({**candidates, **changes}, ())
        self._standing.clear()
        self._confirmed.clear()
        self._model, self._aside = None, True
        return self._state.flush() if candidates else []

    def _commit(self, changes: Mapping[GuardedKey, Change], held: Iterable[GuardedKey]) -> None:
        for key in changes.keys() - set(held):
            wanted = changes[key].wanted
            if wanted is not None:
                self._in_force[key] = wanted
            else:
                self._in_force.pop(key, None)
                self._endpoints.discard(key)

    # ---------------------------------------------------------------- the machine

    async def _read(self) -> Facts:
        return await self._machine.read(self._state.settings, self._state.datastore_ports)

    async def _look(self) -> bool:
        """From time to time while something waits: whether that may be different now."""
        if not (self._held or self._standing) or self._clock() < self._look_at:
            return False
        self._look_at = self._clock() + RECHECK
        facts, old = await self._read(), self._facts
        self._facts = facts
        return facts != old

    # ---------------------------------------------------------------- saying it

    def _note_held(
        self,
        candidates: Mapping[GuardedKey, Change],
        found: Found,
        confirmed: Collection[GuardedKey],
        otherwise: str,
    ) -> None:
        """`otherwise`: why something does not wait any more that was neither confirmed nor taken
        back.
        """
        old = self._held
        self._held = {key: _Held(candidates[key].wanted, cut) for key, cut in found.held.items()}
        for key, held in self._held.items():
            if key not in old or old[key].wanted != held.wanted:
                self._count("held")
                log.error("lockout.held_back", resource=words.render_key(key), **_facts(held.cut))
            text = f"{words.render_key(key)} waits: {words.render_loss(held.cut)}"
            confirm = partial(self._confirmed.add, key)
            self._holds.place(Hold(identify(key), KIND, text, 1), confirm)
        for key in old.keys() - self._held.keys():
            taken_back = candidates[key].wanted == candidates[key].in_force
            reason = CONFIRMED if key in confirmed else TAKEN_BACK if taken_back else otherwise
            self._holds.lift(identify(key), reason)
        self.waiting = tuple(_waiting(key, held.cut) for key, held in self._held.items())

    def _note_standing(self, found: Found, what: str) -> None:
        """What cuts now, and what has done so before and still does."""
        for cut in found.beyond:
            self._count(what)
            log.error(f"lockout.{what.replace(' ', '_')}", **_facts(cut))
        known = {cut.essential for cut in (*self._standing, *found.beyond)}
        asked = [each for each in self._facts.essentials if each in known]
        self._standing = find_cuts(self._model, asked, self._facts.view) if self._model else []


def _waiting(key: GuardedKey, cut: Cut) -> Waiting:
    return Waiting(words.render_key(key), cut.essential.text, words.render_place(cut.step))


def _facts(cut: Cut) -> dict[str, object]:
    """For a line of the log."""
    step = cut.step
    return {
        "flow": cut.essential.text,
        "policy": words.render_key(step.policy) if step.policy is not None else "",
        "profile": step.profile,
        "tier": step.tier,
        "rule": words.render_index(step),
        "rule_text": words.render_rule(step.rule) if step.rule is not None else "",
        "reason": step.reason.value,
        "endpoint": words.render_endpoint(step),
    }
