"""IPsec's place in the pipeline: its keys, its life, what is told of it.

    note, in_sync             what the datastore says
    settle                    what the configuration says
    admit, review             the settings of a dataplane, as far as they are for IPsec to say; and
                              whether one has to be built anew because of that
    attach, turn              the dataplane that there is; it has been written
    status, problems          for the status file
    details, drop             for commands
    figures                   for metrics

Switched off it is used alike: what is left of it goes, and what is published is withdrawn.  Where
it has not been on since the machine has started, it does nothing at all.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Final

import structlog

from calc_graph.model import Key, Value
from dataplane.ipsec.status import IpsecStatus
from dataplane.settings import Settings
from felixpy.config import Config
from felixpy.config.to_ipsec import both_families
from felixpy.ipsec.details import Details, error_counts
from felixpy.ipsec.end import IpsecEnd
from felixpy.ipsec.figures import IpsecFigures, with_counters
from felixpy.ipsec.keys import Keys
from felixpy.ipsec.life import LifeFile, is_kept
from felixpy.ipsec.node_encryption import NodeEncryption
from felixpy.ipsec.publishing import RecordPublisher
from felixpy.ipsec.used import Used
from felixpy.ipsec.xfrm_stat import read_errors
from felixpy.status import IpsecSummary
from felixpy.statusrep.store import StatusStore
from felixpy.units import age

log = structlog.get_logger(__name__)

LOOK_SECONDS: Final = 0.5  # between two looks at how all peers are


class IpsecPart:
    """`config` is asked for the configuration of the moment, `environ` is the process's; `store`
    takes what this node tells of itself; `directory` is the agent's own; `woken` is called when
    there may be something to do.
    """

    def __init__(
        self,
        config: Callable[[], Config],
        environ: Mapping[str, str],
        store: StatusStore,
        directory: Path,
        woken: Callable[[], None],
    ) -> None:
        self._config = config
        self._woken = woken
        self._enabled = config().ipsec_enabled
        self._left = is_kept(directory)  # perhaps: of a time when it was on
        self._life = LifeFile(directory, config().felix_hostname, time.time)
        self._used = Used(config().felix_hostname)
        self._keys = Keys(config(), environ, self._known_keys, woken)
        self._publisher = RecordPublisher(store, config().felix_hostname)
        self._node_encryption = NodeEncryption(config)
        self._end: IpsecEnd | None = None
        self._offered: tuple[str, object] = ("", None)  # boot and ring, to this end
        self._known = IpsecStatus()  # as of the last look
        self._look_at = 0.0  # of all peers of a large cluster it takes its time
        self._stale = False
        self._rotations = 0

    # ---------------------------------------------------------------- told

    def note(self, key: Key, value: Value | None) -> None:
        """None: gone, or never valid."""
        self._publisher.note(key, value)
        self._used.resource(key, value)
        self._node_encryption.note(key, value)

    def in_sync(self) -> None:
        """The datastore has said all that it knows."""
        if self._enabled:
            self._used.keys(self._derived_from())
            self._used.complete()
        elif not self._left:
            self._publisher.withdraw_unseen()

    async def settle(self) -> None:
        """The configuration may be another; whether IPsec is on is the same."""
        if self._enabled:
            self._left = True
            self._life.begin()  # it knows what the keys must not contradict
            self._used.restore(self._life.used)
            await self._keys.settle(self._config())

    def attach(self, end: IpsecEnd | None) -> None:
        """None: there is none any more."""
        self._end = end
        self._look_at = 0.0
        self._offered = ("", None)
        if end is None or not (self._enabled or self._left):
            return
        if not self._enabled:
            self._life.resume()
        self._offer(end)

    def turn(self, *, applied: bool) -> None:
        """After each turn of the dataplane."""
        self._keys.check()
        self._publisher.check()
        end = self._end
        if end is None or not (self._enabled or self._left):
            return
        if why := end.renewal():
            self._renew(why)
        self._offer(end)
        self._stale |= applied
        if self._stale and time.monotonic() >= self._look_at:
            self._stale = False
            self._look_at = time.monotonic() + LOOK_SECONDS
            self._known = end.known()
        if not applied or not end.settled:
            return
        self._life.know(end.alive())
        self._note_rotation()
        self._publisher.offer(end.record())
        if not self._enabled:
            self._let_go(end)

    def _offer(self, end: IpsecEnd) -> None:
        """What the dataplane has not got yet; it takes it with the next apply."""
        if self._enabled:
            self._remember()
        life, ring = self._life.life, self._keys.ring
        before, self._offered = self._offered, ("" if life is None else life.boot, ring)
        if life is not None and life.boot != before[0]:
            end.offer_life(life)
            self._woken()
        if ring is not None and ring is not before[1]:
            end.offer_keys(ring)
            self._woken()

    def _remember(self) -> None:
        """What the next apply may derive keys from; no two lives have one of them."""
        self._used.keys(self._derived_from())
        if self._used.again and self._config().ipsec_state_layout == "pair":
            self._renew(self._used.again)
        if (kept := self._used.take_kept()) is not None:
            self._life.keep_used(kept)

    def _renew(self, why: str) -> None:
        if self._life.renew(why) is not None:
            self._used.begin_life()

    def _derived_from(self) -> dict[int, str]:
        """Key ID -> check value, of those in use and those to be used."""
        ring = self._keys.ring
        return self._known_keys() | ({} if ring is None else dict(ring.checks))

    def _known_keys(self) -> dict[int, str]:
        life = self._life.life
        alive = {} if self._end is None or not self._end.settled else dict(self._end.alive())
        return alive or ({} if life is None else dict(life.known))

    def _note_rotation(self) -> None:
        ring = self._keys.ring
        if ring is not None and self._life.note_ring(ring, ring.newest, read_errors()):
            self._rotations += 1
            log.info("ipsec.rotated", newest=ring.newest)

    def _let_go(self, end: IpsecEnd) -> None:
        """Nothing of it is left, here and in the datastore."""
        if end.record() is not None or not self._publisher.published:
            return
        self._known = end.known()
        if all(family.phase == "off" for family in self._known.families):
            self._life.forget()
            self._left = False

    # ---------------------------------------------------------------- the settings

    async def admit(self, settings: Settings) -> Settings:
        return await self._node_encryption.admit(settings)

    def review(self) -> bool:
        """Whether the settings would be others than they were when they were admitted; to be asked
        before each apply.
        """
        if self._enabled and self._end is not None:
            self._offer(self._end)
        return self._node_encryption.review()

    # ---------------------------------------------------------------- asked

    @property
    def problems(self) -> dict[str, str]:
        if not self._enabled and not self._left:
            return {}
        found = {**self._publisher.problems, **self._node_encryption.problems}
        if self._life.problem:
            found["life"] = self._life.problem
        if self._enabled:
            found |= self._problems_of_keys() | _encrypted_already(self._config())
        return found

    def _problems_of_keys(self) -> dict[str, str]:
        config, facts = self._config(), self._keys.facts
        texts = [] if facts is None else facts.problems(config.ipsec_state_layout)
        found = {"keys": "; ".join(texts)} if texts else {}
        newest, limit = self._life.history.newest, config.ipsec_key_max_age
        old = self._ages().get(newest, 0.0)
        if limit and old > limit:
            found["key age"] = (
                f"key {newest} is {age(old)} old, and IPsecKeyMaxAge is {age(limit)}: "
                "put a new one into the key file"
            )
        return found

    def _ages(self) -> dict[int, float]:
        """Key ID -> seconds."""
        now = time.time()
        seen = self._life.history.seen
        return {key: max(0.0, now - since) for key, since in seen.items()}

    @property
    def status(self) -> IpsecSummary | None:
        """None: it is off, and nothing is left of it."""
        if not self._enabled and not self._left:
            return None
        stages = Counter(peer.stage for peer in self._known.peers)
        ring = self._keys.ring
        return IpsecSummary(
            "on" if self._enabled else "going",
            dict(sorted(stages.items())),
            0 if ring is None else ring.newest,
            "; ".join(dict.fromkeys(each.reason for each in self._known.families if each.reason)),
        )

    def ring(self) -> Collection[int]:
        """Key IDs of the key file."""
        return () if self._keys.ring is None else tuple(self._keys.ring)

    def alive(self) -> Collection[int]:
        """Key IDs that are received with still."""
        return () if self._end is None else tuple(self._end.alive())

    def drop(self, key: int) -> None:
        """Not waited for any more, whoever sends with it."""
        if self._end is not None:
            log.warning("ipsec.key_dropped", key=key)
            self._end.drop(key)
            self._woken()

    async def details(self) -> Details:
        """As the kernel has it now.  Raises DataplaneError."""
        history = self._life.history
        return Details(
            self._enabled,
            IpsecStatus() if self._end is None else await self._end.status(),
            self._keys.facts if self._enabled else None,
            history,
            error_counts(read_errors(), history.errors),
            self._publisher.published,
            self._config().ipsec_key_max_age,
            tuple(self.problems.values()),
        )

    def figures(self) -> IpsecFigures | None:
        """To be asked by another thread than the event loop's, which it does not keep waiting."""
        if not self._enabled and not self._left:
            return None
        return IpsecFigures(
            with_counters(self._known, self._config().ipsec_req_id),
            self._ages(),
            self._keys.errors,
            self._rotations,
            read_errors(),
        )

    async def close(self) -> None:
        """What is published stays: states and policies do, too."""
        await self._keys.close()
        await self._publisher.close()


def _encrypted_already(config: Config) -> dict[str, str]:
    return {
        f"IPv{family}": f"IPsec has not begun for IPv{family}: WireGuard encrypts it"
        for family in sorted(both_families(config))
    }
