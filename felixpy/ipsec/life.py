"""The life that this node's states are in, and since when its keys are known: <RunDir>/ipsec.json.

    in   the file; which boot of the kernel this is
    out  Life, the same over restarts of the agent, and another one whenever it must be
         History, for people; what Used keeps
         no keys: only check values, which are of no use to anybody who has not got the key

What cannot be read, or does not make sense, is no life of ours: then another one begins, as without
a file.  A life is on the disk before it is handed out, or the file is gone: what an earlier life
has left there could otherwise be taken up again, with keys that have counted packets already.
"""

from __future__ import annotations

import contextlib
import math
import os
import re
import secrets
import stat
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Final

import msgspec
import structlog
from msgspec import Struct, structs

from dataplane.ipsec.ids import LAST_ID
from dataplane.ipsec.life import BOOT_BYTES, Life, new_life, tag_of
from felixpy.ipsec.used import DIGEST, Kept
from felixpy.rundir import write_atomically

log = structlog.get_logger(__name__)

NAME: Final = "ipsec.json"
_KERNEL_BOOT: Final = Path("/proc/sys/kernel/random/boot_id")
_MAX_BYTES: Final = 1024 * 1024
_BOOT: Final = re.compile(rf"[0-9a-f]{{{2 * BOOT_BYTES}}}")
_CHECK: Final = re.compile(r"[0-9a-f]{16}")


class History(Struct, frozen=True):
    """Times are in seconds since 1970, 0: never.

    seen     key ID -> when a key of this ID was first in the ring, of those in the ring
    newest   the ID that is preferred, 0 where there is none
    rotated  when another one took its place last
    errors   the kernel's counters of errors then
    """

    seen: Mapping[int, float] = {}
    newest: int = 0
    rotated: float = 0.0
    errors: Mapping[str, int] = {}


class _Kept(Struct, frozen=True, forbid_unknown_fields=True):
    node: str
    kernel: str
    life: Life
    history: History = History()
    used: Kept = Kept()


