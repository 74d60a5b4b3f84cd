"""BIRD, brought to run with a version of its configuration, and not worse than before.

    in   Version     the whole configuration
    out  Outcome     what became of it

A version is parsed by a `bird -p` of its own, put in place, checked by the daemon, applied with
`configure timeout` and confirmed once the sessions are back.  If they do not come, the last
confirmed version is put back.  Three things watch over a trial: this driver; BIRD, which undoes it
by itself if nobody confirms; and the file `.previous`, which tells the next agent of it.

`configure undo` goes back by one version, so after two trials in a row it leads to the first of
them (measured with BIRD 2.0.12): to go back, the confirmed file is put in place and `configure`
said.  Never `configure soft`: it leaves routes in that a tightened filter refuses (section 3.2 of
the BGP reference).

    files.py       the configuration on disk, and what lies beside it
    trial.py       which sessions have to come back
    faults.py      BIRD's messages, without passwords
    agreements.py  what the other end has to match, read from a configuration
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import time
from collections.abc import Callable
from typing import Final

import structlog

from dataplane.bird.control import (
    BirdAway,
    BirdError,
    BirdRefused,
    ask,
    pybird_check,
)
from dataplane.bird.faults import describe, parser_said
from dataplane.bird.files import ConfigFiles
from dataplane.bird.outcome import Outcome
from dataplane.bird.parse.daemon import daemon_status
from dataplane.bird.parse.sessions import session_statuses
from dataplane.bird.settings import BirdSettings
from dataplane.bird.trial import Trial, changed_agreements, established
from dataplane.bird.version import SessionPart, Version
from dataplane.errors import CommandError, CommandMissingError, CommandTimeoutError
from dataplane.runner import Runner

log = structlog.get_logger(__name__)

_PARSE_SECONDS: Final = 30.0  # 5,000 lines of filters parse in 0.04 s
_CONFIGURE_SECONDS: Final = 30.0
_LOOK_SECONDS: Final = 0.25
# BIRD waits so much longer than we before it undoes a trial by itself: our undoing minds the file.
_BIRD_GRACE_SECONDS: Final = 5.0
_NOTHING_TO_DO: Final = 19
_SHUTTING_DOWN: Final = 6


class BirdDriver:
    """One for each configuration file.  `clock` tells seconds, from any beginning."""

    def __init__(self, settings: BirdSettings, clock: Callable[[], float] = time.monotonic) -> None:
        self._settings = settings
        self._clock = clock
        self._files = ConfigFiles(settings)
        self._runner = Runner(timeout_seconds=_PARSE_SECONDS)
        self._refused: tuple[str, Outcome] | None = None
        self._confirmed: dict[str, SessionPart] | None = None
        self._trial: Trial | None = None
        self._stranded: str | None = None  # what has to be said to be back where it was confirmed

    def retry(self) -> None:
        """Try what was refused or undone once more when it is brought next."""
        self._refused = None

    async def bring(self, version: Version, newer: asyncio.Event) -> Outcome:
        """Have BIRD run with a version; ends when that is decided, or as soon as `newer` is set.

        To be called again with the newest version, and from time to time with the same.  Cancelled
        during a trial it leaves that open, as `newer` does: BIRD undoes it by itself unless the
        version is brought again.
        """
        if self._stranded is not None:
            await self._return()
        if self._refused is not None and self._refused[0] == version.text and self._trial is None:
            return self._refused[1]
        try:
            return await self._bring(version, newer)
        except OSError as error:
            text = f"{error.filename or self._files.current}: {error.strerror}"
            log.warning("bird.file_failed", problem=text)
            return Outcome("refused", text)
        finally:
            with contextlib.suppress(OSError):  # it could not be written either
                self._files.discard()

    async def _bring(self, version: Version, newer: asyncio.Event) -> Outcome:
        staged = self._files.read() != version.text
        on_trial = self._files.on_trial or self._trial is not None
        if not staged and not on_trial and await self._runs_the_file():
            return self._unchanged(version)
        if staged:
            self._files.stage(version.text)
            try:
                await self._parse()
            except CommandMissingError as error:
                return Outcome("away", str(error))
            except CommandTimeoutError as error:
                return await self._not_taken(version, str(error), newer, again=True)
            except CommandError as error:
                why = parser_said(error.code, error.stderr, version)
                return await self._not_taken(version, why, newer)
        try:
            trial = await self._begin(version)
        except BirdError as error:
            if not (isinstance(error, BirdAway) and error.absent):
                return Outcome("away", str(error))  # it hangs: what it runs is what is on disk
            if staged:
                self._files.promote()
                await self._note_absence()
            return self._leave_to_daemon(version, error)
        if staged:
            self._files.promote()
        return await self._try(trial, newer)

    def _unchanged(self, version: Version) -> Outcome:
        self._files.secure()
        self._files.forget_refused()
        self._refused = None
        self._confirmed = dict(version.sessions)
        return Outcome("unchanged")

    async def _runs_the_file(self) -> bool:
        """Whether the daemon is sure to have read the file that is there; if not, to have it read
        once more does no harm.
        """
        try:
            daemon = await daemon_status(self._settings)
        except BirdAway:
            return False
        running = daemon.running_seconds  # may be a second more, for they are whole ones
        return running is not None and running + 1.0 <= self._files.age(time.time())

    async def _parse(self) -> None:
        """Raises a DataplaneError: a quoted string of 4,096 bytes would end the parser, which had
        better not be the daemon's.
        """
        await self._runner.run("bird", "-p", "-c", str(self._files.fresh))

    async def _not_taken(
        self, version: Version, why: str, newer: asyncio.Event, *, again: bool = False
    ) -> Outcome:
        """The running version stays; if that one is on trial, its trial goes on, and where that is
        cut short nobody would see to its end: then this has to be brought again, as after `bring`.
        """
        settled = Outcome("refused")
        if self._trial is not None:
            settled = await self._watch(self._trial, newer)
            if settled.state == "superseded":
                return settled
        elif self._files.on_trial:
            await self._go_back("the agent ended during its trial")
        self._files.refuse_staged(f"{why}\n")
        outcome = Outcome("refused", why, settled.restarted, settled.waiting)
        return self._remember(version, outcome, again=again)

    def _remember(self, version: Version, outcome: Outcome, *, again: bool = False) -> Outcome:
        log.warning(f"bird.{outcome.state}", problem=outcome.problem)
        self._refused = None if again else (version.text, outcome)
        return outcome

    async def _note_absence(self) -> None:
        """Where nobody listens now, whoever comes reads the version that has just been put in
        place: BIRD opens its socket before it reads (seen with 2.0.12).
        """
        try:
            await daemon_status(self._settings)
        except BirdError as error:
            if isinstance(error, BirdAway) and error.absent:
                self._files.note_read()

    def _leave_to_daemon(self, version: Version, why: BirdError | str) -> Outcome:
        """A daemon that is not there reads the file when it comes."""
        self._files.settle()
        self._confirmed = dict(version.sessions)
        self._trial = None
        return Outcome("away", str(why))

    async def _begin(self, version: Version) -> Trial:
        """Note what is up before anything changes.  Raises BirdError."""
        before = established(await session_statuses(self._settings))
        daemon = await daemon_status(self._settings)
        if self._trial is not None:
            awaited = self._trial.established
        else:
            awaited = self._files.awaited() if self._files.on_trial else frozenset()
        awaited |= before.keys()
        changed = changed_agreements(version, self._confirmed, self._files.confirmed() or "")
        self._files.begin_trial(awaited)
        self._trial = Trial(version, awaited, changed, before, daemon.booted)
        return self._trial

    async def _try(self, trial: Trial, newer: asyncio.Event) -> Outcome:
        limit = math.ceil(self._settings.confirm_seconds + _BIRD_GRACE_SECONDS)
        socket = self._settings.control_socket
        try:
            await pybird_check(socket, _CONFIGURE_SECONDS)
            reply = await ask(socket, f"configure timeout {limit}", _CONFIGURE_SECONDS)
        except BirdRefused as refusal:
            why = describe(refusal.text, trial.version)
            await self._go_back(why)
            return self._remember(trial.version, Outcome("refused", why))
        except BirdAway as error:
            if error.absent:
                return self._leave_to_daemon(trial.version, error)
            return await self._undo(trial, f"BIRD ended or hung as it read it: {error}")
        if any(line.code == _SHUTTING_DOWN for line in reply):
            return self._leave_to_daemon(trial.version, "BIRD is shutting down")
        with contextlib.suppress(BirdAway):
            trial.reconfigured = (await daemon_status(self._settings)).reconfigured
        return await self._watch(trial, newer)

    async def _watch(self, trial: Trial, newer: asyncio.Event) -> Outcome:
        deadline = self._clock() + self._settings.confirm_seconds
        while True:
            settled = await self._look(trial)
            if settled is not None:
                return settled
            if newer.is_set():
                return Outcome("superseded", "", _sorted(trial.restarted), trial.waiting)
            if self._clock() >= deadline:
                return await self._undo(trial, trial.not_back(self._settings.confirm_seconds))
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_LOOK_SECONDS):
                    await newer.wait()

    async def _look(self, trial: Trial) -> Outcome | None:
        """None while sessions are missing, BIRD is at work on it, or is away."""
        try:
            trial.look(await session_statuses(self._settings))
            daemon = await daemon_status(self._settings)
            if trial.missing or daemon.reconfiguring:
                return None
            reply = await ask(self._settings.control_socket, "configure confirm")
            if reply[-1].code == _NOTHING_TO_DO:
                daemon = await daemon_status(self._settings)
        except BirdError:
            return None
        if reply[-1].code == _NOTHING_TO_DO and trial.undone_by_itself(daemon):
            return await self._undo(trial, "BIRD undid it before it was confirmed", again=True)
        return self._confirm(trial)

    def _confirm(self, trial: Trial) -> Outcome:
        self._files.confirm()
        self._trial = None
        self._refused = None
        self._confirmed = dict(trial.version.sessions)
        outcome = Outcome("confirmed", "", _sorted(trial.restarted), trial.waiting)
        log.info("bird.confirmed", restarted=outcome.restarted, waiting=outcome.waiting)
        return outcome

    async def _undo(self, trial: Trial, why: str, *, again: bool = False) -> Outcome:
        waiting = trial.waiting
        await self._go_back(why)
        outcome = Outcome("undone", why, _sorted(trial.restarted), waiting)
        return self._remember(trial.version, outcome, again=again)

    async def _go_back(self, why: str) -> None:
        """To the last confirmed version."""
        found = self._files.go_back(f"{why}\n")
        self._trial = None
        self._stranded = "configure" if found else "configure undo"
        await self._return()

    async def _return(self) -> None:
        """Have BIRD run what is in place again; what fails is done by the next `bring`, or by that
        of the next agent.  A failed `configure` ends BIRD's own undoing (measured with 2.0.12).
        """
        assert self._stranded is not None
        try:
            await ask(self._settings.control_socket, self._stranded, _CONFIGURE_SECONDS)
        except BirdError as error:
            if isinstance(error, BirdAway) and error.absent:
                self._stranded = None  # it reads the file when it comes
                return
            said = error.text if isinstance(error, BirdRefused) else str(error)
            log.warning("bird.not_back", problem=describe(said, Version("", "", {})))
            self._files.touch()
        else:
            self._stranded = None


def _sorted(names: frozenset[str]) -> tuple[str, ...]:
    return tuple(sorted(names))
