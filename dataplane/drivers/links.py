"""Tunnel devices of ours: made, corrected, replaced and removed.

    in   desire              what a device should be
         leave, discard      it is not known what it should be; it should not be there
         interface_changed   which interfaces there are
    out  apply               devices of one family made and corrected
         remove              devices that nobody needs any more are gone
         unavailable         devices that cannot be had, and why
         check               the background look

A device is looked at when what it should be has changed, or something about it: so what somebody
deletes, sets down or gives another address is put right at once.  Another device of its name is
replaced; one called tunl0 only if no route of others leads over it, because that name is the
kernel's own.  tunl0 cannot be deleted: it is set down, without its addresses.

The name of a WireGuard device is the operator's to choose, and may be somebody else's device by
mistake: only those of Calico's own names are replaced, and like tunl0 only if no route of others
leads over them.  Felix never does, and complains at each apply.

A device that is not needed any more stays for ten seconds: other nodes may not have heard of that,
and still send through it.

A kernel without VXLAN or IPIP is no failure: it is said, and tried again now and then.
Source: projectcalico/calico felix/dataplane/linux/route_mgr.go; sections 2.3 and 5.6 of the routes
reference.
"""

from __future__ import annotations

import asyncio
import errno
import os
from collections.abc import Callable

import structlog

from dataplane import rtnetlink, rttunnels
from dataplane.errors import DataplaneError
from dataplane.families import Family
from dataplane.interfaces import Interface
from dataplane.netlink import ROUTE, NetlinkError, Request, Socket
from dataplane.overlay.devices import Tunnel, changes, is_fit, making
from dataplane.rttunnels import Address, Device
from dataplane.settings import IPIP_DEVICE, WIREGUARD_DEVICES

log = structlog.get_logger(__name__)

_MODULES = {
    "ipip": "IPIP (module ipip)",
    "vxlan": "VXLAN (module vxlan)",
    "wireguard": "WireGuard (module wireguard)",
}
_OURS = (rtnetlink.BY_KERNEL, rtnetlink.BY_CALICO, rtnetlink.BY_BIRD)  # protocols of routes


LINGER_SECONDS = 10.0
_LATER_SECONDS = 1.0  # until a device that is still in use is looked at again


class LinkError(DataplaneError):
    """The kernel refused; it is tried again."""


class UnavailableError(DataplaneError):
    """A device cannot be had, whatever is tried."""