class LifeFile:
    """`clock` gives seconds since 1970; `kernel` names this boot of the machine."""

    def __init__(
        self, directory: Path, node: str, clock: Callable[[], float], kernel: str | None = None
    ) -> None:
        self._path = directory / NAME
        self._node = node
        self._clock = clock
        self._kernel = _KERNEL_BOOT.read_text().strip() if kernel is None else kernel
        self._kept: _Kept | None = None  # nothing was asked for yet, or nothing can be kept
        self.problem = ""

    @property
    def life(self) -> Life | None:
        """None before `begin`, and where none can be kept: then nothing may be sent."""
        return None if self._kept is None else self._kept.life

    @property
    def history(self) -> History:
        return History() if self._kept is None else self._kept.history

    def begin(self) -> Life | None:
        """The life that goes on, or another one."""
        if self._kept is None:
            found = self._read()
            if found is not None and found.kernel == self._kernel:
                self._kept = found
            else:
                # the machine has started since: its states are gone, its keys are as old as before
                why = "there is none" if found is None else "the machine has started"
                self._make(why, {}, History() if found is None else _after_boot(found.history))
        return self.life

    def resume(self) -> Life | None:
        """The life that was, as long as something of it may be left; no other one begins."""
        if self._kept is None:
            found = self._read()
            if found is None or found.kernel != self._kernel:
                self.forget()
            else:
                self._kept = found
        return self.life

    def renew(self, why: str) -> Life | None:
        known = {} if self._kept is None else self._kept.life.known
        self._make(why, known, self.history)
        return self.life

    def know(self, known: Mapping[int, str]) -> None:
        """From now on these check values stand for their IDs, and no others do."""
        if self._kept is not None and dict(known) != dict(self._kept.life.known):
            life = structs.replace(self._kept.life, known=dict(sorted(known.items())))
            self._keep(structs.replace(self._kept, life=life))

    @property
    def used(self) -> Kept:
        return Kept() if self._kept is None else self._kept.used

    def keep_used(self, used: Kept) -> None:
        """Before anything is sent with keys that are derived from it."""
        if self._kept is None or used == self._kept.used:
            return
        self._keep(structs.replace(self._kept, used=used))
        if self.problem:
            # the next agent must not go by what the file had before: it begins another life
            with contextlib.suppress(OSError):
                forget(self._path.parent)

    def note_ring(self, ids: Iterable[int], newest: int, errors: Mapping[str, int]) -> bool:
        """What is in the ring.  Whether the preferred key is another now."""
        if self._kept is None:
            return False
        before, now = self._kept.history, self._clock()
        rotated = bool(before.newest and newest) and newest != before.newest
        seen = {key: before.seen.get(key, now) for key in sorted(ids)}
        history = History(
            seen,
            newest or before.newest,
            now if rotated else before.rotated,
            dict(errors) if rotated else before.errors,
        )
        if history != before:
            self._keep(structs.replace(self._kept, history=history))
        return rotated

    def forget(self) -> None:
        """IPsec is off, and nothing of it is left."""
        self._kept = None
        try:
            forget(self._path.parent)
        except OSError as error:
            self._say(error)

    # ---------------------------------------------------------------- the file

    def _make(self, why: str, known: Mapping[int, str], history: History) -> None:
        self._kept = None
        try:
            forget(self._path.parent)
        except OSError as error:
            self._say(error)
            return
        life = new_life(self._node, secrets.token_bytes(BOOT_BYTES), known)
        log.info("ipsec.life_begun", reason=why, tag=f"{life.tag:#08x}")
        self._keep(_Kept(self._node, self._kernel, life, history))

    def _keep(self, kept: _Kept) -> None:
        """Without a file the next start begins another life, which does no harm."""
        self._kept = kept
        try:
            write_atomically(self._path, f"{msgspec.json.encode(kept).decode()}\n", mode=0o600)
        except OSError as error:
            self._say(error)
        else:
            self.problem = ""

    def _say(self, error: OSError) -> None:
        text = f"{self._path}: {error.strerror or error}"
        if text != self.problem:
            self.problem = text
            log.error("ipsec.life_not_written", reason=text)

    def _read(self) -> _Kept | None:
        try:
            octets = _read_bounded(self._path)
            if octets is None:
                return None
            kept = msgspec.json.decode(octets, type=_Kept)
        except (OSError, ValueError, msgspec.MsgspecError, RecursionError) as error:
            log.warning("ipsec.life_unreadable", path=str(self._path), reason=str(error))
            return None
        if not _makes_sense(kept, self._node):
            log.warning(
                "ipsec.life_unreadable", path=str(self._path), reason="it is not what was written"
            )
            return None
        return kept


def is_kept(directory: Path) -> bool:
    """Whether IPsec was on, and something of it may be left."""
    return (directory / NAME).exists()


def forget(directory: Path) -> None:
    """The kernel holds no states of ours any more.  Raises OSError."""
    (directory / NAME).unlink(missing_ok=True)


def _after_boot(history: History) -> History:
    """The kernel has begun to count from 0."""
    return structs.replace(history, errors={})


def _read_bounded(path: Path) -> bytes | None:
    """None where there is none.  Raises OSError, ValueError."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    with os.fdopen(fd, "rb") as file:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            raise ValueError("it is not a regular file")
        octets = file.read(_MAX_BYTES + 1)
    if len(octets) > _MAX_BYTES:
        raise ValueError(f"it has more than {_MAX_BYTES} bytes")
    return octets


def _makes_sense(kept: _Kept, node: str) -> bool:
    life, history = kept.life, kept.history
    times = (*history.seen.values(), history.rotated)
    return (
        kept.node == node
        and _BOOT.fullmatch(life.boot) is not None
        and life.tag == tag_of(node, life.boot)
        and all(_is_id(key) and _CHECK.fullmatch(text) for key, text in life.known.items())
        and all(map(_is_id, history.seen))
        and (history.newest == 0 or _is_id(history.newest))
        and all(map(DIGEST.fullmatch, (*kept.used.there, *kept.used.gone)))
        and all(math.isfinite(time) and time >= 0 for time in times)
    )


def _is_id(key: int) -> bool:
    return 1 <= key <= LAST_ID
