"""What waits and what was let through although it cuts: known, said once, and counted.

held        kept with the holds, where `felixpy confirm` finds it
standing    a problem in the status until it is over
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from functools import partial
from typing import Final, NamedTuple, Protocol

import structlog
from msgspec import Struct

from felixpy.holds import Hold
from felixpy.lockout import words
from felixpy.lockout.machine import Facts
from felixpy.lockout.model import HostModel
from felixpy.lockout.resources import GuardedKey, GuardedValue, identify
from felixpy.lockout.search import Cut
from felixpy.lockout.trial import Change, find_cuts

log = structlog.get_logger(__name__)

KIND: Final = "lockout"
CONFIRMED, TAKEN_BACK = "confirmed", "what is wanted is what is in force"
HARMLESS, NOT_ENFORCED = "no essential flow is cut by it", "LockoutGuard is not Enforce"
READ_ANEW: Final = "the datastore is read anew"


class Holds(Protocol):
    """felixpy.holds.Holds."""

    def place(self, hold: Hold, confirm: Callable[[], None]) -> None: ...
    def lift(self, id_: str, reason: str) -> None: ...


class Waiting(Struct, frozen=True):
    """What a metric says of a change that is held back."""

    resource: str
    flow: str
    cause: str


class Held(NamedTuple):
    wanted: GuardedValue | None
    cut: Cut


class Ledger:
    """`count` is told "held", "warned" or "not prevented" for each."""

    def __init__(self, holds: Holds, count: Callable[[str], None]) -> None:
        self._holds = holds
        self._count = count
        self.held: dict[GuardedKey, Held] = {}
        self.confirmed: set[GuardedKey] = set()
        self._standing: list[Cut] = []
        self.waiting: tuple[Waiting, ...] = ()  # replaced as a whole, for another thread

    def __bool__(self) -> bool:
        """Whether there is anything that may be over one day."""
        return bool(self.held or self._standing)

    @property
    def problems(self) -> dict[str, str]:
        return {cut.essential.text: words.render_standing(cut) for cut in self._standing}

    def _confirm(self, key: GuardedKey) -> None:
        self.confirmed.add(key)

    def take_confirmed(self) -> set[GuardedKey]:
        confirmed, self.confirmed = self.confirmed, set()
        return confirmed

    def note_held(
        self,
        changes: Mapping[GuardedKey, Change],
        cuts: Mapping[GuardedKey, Cut],
        confirmed: Collection[GuardedKey],
        otherwise: str,
    ) -> None:
        """`cuts`: what is to wait, of `changes`, and why.

        `otherwise`: why something does not wait any more that was neither confirmed nor taken
        back.
        """
        old = self.held
        self.held = {key: Held(changes[key].wanted, cut) for key, cut in cuts.items()}
        for key, held in self.held.items():
            if key not in old or old[key].wanted != held.wanted:
                self._count("held")
                log.error("lockout.held_back", resource=words.render_key(key), **_facts(held.cut))
            text = f"{words.render_key(key)} waits: {words.render_loss(held.cut)}"
            confirm = partial(self._confirm, key)
            self._holds.place(Hold(identify(key), KIND, text, 1), confirm)
        for key in old.keys() - self.held.keys():
            taken_back = changes[key].wanted == changes[key].in_force
            reason = CONFIRMED if key in confirmed else TAKEN_BACK if taken_back else otherwise
            self._holds.lift(identify(key), reason)
        self.waiting = tuple(_waiting(key, held.cut) for key, held in self.held.items())

    def note_confirmed(self, cuts: Iterable[Cut]) -> None:
        for cut in cuts:
            log.warning("lockout.confirmed", **_facts(cut))

    def note_standing(self, cuts: Iterable[Cut], what: str) -> None:
        """Let through: "warned" or "not prevented"."""
        for cut in cuts:
            self._count(what)
            log.error(f"lockout.{what.replace(' ', '_')}", **_facts(cut))
            self._standing.append(cut)

    def forget_standing(self, model: HostModel, facts: Facts) -> None:
        """Those whose flow is nobody's any more, or passes again."""
        known = {cut.essential for cut in self._standing}
        asked = [each for each in facts.essentials if each in known]
        self._standing = find_cuts(model, asked, facts.view)

    def let_go(self, reason: str) -> None:
        """Everything."""
        for key in self.held:
            self._holds.lift(identify(key), reason)
        self.held, self.waiting = {}, ()
        self.confirmed.clear()
        self._standing.clear()


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
