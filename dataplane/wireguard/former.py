"""Devices of WireGuard that this node had by another name, before its parameter was changed.

    find     which there are: by their mark, and the port that is to be ours, or routes of our table
    Former   takes them away, once, so that the new device can have the port

They go once the new one is up, and before it listens: a port cannot be shared.  What they led has a
route below that refuses, so nothing goes in clear meanwhile; the keys go with them, and the other
nodes are closed until the new device has answered them.
"""

from __future__ import annotations

import errno
import os
from typing import NamedTuple

import structlog

from dataplane import rtnetlink, rttunnels
from dataplane.errors import DataplaneError
from dataplane.families import Family
from dataplane.netlink import ROUTE, NetlinkError, Socket
from dataplane.settings import WireguardSettings
from dataplane.wireguard.kernel import KernelDevice
from dataplane.wireguard.state import DeviceState

log = structlog.get_logger(__name__)

_GONE = (errno.ENODEV, errno.EOPNOTSUPP)  # or another one by that number


class FormerError(DataplaneError):
    """It cannot be taken away; it is tried again."""


class Device(NamedTuple):
    name: str
    number: int


def is_former(
    state: DeviceState, family: Family, settings: WireguardSettings, *, led_to: bool
) -> bool:
    """`led_to`: a route of our table leads there."""
    port = settings.ports[0 if family == 4 else 1]
    return state.mark == settings.mark and (led_to or state.port == port)


async def find(family: Family, settings: WireguardSettings) -> list[Device]:
    """Raises DataplaneError."""
    kernel, wireguard = Socket(ROUTE), KernelDevice()
    try:
        candidates = await _others(kernel, settings)
        led_to = await _led_to(kernel, family, settings.table) if candidates else set()
        return [
            each
            for each in candidates
            if (state := await _read(wireguard, each.number)) is not None
            and is_former(state, family, settings, led_to=each.number in led_to)
        ]
    finally:
        kernel.close()
        wireguard.close()


async def _others(kernel: Socket, settings: WireguardSettings) -> list[Device]:
    messages = await kernel.query(rtnetlink.list_links(), "listing devices")
    found = (rttunnels.parse_device(message.body) for message in messages)
    return [
        Device(device.name, device.number)
        for device in found
        if device.kind == "wireguard" and device.name not in settings.devices
    ]


async def _led_to(kernel: Socket, family: Family, table: int) -> set[int]:
    request = rtnetlink.list_routes(family, table)
    try:
        messages = await kernel.query(request, "listing routes of WireGuard")
    except NetlinkError as error:
        if error.code != errno.ENOENT:
            raise
        return set()  # nothing was ever written to the table
    parsed = (rtnetlink.parse_route(message.body) for message in messages)
    return {p.route.device for p in parsed if p is not None and p.table == table}


async def _read(wireguard: KernelDevice, index: int) -> DeviceState | None:
    try:
        return await wireguard.read(index)
    except NetlinkError as error:
        if error.code not in _GONE:
            raise
        return None


class Former:
    def __init__(self, family: Family, settings: WireguardSettings) -> None:
        self._family: Family = family
        self._settings = settings
        self._removed = False

    async def remove(self) -> None:
        """Nothing is looked at a second time.  Raises DataplaneError."""
        if self._removed:
            return
        for device in await find(self._family, self._settings):
            await self._delete(device)
        self._removed = True

    async def _delete(self, device: Device) -> None:
        kernel = Socket(ROUTE)
        try:
            (code,) = await kernel.execute([rttunnels.delete_device(device.number)])
        finally:
            kernel.close()
        if code not in (0, errno.ENODEV):
            raise FormerError(f"removing {device.name}: {os.strerror(code)}")
        log.info("wireguard.former_removed", device=device.name)
