"""Requests to the kernel about WireGuard devices, by their numbers.

    in   number of a device, port, mark, PeerChanges
    out  DeviceState; NetlinkError with the kernel's error number

What a request is about is found anew by number and family, so after an error the next one begins
from the start: the module may have been loaded again.
"""

from __future__ import annotations

import errno
from collections.abc import Iterable
from typing import Protocol

from dataplane.errors import DataplaneError
from dataplane.netlink import GENERIC, NetlinkError, Request, Socket
from dataplane.wireguard import codec, keys
from dataplane.wireguard.codec import PeerChange
from dataplane.wireguard.state import DeviceState

_MISSING = (errno.ENOENT, errno.EOPNOTSUPP, errno.EPROTONOSUPPORT)


class NoWireguardError(DataplaneError):
    """This kernel has no WireGuard."""

    def __init__(self) -> None:
        super().__init__("this kernel has no WireGuard (module wireguard)")


class Device(Protocol):
    """What the driver needs of a kernel.  Everything raises NetlinkError, and NoWireguardError."""

    async def read(self, index: int) -> DeviceState: ...
    async def make_key(self, index: int) -> None: ...
    async def set_device(self, index: int, port: int | None, mark: int | None) -> int: ...
    async def set_peers(self, index: int, changes: Iterable[PeerChange]) -> int: ...
    def close(self) -> None: ...


class KernelDevice:
    """Numbers that are returned are those of the messages sent."""

    def __init__(self) -> None:
        self._socket = Socket(GENERIC, blank=codec.blank_private_key)
        self._family: int | None = None

    async def read(self, index: int) -> DeviceState:
        request = codec.get_device(await self._find_family(), index)
        messages = await self._socket.query(request, "reading a WireGuard device")
        state = codec.parse_device(message.body for message in messages)
        if state is None:
            raise NetlinkError("reading a WireGuard device", errno.ENODEV)
        return state

    async def make_key(self, index: int) -> None:
        """Give it a new private key, which nobody else ever sees."""
        family = await self._find_family()
        key = keys.new_private_key()
        body = codec.set_private_key(index, key)
        try:
            code = await self._socket.execute_secret(family, body)
        finally:
            keys.forget(key)
            keys.forget(body)
        if code:
            raise NetlinkError("giving WireGuard a key", code)

    async def set_device(self, index: int, port: int | None, mark: int | None) -> int:
        family = await self._find_family()
        request = codec.set_device(family, index, port=port, mark=mark)
        return await self._execute([request], "setting up a WireGuard device")

    async def set_peers(self, index: int, changes: Iterable[PeerChange]) -> int:
        """In order; an error is told after all have been tried."""
        requests = codec.set_peers(await self._find_family(), index, changes)
        return await self._execute(requests, "changing peers of WireGuard")

    def close(self) -> None:
        self._socket.close()
        self._family = None

    async def _execute(self, requests: list[Request], doing: str) -> int:
        for code in await self._socket.execute(requests):
            if code:
                raise NetlinkError(doing, code)
        return len(requests)

    async def _find_family(self) -> int:
        if self._family is None:
            try:
                messages = await self._socket.query(codec.find_family(), "looking for WireGuard")
            except NetlinkError as error:
                if error.code in _MISSING:
                    raise NoWireguardError from None
                raise
            self._family = codec.parse_family(messages[0].body)
        return self._family
