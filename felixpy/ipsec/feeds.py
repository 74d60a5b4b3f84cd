"""Where keys come from: a file, or a Secret; what is there now, and when to look again.

    FileFeed     a path, watched: its directory, and every link on the way, as Kubernetes exchanges
                 the link ..data of a mounted Secret
    SecretFeed   the entry `keys` of a v1 Secret, in a manifest or as systemd's credential
                 <name>.keys, by felixpy.bgp.secrets

A file that the kernel cannot be asked to watch, or on a file system that tells nothing, is looked
at all the same, once in a while.
"""

from __future__ import annotations

import asyncio
import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Final, NamedTuple, Protocol

from calc_graph.bgp.resources import SecretRef
from dataplane.bird.credentials import Password
from felixpy.bgp.secrets import Secrets
from felixpy.bgp.secrets_place import SecretsPlace
from felixpy.datastore.inotify import Inotify
from felixpy.datastore.manifest_files import Hop, hops_to
from felixpy.datastore.settling import Settling
from felixpy.datastore.watch import TreeWatch
from felixpy.ipsec.keyfile import MAX_BYTES, KeyFile, KeyFileError, parse

ENTRY: Final = "keys"
LOOK_SECONDS: Final = 60.0  # for what the kernel does not tell
BLIND_LOOK_SECONDS: Final = 1.0  # the kernel grants no watch

_LOOSE: Final = 0o777 & ~0o640
_TOO_LONG: Final = f"has more than {MAX_BYTES} bytes"


class Reading(NamedTuple):
    """`octets`, for `parse_reading` to overwrite, or why there are none; both where they are not
    of now.  `note`: what is no fault and yet should be known.
    """

    octets: bytearray | None
    problem: str = ""
    note: str = ""

    def __repr__(self) -> str:
        return f"Reading(..., {self.problem!r}, {self.note!r})"


def parse_reading(reading: Reading, name: str) -> KeyFile:
    """As `keyfile.parse`; what was read is overwritten.  Raises KeyFileError."""
    octets = reading.octets
    if octets is None:
        raise KeyFileError(f"{name}: {reading.problem}")
    try:
        return parse(octets, name)
    finally:
        octets[:] = bytes(len(octets))


class Feed(Protocol):
    name: str  # of what is read, for people

    def read(self) -> Reading: ...  # blocks for a moment
    async def run(self) -> None: ...  # endless, to be run once; calls back when to look again


class FileFeed:
    """`path` should be absolute: it is how problems name the file."""

    def __init__(
        self, path: Path, changed: Callable[[], None], *, look_seconds: float = LOOK_SECONDS
    ) -> None:
        self.name = str(path)
        self._path = path
        self._changed = changed
        self._look_seconds = look_seconds

    def read(self) -> Reading:
        return read_file(self._path)

    async def run(self) -> None:
        inotify = Inotify()
        try:
            # of what it could settle only the delays are of use: one file is read at once
            watch = TreeWatch(inotify, Settling())
            while True:
                watch.begin()
                watch.finish(await asyncio.to_thread(self._way))
                self._changed()
                seconds = BLIND_LOOK_SECONDS if watch.blind else self._look_seconds
                await self._something(watch, asyncio.get_running_loop().time() + seconds)
        finally:
            inotify.close()

    async def _something(self, watch: TreeWatch, until: float) -> None:
        """Wait for an event that concerns the file, and until it may be over."""
        loop = asyncio.get_running_loop()
        while loop.time() < until:
            delay = await watch.gather(until - loop.time())
            if delay is not None:
                await asyncio.sleep(delay)
                return

    def _way(self) -> frozenset[Hop]:
        return frozenset(hops_to(self._path))


def read_file(path: Path) -> Reading:
    try:
        file = open(path, "rb", buffering=0, opener=_open)  # noqa: SIM115  closed below
    except OSError as error:
        return Reading(None, f"cannot be read: {error.strerror}")
    with file:
        before = os.fstat(file.fileno())
        if not stat.S_ISREG(before.st_mode):
            return Reading(None, "is not a regular file")
        octets = bytearray(MAX_BYTES + 1)
        try:
            length = file.readinto(octets)
        except OSError as error:
            return Reading(None, f"cannot be read: {error.strerror}")
        after = os.fstat(file.fileno())
    if length > MAX_BYTES:
        octets[:] = bytes(len(octets))
        return Reading(None, _TOO_LONG)
    if (length, after.st_mtime_ns) != (after.st_size, before.st_mtime_ns):
        octets[:] = bytes(len(octets))
        return Reading(None, "is being written")
    del octets[length:]
    mode = stat.S_IMODE(after.st_mode)
    note = f"others have access to it: mode {mode:04o}, not 0640" if mode & _LOOSE else ""
    return Reading(octets, note=note)


def _open(path: str, flags: int) -> int:
    # the opening of a named pipe would otherwise wait for its writer
    return os.open(path, flags | os.O_NONBLOCK | os.O_NOCTTY)


class KeyText(Password):
    """What a Secret has instead of a file: as long as one may be, in any characters of ASCII."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "KeyText(...)"


def judge_text(value: bytes) -> Password | str:
    """As felixpy.bgp.passwords.judge."""
    if len(value) > MAX_BYTES:
        return _TOO_LONG
    return KeyText(value.decode("ascii")) if value.isascii() else "holds what is not ASCII"


class SecretFeed:
    """`secret` is namespace/name, or the name of one in the namespace of `place`."""

    def __init__(self, secret: str, place: SecretsPlace, changed: Callable[[], None]) -> None:
        namespace, _, name = secret.rpartition("/")
        self.name = f"Secret {namespace or place.namespace}/{name}, entry {ENTRY}"
        self._ref = SecretRef(name, ENTRY)
        self._secrets = Secrets(
            place.path,
            namespace or place.namespace,
            place.credentials,
            changed,
            judged=judge_text,
            for_frr=False,
        )
        self._secrets.want(frozenset((self._ref,)))

    def read(self) -> Reading:
        found = self._secrets.credentials()[self._ref]
        if found.password is None:
            return Reading(None, found.problem)
        return Reading(bytearray(found.password.reveal().encode("ascii")), found.problem)

    async def run(self) -> None:
        await self._secrets.run()


def feed_of(
    file: str, secret: str, place: SecretsPlace, changed: Callable[[], None]
) -> Feed | None:
    """By IPsecKeyFile and IPsecKeySecret, of which one is given; None where neither is."""
    if secret:
        return SecretFeed(secret, place, changed)
    return FileFeed(Path(file).absolute(), changed) if file else None
