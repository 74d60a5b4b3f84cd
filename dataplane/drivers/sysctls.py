"""Kernel settings: of interfaces, in the order given, and of the whole machine.

    in   desire_interface, desire_global   paths below /proc/sys and values
         interface_changed                 which interfaces there are
    out  apply                             only what differs is written
         configured                        whether an interface has all of its settings
         check                             the background look

The order is the caller's, and a setting that fails keeps those after it from being written: with
the reverse-path filter first, nothing is forwarded for an interface whose sources go unchecked.
Settings of the machine come before those of interfaces, because writing net/ipv4/ip_forward resets
what interfaces have.

Interface names come from the datastore: one that is no plain name never becomes a path.
Source: sections 6.2, 8.4 and 11.1 (D23) of the rules reference.
"""

from __future__ import annotations

import asyncio
import errno
import re
from collections.abc import Mapping
from pathlib import Path

import structlog

from dataplane.errors import DataplaneError
from dataplane.interfaces import Interface

log = structlog.get_logger(__name__)

_INTERFACE = re.compile(r"[a-zA-Z0-9_.-]{1,15}")
_COMPONENT = re.compile(r"[a-zA-Z0-9_.-]+")
_OPTIONAL = frozenset({"accept_ra", "proxy_delay"})  # Felix goes on without them


class SysctlError(DataplaneError):
    """Settings could not be written; they stay pending."""


class SysctlDriver:
    """`refresh_seconds` is the time between checks, 0 for never; `root` is where settings are."""

    def __init__(self, refresh_seconds: float = 90.0, root: Path = Path("/proc/sys")) -> None:
        self.refresh_seconds = refresh_seconds
        self._root = root
        self._global: dict[str, tuple[str, bool]] = {}  # path -> value, required
        self._desired: dict[str, dict[str, str]] = {}
        self._interfaces: dict[str, Interface] = {}
        self._dirty: dict[str, None] = {}  # interfaces
        self._global_dirty = False
        self._configured: set[str] = set()
        self._complained: set[str] = set()  # paths
        self._read_at: float | None = None
        self.written = 0  # settings, since the start

    def desire_global(self, path: str, value: str, *, required: bool = True) -> None:
        """A setting of the whole machine; one that is not required only warns when it fails."""
        self._global[_checked(path)] = (value, required)
        self._global_dirty = True

    def desire_interface(self, interface: str, values: Mapping[str, str] | None) -> None:
        """Path -> value, all below a directory named as the interface, in the order of writing.

        None: the interface is no longer of interest, and is left as it is.  Raises ValueError.
        """
        if values is None:
            self._desired.pop(interface, None)
            self._dirty.pop(interface, None)
            self._configured.discard(interface)
            return
        if not _INTERFACE.fullmatch(interface) or interface in (".", ".."):
            raise ValueError(f"{interface!r} is no name of an interface")
        for path in values:
            if _checked(path).split("/")[-2] != interface:
                raise ValueError(f"{path!r} is no setting of {interface!r}")
        if list(self._desired.get(interface, {}).items()) != list(values.items()):
            self._desired[interface] = dict(values)
            self._dirty[interface] = None
            self._configured.discard(interface)

    def interface_changed(self, name: str, interface: Interface | None) -> None:
        """It came, went, changed, or is another one by the same name; None: it is gone."""
        old = self._interfaces.pop(name, None)
        if interface is not None:
            self._interfaces[name] = interface
        if interface is None or old is None or interface.generation != old.generation:
            self._configured.discard(name)
            if name in self._desired:
                self._dirty[name] = None

    def configured(self, interface: str) -> bool:
        """Whether the interface is there and has all that it should have."""
        return interface in self._configured

    @property
    def pending(self) -> bool:
        """Whether an apply has anything to do; interfaces that are not there do not count."""
        return self._global_dirty or any(name in self._interfaces for name in self._dirty)

    def next_check(self) -> float:
        """When `check` is due, in the event loop's time; infinity for never."""
        if self.refresh_seconds <= 0 or self._read_at is None:
            return float("inf")
        return self._read_at + self.refresh_seconds

    async def check(self) -> bool:
        """Read again.  True if something is not as it should be: the next apply repairs it."""
        wrong = [path for path, (value, _) in self._global.items() if self._get(path) != value]
        self._global_dirty |= bool(wrong)
        for name in self._configured & self._interfaces.keys():
            differing = [p for p, v in self._desired[name].items() if self._get(p) != v]
            if differing:
                self._dirty[name] = None
                wrong += differing
        self._read_at = asyncio.get_running_loop().time()
        if wrong:
            log.warning("sysctl.drifted", settings=sorted(wrong)[:20], count=len(wrong))
        return self.pending

    async def apply(self) -> None:
        """Write what differs.  Raises SysctlError, after having written all that can be."""
        if self._read_at is None:
            self._read_at = asyncio.get_running_loop().time()
        if not self.pending:
            return
        failures = self._apply_global() if self._global_dirty else []
        for name in [name for name in self._dirty if name in self._interfaces]:
            failure = self._apply_interface(name)
            if failure:
                failures.append(failure)
        if failures:
            more = f" and {len(failures) - 5} more" if len(failures) > 5 else ""
            raise SysctlError(f"settings: {', '.join(failures[:5])}{more}")

    def _apply_global(self) -> list[str]:
        failures = []
        for path, (value, required) in self._global.items():
            failure = self._set(path, value)
            if failure and required:
                failures.append(failure)
            elif failure:
                self._complain(path, failure)
        self._global_dirty = bool(failures)
        return failures

    def _apply_interface(self, name: str) -> str:
        """What went wrong, or "".  Stops at the first failure."""
        for path, value in self._desired[name].items():
            failure = self._set(path, value)
            if not failure:
                continue
            if not (self._root / "net/ipv4/conf" / name).exists():
                log.debug("sysctl.postponed", interface=name)
                return ""  # it has just gone, and that will be told
            if path.rpartition("/")[2] not in _OPTIONAL:
                self._configured.discard(name)
                return failure
            self._complain(path, failure)
        del self._dirty[name]
        self._configured.add(name)
        return ""

    def _complain(self, path: str, failure: str) -> None:
        if path not in self._complained:
            self._complained.add(path)
            log.warning("sysctl.refused", reason=failure)

    def _get(self, path: str) -> str:
        """The value, or "" if there is none."""
        try:
            return (self._root / path).read_text().strip()
        except OSError:
            return ""

    def _set(self, path: str, value: str) -> str:
        """What went wrong, or ""."""
        if self._get(path) == value:
            return ""
        try:
            # Never created: where there is no such setting, that is the error.
            with (self._root / path).open("r+") as file:
                file.write(value)
        except OSError as error:
            reason = "there is no such setting" if error.errno == errno.ENOENT else error.strerror
            return f"{path}: {reason}"
        self.written += 1
        log.debug("sysctl.written", setting=path, value=value)
        return ""


def _checked(path: str) -> str:
    parts = path.split("/")
    if parts[0] != "net" or len(parts) < 3:
        raise ValueError(f"{path!r} is no path of a network setting")
    for part in parts:
        if not _COMPONENT.fullmatch(part) or part in (".", ".."):
            raise ValueError(f"{path!r} is no path of a network setting")
    return path