class LinkDriver:
    """`refresh_seconds` is the time between checks, 0 for never; it may be changed at any time."""

    def __init__(self, refresh_seconds: float = 90.0, linger_seconds: float | None = None) -> None:
        self._linger = LINGER_SECONDS if linger_seconds is None else linger_seconds
        self.refresh_seconds = refresh_seconds
        self.written = 0  # changes of devices, since the start
        self.unavailable: dict[str, str] = {}
        self._socket = Socket(ROUTE)
        self._wanted: dict[str, Tunnel] = {}
        self._unwanted: dict[str, Family] = {}
        self._remove_at: dict[str, float] = {}
        self._interfaces: dict[str, Interface] = {}
        self._dirty: set[str] = set()
        self._small: set[str] = set()  # whose MTU the kernel refuses
        self._checked_at: float | None = None
        self._lock = asyncio.Lock()

    def desire(self, tunnel: Tunnel) -> None:
        self._unwanted.pop(tunnel.name, None)
        self._remove_at.pop(tunnel.name, None)
        if self._wanted.get(tunnel.name) != tunnel:
            self._wanted[tunnel.name] = tunnel
            self._dirty.add(tunnel.name)

    def leave(self, name: str) -> None:
        """As it is, for as long as it is not known what it should be."""
        self._wanted.pop(name, None)
        self._unwanted.pop(name, None)
        self._remove_at.pop(name, None)
        self._forget(name)

    def discard(self, name: str, family: Family) -> None:
        self._wanted.pop(name, None)
        self._unwanted[name] = family
        now = asyncio.get_running_loop().time()
        self._remove_at.setdefault(name, now + self._linger)
        self._forget(name)

    def _forget(self, name: str) -> None:
        self._dirty.discard(name)
        self.unavailable.pop(name, None)

    def interface_changed(self, name: str, interface: Interface | None) -> None:
        """It came, went, changed, or is another one by the same name; None: it is gone."""
        self._interfaces.pop(name, None)
        if interface is not None:
            self._interfaces[name] = interface
        else:
            self._dirty |= self.unavailable.keys()  # perhaps it was in the way
        if name in self._wanted:
            self._dirty.add(name)

    def exists(self, name: str) -> bool:
        """As far as the interface monitor has told."""
        return name in self._interfaces

    def next_check(self) -> float:
        """When `check` is due, in the event loop's time; infinity for never."""
        moments = [at for name, at in self._remove_at.items() if name in self._interfaces]
        if self.refresh_seconds > 0 and self._checked_at is not None:
            moments.append(self._checked_at + self.refresh_seconds)
        return min(moments, default=float("inf"))

    async def check(self) -> bool:
        """The next apply looks at every device again.  True if it has anything to do."""
        now = asyncio.get_running_loop().time()
        if self._checked_at is not None and 0 < self.refresh_seconds <= now - self._checked_at:
            self._checked_at = now
            self._dirty |= self._wanted.keys()
        return bool(self._dirty or self._due(now))

    def _due(self, now: float) -> list[str]:
        return [n for n, at in self._remove_at.items() if at <= now and n in self._interfaces]

    async def apply(self, family: Family, *, make: bool = True) -> None:
        """Make and correct the devices of a family; without `make` only those that are there.

        Raises LinkError, after having done all that can be.
        """
        if self._checked_at is None:
            self._checked_at = asyncio.get_running_loop().time()
        failures: list[str] = []
        async with self._lock:
            for name in sorted(self._dirty):
                tunnel = self._wanted[name]
                if tunnel.family != family or not (make or name in self._interfaces):
                    continue
                failures += await self._bring(tunnel)
        if failures:
            raise LinkError("; ".join(failures))

    async def remove(self, family: Family, is_in_use: Callable[[str], bool]) -> None:
        """Remove the devices that nobody has needed for a while, except those that routes still
        lead over.  Raises LinkError.
        """
        async with self._lock:
            now = asyncio.get_running_loop().time()
            for name in [n for n in self._due(now) if self._unwanted[n] == family]:
                self._remove_at[name] = now + _LATER_SECONDS
                if not is_in_use(name):
                    await self._remove(name, family)

    def close(self) -> None:
        self._socket.close()

    # ------------------------------------------------------------ one device

    async def _bring(self, tunnel: Tunnel) -> list[str]:
        """What went wrong."""
        self._dirty.discard(tunnel.name)
        try:
            device = await self._fit(tunnel)
            await self._correct(tunnel, device)
        except UnavailableError as error:
            if self.unavailable.get(tunnel.name) != str(error):
                log.warning("tunnel.unavailable", device=tunnel.name, reason=str(error))
            self.unavailable[tunnel.name] = str(error)
            return []
        except DataplaneError as error:
            self._dirty.add(tunnel.name)
            return [str(error)]
        self.unavailable.pop(tunnel.name, None)
        return []

    async def _fit(self, tunnel: Tunnel) -> Device:
        device = await self._find(tunnel.name)
        if device is not None and not is_fit(tunnel, device):
            await self._replace(tunnel, device)
            device = None
        if device is None:
            await self._make(tunnel)
            device = await self._find(tunnel.name)
        if device is None:
            raise LinkError(f"{tunnel.name}: went as soon as it was made")
        return device

    async def _replace(self, tunnel: Tunnel, device: Device) -> None:
        if tunnel.kind == "wireguard" and tunnel.name not in WIREGUARD_DEVICES:
            raise UnavailableError("a device of that name is no WireGuard device, nor ours")
        if tunnel.kind != "vxlan" and await self._leads_others(tunnel.family, device.number):
            what = "IPIP tunnel" if tunnel.kind == "ipip" else "WireGuard device"
            raise UnavailableError(f"a device of that name is no {what}, and others' routes use it")
        log.warning("tunnel.replaced", device=device.name, kind=device.kind or "no tunnel")
        await self._do(rttunnels.delete_device(device.number), f"removing {device.name}")

    async def _make(self, tunnel: Tunnel) -> None:
        (code,) = await self._socket.execute([making(tunnel)])
        if code == 0:
            self.written += 1
            log.info("tunnel.made", device=tunnel.name)
        elif code in (errno.EOPNOTSUPP, errno.EPROTONOSUPPORT, errno.EAFNOSUPPORT):
            raise UnavailableError(f"this kernel has no {_MODULES[tunnel.kind]}")
        elif code == errno.EEXIST and tunnel.kind == "vxlan":
            raise UnavailableError(
                f"another device has VXLAN identifier {tunnel.vni} on port {tunnel.port}"
            )
        elif code != errno.EEXIST:  # loading the module has made tunl0
            raise LinkError(f"making {tunnel.name}: {os.strerror(code)}")

    async def _correct(self, tunnel: Tunnel, device: Device) -> None:
        addresses = await self._addresses(tunnel.family, device.number)
        for request in changes(tunnel, device, addresses):
            await self._do(request, f"setting up {tunnel.name}")
        if device.mtu == tunnel.mtu:
            return
        (code,) = await self._socket.execute([rttunnels.set_mtu(device.number, tunnel.mtu)])
        self.written += not code
        if not code:
            self._small.discard(tunnel.name)
        elif tunnel.name not in self._small:
            # A packet that does not fit is an annoyance, no tunnel at all a catastrophe.
            self._small.add(tunnel.name)
            reason = os.strerror(code)
            log.warning("tunnel.mtu_refused", device=tunnel.name, mtu=tunnel.mtu, reason=reason)

    async def _remove(self, name: str, family: Family) -> None:
        device = await self._find(name)
        if device is None:
            return
        if name != IPIP_DEVICE:
            await self._do(rttunnels.delete_device(device.number), f"removing {name}")
            log.info("tunnel.removed", device=name)
            return
        addresses = await self._addresses(family, device.number)
        if not device.up or not addresses:
            del self._remove_at[name]  # nobody uses it as a tunnel of ours
            return
        for address in addresses:
            await self._do(rttunnels.delete_address(device.number, address), f"clearing {name}")
        await self._do(rttunnels.set_up(device.number, up=False), f"clearing {name}")
        log.info("tunnel.cleared", device=name)

    # ------------------------------------------------------------ requests

    async def _do(self, request: Request, doing: str) -> None:
        (code,) = await self._socket.execute([request])
        if code:
            raise LinkError(f"{doing}: {os.strerror(code)}")
        self.written += 1

    async def _find(self, name: str) -> Device | None:
        try:
            messages = await self._socket.query(rttunnels.find_device(name), f"looking at {name}")
        except NetlinkError as error:
            if error.code == errno.ENODEV:
                return None
            raise
        return rttunnels.parse_device(messages[0].body) if messages else None

    async def _addresses(self, family: Family, device: int) -> list[Address]:
        request = rttunnels.list_addresses(family, device)
        messages = await self._socket.query(request, "listing addresses of tunnels")
        found = (rttunnels.parse_address(message.body, device) for message in messages)
        return sorted(address for address in found if address is not None)

    async def _leads_others(self, family: Family, device: int) -> bool:
        request = rtnetlink.list_routes(family, rtnetlink.MAIN, device)
        messages = await self._socket.query(request, "listing routes of tunnels")
        found = (rtnetlink.parse_route(message.body) for message in messages)
        return any(m.route.protocol not in _OURS for m in found if m is not None)
