"""What the kernel has of states against what is wished for, one family: no I/O.

    in   desire      wishes that have changed
         offer_keys  what states are compared with
         found       all that was listed
         done, gone  what was surely written since
    out  wanting, going          the difference
         take_observed           what has come to be there as wished, or has gone
         in_the_way              what is left alone where ours should be, in words
         spent                   why another life has to begin

Whether a state is the one that was wished for is asked when both are known, whichever comes first.
A key that is in no ring any more cannot be compared: then all but the key has to agree.

A sending state with a life counts packets under a key that nobody else has, so it is never made
twice, or two packets would be encrypted alike: one that was there and is to be made again says so
(`spent`), and waits.
"""

from __future__ import annotations

import hmac
from collections.abc import Collection, Iterable, Mapping
from typing import Final

from dataplane.delta_tracker import DeltaTracker
from dataplane.ipsec.kernel import KernelState
from dataplane.ipsec.keys import Key, KeyRing
from dataplane.ipsec.news import News
from dataplane.ipsec.ours import claim_of_state
from dataplane.ipsec.values import StateId, StateWish

_OTHER: Final = "?"  # the life of what is not as it was wished for
_ID_BITS: Final = 4


class HeldStates:
    def __init__(self, reqid: int) -> None:
        self._reqid = reqid
        self._own: frozenset[str] = frozenset()
        self._ring: dict[int, Key] = {}
        self._tracker: DeltaTracker[StateId, StateWish] = DeltaTracker()
        self._listed: dict[StateId, KernelState] = {}  # of ours, and not written since
        self._foreign: set[StateId] = set()
        self._mine: set[StateId] = set()  # those that were ours once, and are still there
        self._sent: set[StateWish] = set()  # that there has been once
        self._compared: dict[StateWish, bytes] = {}  # -> fingerprint, by the keys in use
        self._news: News[StateId, StateWish] = News()

    # ---------------------------------------------------------------- what should be

    def own(self, addresses: frozenset[str]) -> bool:
        """Addresses of this node.  Whether they are others than before."""
        before, self._own = self._own, addresses
        return before != addresses

    def offer_keys(self, ring: KeyRing) -> None:
        """States are compared with the keys of this one from now on."""
        before, self._ring = self._ring, dict(ring)
        others = {key for key in before.keys() | ring.keys() if before.get(key) != ring.get(key)}
        self._compared = {w: told for w, told in self._compared.items() if w.key not in others}
        compared, gone = others & ring.keys(), others - ring.keys()
        listed, desired, actual = self._listed, self.desired, self.actual
        wishes = {name: desired[name] for name in listed if name in desired}
        again = {
            name: wish
            for name, wish in wishes.items()
            # What has agreed with its key does so without it.
            if wish.key in compared or (wish.key in gone and actual[name] is not wish)
        }
        self._note({name: self._judged(listed[name], wish) for name, wish in again.items()})

    def begin_life(self) -> None:
        """From now on no key is one that was used before."""
        self._sent.clear()

    def desire(self, wishes: Mapping[StateId, StateWish | None]) -> None:
        """What has changed; None: no longer wished for."""
        if not wishes:
            return
        self._tracker.desire_these(wishes)
        self._news.touch(wishes)
        listed = self._listed
        if listed:
            again = {n: w for n, w in wishes.items() if w is not None and n in listed}
            self._note({name: self._judged(listed[name], w) for name, w in again.items()})

    # ---------------------------------------------------------------- what is there

    def found(self, states: Iterable[KernelState]) -> list[str]:
        """Everything of the family, whoever made it.  What is doubtful, in words."""
        self._listed.clear()
        self._foreign.clear()
        doubtful = [_told(state.id) for state in states if self._is_doubtful(state)]
        self.gone([name for name in self._tracker.actual if name not in self._listed])
        listed, desired = self._listed, self.desired
        wished = dict.fromkeys(listed) | {n: desired[n] for n in listed if n in desired}
        self._note({name: self._judged(listed[name], wish) for name, wish in wished.items()})
        return doubtful

    def _is_doubtful(self, state: KernelState) -> bool:
        name = state.id
        wished = name in self._tracker.desired and name.spi >> _ID_BITS
        # The SPI of a pair cannot be anybody else's by chance: with another reqid it is of before.
        reqid = state.reqid if wished or name in self._mine else self._reqid
        claim = claim_of_state(state, reqid, self._own)
        if claim == "ours" or (claim == "doubtful" and name in self._mine):
            self._listed[name] = state
            return False
        self._foreign.add(name)
        return claim == "doubtful"

    def _judged(self, state: KernelState, wish: StateWish | None) -> StateWish:
        """What was listed, as what was wished for in its place, or as something else."""
        if wish is not None and self._has_key(state, wish):
            if state.fits(wish, self._reqid):
                return wish
            if _counts(wish):
                self._sent.add(wish)  # it is that one in all but a detail
        receives, key = state.set_mark != 0, state.id.spi % (1 << _ID_BITS)
        return StateWish(state.id, state.source, key, receives, life=_OTHER)

    def _has_key(self, state: KernelState, wish: StateWish) -> bool:
        key = self._ring.get(wish.key)
        if key is None:
            return True
        if state.algorithm != key.algorithm:
            return False
        if not state.fingerprint:
            return True
        if wish not in self._compared:
            with key.material(wish) as material:
                self._compared[wish] = material.fingerprint
        return hmac.compare_digest(self._compared[wish], state.fingerprint)

    def done(self, wishes: Iterable[StateWish]) -> None:
        """The kernel has taken them."""
        there = {wish.id: wish for wish in wishes}
        self._unlist(there)
        self._note(there)

    def gone(self, names: Collection[StateId]) -> None:
        self._unlist(names)
        self._tracker.observe_gone(names)
        self._news.touch(names)
        self._mine.difference_update(names)

    def _unlist(self, names: Iterable[StateId]) -> None:
        for name in self._listed.keys() & names:
            del self._listed[name]

    def _note(self, there: Mapping[StateId, StateWish]) -> None:
        self._tracker.observe_these(there)
        self._news.touch(there)
        self._mine.update(there)
        lives = ("", _OTHER)  # that count nothing
        self._sent.update([s for s in there.values() if not s.receives and s.life not in lives])

    # ---------------------------------------------------------------- out

    @property
    def desired(self) -> Mapping[StateId, StateWish]:
        return self._tracker.desired

    @property
    def actual(self) -> Mapping[StateId, StateWish]:
        """Of ours, as they were wished for, or as something else."""
        return self._tracker.actual

    @property
    def settled(self) -> bool:
        return self._tracker.in_sync

    def wanting(self) -> list[StateWish]:
        """Without what cannot be: in the place of others, or under a key that was used up."""
        keys = self._ring
        return [
            wish
            for name, wish in self._tracker.updates().items()
            if name not in self._foreign and wish.key in keys and wish not in self._sent
        ]

    def going(self) -> dict[StateId, StateWish]:
        """What is there, and not wished for any more."""
        actual = self.actual
        return {name: actual[name] for name in self._tracker.deletions()}

    @property
    def spent(self) -> str:
        again = sum(wish in self._sent for wish in self._tracker.updates().values())
        return f"{again} sending states are not there as they were made" if again else ""

    @property
    def sending(self) -> int:
        """How many are for sending."""
        return len([state for state in self.actual.values() if not state.receives])

    def take_observed(self) -> dict[StateId, StateWish | None]:
        """What has changed since the last time; those count that are as wished."""
        return self._news.take(self._tracker.agreeing(self._news.touched))

    @property
    def in_the_way(self) -> list[str]:
        """Of what is wished for, in words."""
        return [_told(name) for name in self._tracker.desired.keys() & self._foreign]


def _counts(state: StateWish) -> bool:
    """Whether its key is nobody else's, and it uses that up."""
    return bool(state.life) and not state.receives


def _told(name: StateId) -> str:
    return f"state to {name.destination} SPI {name.spi:#x}"
