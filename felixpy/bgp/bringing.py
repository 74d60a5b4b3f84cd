"""The task that keeps BIRD with the newest version of its configuration.

    in   add(updates), settle(settings); Secrets, which it watches
    out  brought: what BIRD was last given, and what became of it

    updates ──► Wanted ──┐
    Secrets ─────────────┴─► render ──► BirdDriver.bring ──► Outcome
                                              ▲
                          `newer` is set when what it brings is old already

One version at a time, and the newest wins.  What BIRD refused or what had to be undone is tried
again when it changes, and after 1, 2, 4 ... 10 minutes: the other end may have followed by then.
A daemon that comes back in between is no reason to: it may have ended because of that version.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterable, Mapping
from typing import Final

import structlog
from msgspec import Struct, structs

from calc_graph.bgp.resources import SecretRef
from calc_graph.bgp.updates import BgpSession, BgpUpdate
from dataplane.bird.credentials import Credential
from dataplane.bird.driver import BirdDriver
from dataplane.bird.outcome import Outcome
from dataplane.bird.render import UnrenderableError, render
from dataplane.bird.settings import BirdSettings
from dataplane.bird.version import Version
from dataplane.bird.wanted import Wanted
from felixpy.bgp.secrets import Secrets
from felixpy.bgp.secrets_place import SecretsPlace
from felixpy.status import now
from felixpy.tasks import endless

log = structlog.get_logger(__name__)

AWAY_SECONDS: Final = 10.0  # between looks whether a daemon answers now
CHECK_SECONDS: Final = 60.0  # between looks whether file and daemon are still as they were left
FIRST_RETRY, LAST_RETRY = 60.0, 600.0


class Brought(Struct, frozen=True):
    """The newest version that was rendered, and how BIRD took it.

    `outcome` is None while it is the first one and still on its way; `trying` while any is.
    `changed` is when a version was confirmed last (RFC 3339), "" if none was in this process.
    `unrenderable` says why there is no version of what is wanted now; `version` is the one before.
    """

    version: Version = Version("", "", {})
    sessions: Mapping[str, BgpSession] = {}
    credentials: Mapping[SecretRef, Credential] = {}
    secret_problems: Mapping[str, str] = {}
    faults: tuple[tuple[str, str], ...] = ()
    outcome: Outcome | None = None
    trying: bool = False
    changed: str = ""
    unrenderable: str = ""


class Bringing:
    """`clock` gives seconds that only grow; `tell` is called after each outcome, and `told` when
    `brought` is another one.
    """

    def __init__(
        self,
        settings: BirdSettings,
        place: SecretsPlace,
        clock: Callable[[], float],
        tell: Callable[[Outcome], None],
        told: Callable[[], None],
    ) -> None:
        self.settings = settings
        self.brought: Brought | None = None
        self._place = place
        self._clock = clock
        self._tell = tell
        self._told = told
        self._untold: list[BgpUpdate] = []
        self.wanted = Wanted()
        self._driver = BirdDriver(settings, clock)
        self._driver_settings = settings
        self._newer = asyncio.Event()
        self._retry = FIRST_RETRY
        self._due = 0.0  # when the version that there is, is to be brought once more
        self._settled = False  # nothing is on its way, and nothing refused or undone

    def add(self, updates: Iterable[BgpUpdate]) -> None:
        self._untold += updates
        self._newer.set()

    def settle(self, settings: BirdSettings, place: SecretsPlace) -> None:
        if (settings, place) != (self.settings, self._place):
            self.settings, self._place = settings, place
            self._newer.set()

    def look_again(self) -> None:
        """A daemon has come or gone: see that it runs what it should.

        What is on its way, refused or undone has its own time: perhaps the daemon went because of
        it, and one that is not back yet would be left to start with it.
        """
        if self._settled:
            self._due = 0.0
            self._newer.set()

    async def run(self) -> None:
        """Endless; to be run once."""
        while True:
            await self._work_with(self._place)

    async def _work_with(self, place: SecretsPlace) -> None:
        """Until Secrets are looked for elsewhere."""
        secrets = await asyncio.to_thread(
            Secrets, place.path, place.namespace, place.credentials, self._newer.set
        )
        watching = asyncio.create_task(endless(secrets.run(), "secrets"), name="secrets")
        watching.add_done_callback(lambda _: self._newer.set())
        try:
            while place == self._place:
                if watching.done():
                    await watching
                await self._round(secrets)
                await self._wait()
        finally:
            watching.cancel()
            await asyncio.wait([watching])

    # ---------------------------------------------------------------- one round

    async def _round(self, secrets: Secrets) -> None:
        self._newer.clear()
        updates, self._untold = self._untold, []
        self.wanted.apply(updates)
        if self.wanted.speaker is None:
            return
        if self._driver_settings != self.settings:
            self._driver_settings = self.settings
            self._driver = BirdDriver(self.settings, self._clock)
            self._due = 0.0
        secrets.want(self.wanted.secrets())
        before = self.brought or Brought()
        coming = await self._render(before, secrets)
        changed = self.brought is None or coming.version != before.version
        self._say(structs.replace(coming, trying=changed and not coming.unrenderable))
        if coming.unrenderable:
            self._due = self._clock() + CHECK_SECONDS
            return
        if changed:
            self._retry = FIRST_RETRY
        elif self._clock() >= self._due:
            self._driver.retry()
        if changed or before.unrenderable or self._clock() >= self._due:
            self._settled = False
            self._take(await self._driver.bring(coming.version, self._newer))

    async def _render(self, before: Brought, secrets: Secrets) -> Brought:
        credentials, version, unrenderable = secrets.credentials(), before.version, ""
        try:
            # a large mesh takes its time; meanwhile nobody else changes `wanted`
            version = await asyncio.to_thread(
                render, self.wanted, credentials, self._driver_settings
            )
        except UnrenderableError as error:
            unrenderable = str(error)
            if before.unrenderable != unrenderable:
                log.error("bird.not_rendered", reason=unrenderable)
        return Brought(
            version,
            dict(self.wanted.sessions),
            credentials,
            secrets.problems(),
            self.wanted.faults.faults,
            before.outcome,
            changed=before.changed,
            unrenderable=unrenderable,
        )

    def _take(self, outcome: Outcome) -> None:
        pause = CHECK_SECONDS
        match outcome.state:
            case "away":
                pause = AWAY_SECONDS
            case "refused" | "undone":
                pause, self._retry = self._retry, min(2 * self._retry, LAST_RETRY)
            case "superseded":
                pause = 0.0
            case "unchanged" | "confirmed":
                self._retry = FIRST_RETRY
        self._due = self._clock() + pause
        self._settled = outcome.state in ("away", "unchanged", "confirmed")
        self._log(outcome)
        self._tell(outcome)
        if self.brought is not None:
            changed = now() if outcome.state == "confirmed" else self.brought.changed
            trying = outcome.state == "superseded"
            self._say(
                structs.replace(self.brought, outcome=outcome, trying=trying, changed=changed)
            )

    def _log(self, outcome: Outcome) -> None:
        """Whether a daemon is there; what became of a version the driver says itself."""
        before = self.brought.outcome if self.brought else None
        was_away = before is not None and before.state == "away"
        if outcome.state == "away" and outcome != before:
            log.warning("bird.away", reason=outcome.problem, meanwhile="it is looked for")
        elif was_away and outcome.state != "away":
            log.info("bird.back")

    def _say(self, brought: Brought) -> None:
        if brought != self.brought:
            self.brought = brought
            self._told()

    async def _wait(self) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(max(0.0, self._due - self._clock())):
                await self._newer.wait()
