"""The kernel's word on who changed which nf_tables chain, for drift that is seen at once.

    in   messages of the nftables group: chains and rules that came, changed or went
    out  take(family): the chains that somebody else touched, per table

What our own writers commit is left out by a filter in the kernel on the sender's netlink port, so
that thirty thousand rules of ours cost nothing here.  A lost message means: anything may have
changed.  Message layout: linux/netfilter/nf_tables.h.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import errno
import socket
import struct
import sys
from collections.abc import Callable
from pathlib import Path

_NETLINK_NETFILTER = 12
_SOL_NETLINK, _ADD_MEMBERSHIP, _GROUP_NFTABLES = 270, 1, 7
_SO_ATTACH_FILTER, _SO_RCVBUFFORCE = 26, 33
_RECEIVE_BYTES = 16 << 20
_SUBSYSTEM_NFTABLES = 10
_DELTABLE, _NEWCHAIN, _DELCHAIN, _NEWRULE, _DELRULE, _NEWGEN = 2, 3, 5, 6, 8, 15
# Attributes that carry the chain's name; the table's name is attribute 1 in each of them.
_CHAIN_NAME = {_NEWCHAIN: 3, _DELCHAIN: 3, _NEWRULE: 2, _DELRULE: 2}
_FAMILIES = {4: 2, 6: 10}
WHOLE_TABLE = "*"

Touched = dict[str, set[str]]


class NftMonitor:
    """One for both families.  `on_change` is called from the event loop for each batch of news."""

    def __init__(self) -> None:
        self._socket: socket.socket | None = None
        self._touched: dict[int, Touched] = {}
        self._lost: set[int] = set()
        self._own: dict[int, frozenset[int]] = {}
        self._listeners: list[Callable[[], None]] = []

    def subscribe(self, on_change: Callable[[], None]) -> None:
        """The first one opens the socket.

        Raises OSError when the kernel has no nf_tables or we are not allowed to listen.
        """
        if self._socket is None:
            self._open()
        self._listeners.append(on_change)

    def unsubscribe(self, on_change: Callable[[], None]) -> None:
        """The last one closes the socket."""
        if on_change in self._listeners:
            self._listeners.remove(on_change)
        if not self._listeners and self._socket is not None:
            asyncio.get_running_loop().remove_reader(self._socket.fileno())
            self._socket.close()
            self._socket = None

    def _open(self) -> None:
        sock = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _NETLINK_NETFILTER)
        try:
            with contextlib.suppress(PermissionError):
                sock.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, _RECEIVE_BYTES)
            sock.bind((0, 0))
            self._socket = sock
            self._filter()
            sock.setsockopt(_SOL_NETLINK, _ADD_MEMBERSHIP, _GROUP_NFTABLES)
            sock.setblocking(False)
            asyncio.get_running_loop().add_reader(sock.fileno(), self._readable)
        except OSError:
            self._socket = None
            sock.close()
            raise

    @property
    def listening(self) -> bool:
        return self._socket is not None

    def own(self, pid: int) -> None:
        """What this process commits from now on is ours, and is not reported."""
        self._own[pid] = netlink_ports(pid)
        self._filter()

    def disown(self, pid: int) -> None:
        if self._own.pop(pid, None) is not None:
            self._filter()

    def take(self, family: int) -> Touched | None:
        """What others touched since the last time; None when that is not known."""
        self._drain()
        touched = self._touched.pop(_FAMILIES[family], {})
        if family in self._lost:
            self._lost.discard(family)
            return None
        return touched

    def _readable(self) -> None:
        self._drain()
        if self._touched or self._lost:
            for listener in self._listeners:
                listener()

    def _drain(self) -> None:
        while self._socket is not None:
            try:
                self._parse(self._socket.recv(1 << 18))
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno != errno.ENOBUFS:
                    raise
                self._lost = set(_FAMILIES)

    def _parse(self, data: bytes) -> None:
        own = frozenset[int]().union(*self._own.values())
        offset = 0
        while offset + 20 <= len(data):
            length, kind, _, _, port = struct.unpack_from("=IHHII", data, offset)
            if kind >> 8 == _SUBSYSTEM_NFTABLES and port not in own:
                self._message(kind & 0xFF, data[offset + 16], data, offset + 20, offset + length)
            offset += (length + 3) & ~3

    def _message(self, kind: int, family: int, data: bytes, offset: int, end: int) -> None:
        wanted = _CHAIN_NAME.get(kind)
        if wanted is None and kind != _DELTABLE:
            return
        table = chain = ""
        while offset + 4 <= end:
            length, attribute = struct.unpack_from("=HH", data, offset)
            if attribute == 1:
                table = data[offset + 4 : offset + length - 1].decode(errors="replace")
            elif attribute == wanted:
                chain = data[offset + 4 : offset + length - 1].decode(errors="replace")
                break
            offset += (length + 3) & ~3
        self._touched.setdefault(family, {}).setdefault(table, set()).add(chain or WHOLE_TABLE)

    def _filter(self) -> None:
        """A classic BPF program: nothing from our writers, and no announcements of generations.

        The messages of one commit that share a buffer come from one sender, so the first speaks
        for all.
        """
        if self._socket is None:
            return
        ports = [port for ports in self._own.values() for port in ports]
        # Loads are big-endian, netlink headers are in the order of the machine.
        low_byte = 4 if sys.byteorder == "little" else 5
        count = len(ports)
        steps = [(0x30, 0, 0, low_byte), (0x15, count + 2, 0, _NEWGEN), (0x20, 0, 0, 12)]
        for index, port in enumerate(ports):
            swapped = int.from_bytes(struct.pack("=I", port), "big")
            steps.append((0x15, count - index, 0, swapped))
        steps += [(0x06, 0, 0, 0xFFFFFFFF), (0x06, 0, 0, 0)]
        program = b"".join(struct.pack("=HBBI", *step) for step in steps)
        buffer = ctypes.create_string_buffer(program)
        descriptor = struct.pack("@HP", len(steps), ctypes.addressof(buffer))
        self._socket.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, descriptor)


def netlink_ports(pid: int) -> frozenset[int]:
    """The netfilter netlink ports of a process, which sign what it commits.

    Usually its process id, but the kernel chooses another number when that one is taken, as it
    may be by a process with the same id in another container.
    """
    inodes = set()
    with contextlib.suppress(OSError):
        for link in Path(f"/proc/{pid}/fd").iterdir():
            target = str(link.readlink()) if link.is_symlink() else ""
            if target.startswith("socket:["):
                inodes.add(target[8:-1])
    ports = set()
    with contextlib.suppress(OSError):
        for line in Path("/proc/thread-self/net/netlink").read_text().splitlines()[1:]:
            fields = line.split()
            if fields[1] == str(_NETLINK_NETFILTER) and fields[9] in inodes:
                ports.add(int(fields[2]))
    return frozenset(ports or {pid})
