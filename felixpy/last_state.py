"""What the kernel was last brought to, in a few bytes beside the lock: for the start after it.

An agent that starts with an empty datastore so knows whether the kernel holds the rules of a full
one.  Written when that changes or the numbers have doubled or halved, so hardly ever.  What an
earlier boot has left counts for nothing: the kernel has lost its rules since.
"""

from __future__ import annotations

from pathlib import Path

import msgspec
import structlog
from msgspec import Struct

from felixpy.rundir import write_atomically

log = structlog.get_logger(__name__)

NAME = "last-state.json"
_BOOT = Path("/proc/sys/kernel/random/boot_id")


class State(Struct, frozen=True):
    """`endpoints` and `policies` of the whole cluster, about as many as there were.

    `empty_since`: the datastore has been empty from then on, by the clock that all processes of one
    boot share; 0.0 where it is not.
    """

    endpoints: int = 0
    policies: int = 0
    empty_since: float = 0.0

    @property
    def full(self) -> bool:
        return self.endpoints > 0 and self.policies > 0


class _Record(Struct, frozen=True):
    boot: str
    state: State


class LastState:
    def __init__(self, directory: Path, boot: str | None = None) -> None:
        """`boot` names this boot of the machine; by default the kernel is asked."""
        self._directory = directory
        self._boot = _BOOT.read_text().strip() if boot is None else boot
        self._unwritable = ""
        self._written = self._read()

    @property
    def state(self) -> State:
        """As it was noted last, by this agent or one before it."""
        return self._written

    def note(self, state: State) -> None:
        """Write it, if the next start could not do with what is written."""
        old = self._written
        if state.empty_since == old.empty_since and all(
            _alike(*pair)
            for pair in ((state.endpoints, old.endpoints), (state.policies, old.policies))
        ):
            return
        text = msgspec.json.encode(_Record(self._boot, state)).decode()
        try:
            write_atomically(self._directory / NAME, f"{text}\n")
        except OSError as error:
            if str(error) != self._unwritable:
                self._unwritable = str(error)
                log.error("last_state.not_written", reason=self._unwritable)
            return
        self._unwritable = ""
        self._written = state

    def _read(self) -> State:
        try:
            record = msgspec.json.decode((self._directory / NAME).read_bytes(), type=_Record)
        except FileNotFoundError:
            return State()
        except (OSError, msgspec.DecodeError) as error:
            log.warning("last_state.unreadable", reason=str(error))
            return State()
        return record.state if record.boot == self._boot else State()


def forget(directory: Path) -> None:
    """The kernel holds nothing of ours any more.  Raises OSError."""
    (directory / NAME).unlink(missing_ok=True)


def _alike(new: int, old: int) -> bool:
    return (new == 0) == (old == 0) and new < 2 * old + 1 and old < 2 * new + 1
