"""What the guard must know again after a restart, beside the lock.

    held      what each resource that is held back is in force as, so that a restart leaves it so:
              else its host endpoint would have to wait as a whole, and the host would be open
    accepted  the flows that somebody has confirmed to be cut, by their texts

The configuration of this machine is not kept: it may hold secrets, and is read from its own file.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import msgspec
import structlog
from msgspec import Struct

from calc_graph.model import (
    FelixConfiguration,
    FelixConfigurationKey,
    HostEndpoint,
    HostEndpointKey,
    NetworkSet,
    NetworkSetKey,
    Policy,
    PolicyKey,
    Profile,
    ProfileKey,
    Tier,
    TierKey,
)
from felixpy.lockout.resources import GuardedKey, GuardedValue
from felixpy.rundir import write_atomically

log = structlog.get_logger(__name__)

NAME: Final = "lockout.json"
_KINDS: Final[dict[str, tuple[type, type]]] = {
    "policy": (PolicyKey, Policy),
    "tier": (TierKey, Tier),
    "profile": (ProfileKey, Profile),
    "host endpoint": (HostEndpointKey, HostEndpoint),
    "network set": (NetworkSetKey, NetworkSet),
    "configuration": (FelixConfigurationKey, FelixConfiguration),
}
_NAMES: Final = {key: name for name, (key, _) in _KINDS.items()}


class Remembered(Struct, frozen=True):
    """`held`: what is in force; None: nothing is."""

    held: Mapping[GuardedKey, GuardedValue | None] = {}
    accepted: frozenset[str] = frozenset()


class _Entry(Struct, frozen=True):
    kind: str
    key: dict[str, Any]
    in_force: Any


class _File(Struct, frozen=True):
    held: tuple[_Entry, ...]
    accepted: tuple[str, ...]


class Memory:
    def __init__(self, directory: Path) -> None:
        self._path = directory / NAME
        self._known = Remembered()
        self._unwritable = ""

    def load(self) -> Remembered:
        """As it was saved last, by this agent or one before it; nothing, if it cannot be read."""
        try:
            found = msgspec.json.decode(self._path.read_bytes(), type=_File)
            self._known = Remembered(dict(map(_unpack, found.held)), frozenset(found.accepted))
        except FileNotFoundError:
            return self._known
        except (OSError, msgspec.DecodeError, KeyError) as error:
            log.warning("lockout.memory_unreadable", path=str(self._path), reason=str(error))
        return self._known

    def save(self, remembered: Remembered) -> None:
        """Nothing is written where nothing is different; a full disk is said once."""
        if remembered == self._known:
            return
        held = tuple(_pack(key, value) for key, value in remembered.held.items())
        content = msgspec.json.encode(_File(held, tuple(sorted(remembered.accepted))))
        try:
            write_atomically(self._path, content.decode() + "\n", mode=0o600)
        except OSError as error:
            if str(error) != self._unwritable:
                self._unwritable = str(error)
                log.error("lockout.memory_not_written", reason=self._unwritable)
            return
        self._unwritable, self._known = "", remembered


def _pack(key: GuardedKey, value: GuardedValue | None) -> _Entry:
    return _Entry(_NAMES[type(key)], msgspec.to_builtins(key), msgspec.to_builtins(value))


def _unpack(entry: _Entry) -> tuple[GuardedKey, GuardedValue | None]:
    """Raises KeyError or msgspec.ValidationError."""
    key_type, value_type = _KINDS[entry.kind]
    value = None if entry.in_force is None else msgspec.convert(entry.in_force, value_type)
    return msgspec.convert(entry.key, key_type), value
