"""The device of WireGuard of one address family: its key, port and mark, and its peers.

    in   desire              all peers that there should be
         interface_changed   the device, when it comes, goes or changes
         watch               the peers whose handshake somebody waits for
    out  apply_additions     key, port, mark; then peers, endpoints, AllowedIPs, keepalives
         apply_removals      AllowedIPs and peers that nothing leads to any more
         look, check         read it; the kernel does not tell of handshakes
         state, public_key   what was read last, with what was written since

A device that has a key keeps it: it is adopted after a restart, and only the kernel ever holds the
private one.  Nothing is written that is there already.  While the device is not up there is nothing
to do, and that is no error.

A peer that answers from another endpoint is sent there, as WireGuard does; at the refresh look its
own is put back, as Felix does.
Source: projectcalico/calico felix/wireguard/wireguard.go; sections 3.3 to 3.7 of the routes
reference.
"""

from __future__ import annotations

import asyncio
import errno
import os
from collections.abc import Collection, Mapping, Sequence
from typing import NoReturn

import structlog
from msgspec import structs

from dataplane.errors import DataplaneError
from dataplane.families import Family
from dataplane.interfaces import Interface
from dataplane.netlink import NetlinkError
from dataplane.settings import WireguardSettings
from dataplane.wireguard import napi, plan
from dataplane.wireguard.codec import REMOVE_ME, Endpoint, PeerChange
from dataplane.wireguard.kernel import Device, KernelDevice, NoWireguardError
from dataplane.wireguard.polls import Polls
from dataplane.wireguard.state import KEY_BYTES, DeviceState, PeerWish, shown

log = structlog.get_logger(__name__)


class WireguardError(DataplaneError):
    """The kernel refused; everything stays pending, and the device is read again."""


class WireguardDriver:
    """`refresh_seconds` is the time between looks at everything, 0 for never; it may be changed at
    any time.  `kernel` is another one in tests.
    """

    def __init__(
        self,
        family: Family,
        settings: WireguardSettings,
        refresh_seconds: float = 90.0,
        kernel: Device | None = None,
    ) -> None:
        which = 0 if family == 4 else 1
        self.refresh_seconds = refresh_seconds
        self.written = 0  # netlink messages that changed something, since the start
        self.unavailable = ""  # why there can be no such device
        self._name = settings.devices[which]
        self._port = settings.ports[which]
        self._mark = settings.mark
        self._threading = settings.threading
        self._kernel: Device = KernelDevice() if kernel is None else kernel
        self._device: Interface | None = None
        self._wishes: dict[bytes, PeerWish] = {}
        self._state: DeviceState | None = None
        self._stale = True  # the state is to be read before anything is written
        self._settled = False  # nothing to write, as far as we know
        self._added = False  # what is desired now has been added, if not refused
        self._endpoints: dict[bytes, Endpoint] = {}  # as written, or as the last look found them
        self._takes_nets = True  # the kernel can take one AllowedIP away; false once it refused to
        self._polls = Polls()
        self._polled_at = 0.0
        self._refreshed_at: float | None = None
        self._problem = ""
        self._complaint = ""  # about threads
        self._lock = asyncio.Lock()

    # ------------------------------------------------------------ what should be

    def desire(self, peers: Mapping[bytes, PeerWish]) -> None:
        """All of them.  Raises ValueError for a net that two are to have, or a key of a wrong size.

        A peer with this device's own key is left out, as the kernel would; `problems` tells.
        """
        if self._wishes == peers:
            return
        if any(len(key) != KEY_BYTES for key in peers):
            raise ValueError("a malformed key")
        named = [wish.nets for wish in peers.values()]
        if len(frozenset[str]().union(*named)) != sum(map(len, named)):
            raise ValueError("a net of two peers")
        self._wishes = dict(peers)
        self._settled = self._added = False

    def watch(self, waiting: Collection[bytes]) -> None:
        """Peers whose next handshake is waited for: until it comes, `check` is due soon."""
        self._polls.watch(waiting, asyncio.get_running_loop().time())

    def interface_changed(self, name: str, interface: Interface | None) -> None:
        """It came, went, changed, or is another one by the same name; None: it is gone."""
        if name != self._name:
            return
        old, self._device = self._device, interface
        if interface is None or old is None or old.index != interface.index:
            self._state = None
        if interface is None or old is None or old.generation != interface.generation:
            self._stale, self._settled = True, False
            self.unavailable = ""

    # ------------------------------------------------------------ what is

    @property
    def state(self) -> DeviceState | None:
        """None while there is no device, or none that was read."""
        return self._state

    @property
    def public_key(self) -> bytes | None:
        return None if self._state is None else self._state.public_key

    @property
    def pending(self) -> bool:
        """Whether an apply has anything to do."""
        device = self._device
        return device is not None and device.up and not self._settled and not self.unavailable

    def problems(self) -> dict[str, str]:
        found = {self._name: self._problem} if self._problem else {}
        own = self._wishes.get(self.public_key or b"")
        if own is not None:
            found[f"{self._name} to {own.node}"] = "it publishes this node's own key"
        return found

    # ------------------------------------------------------------ looks

    def next_check(self) -> float:
        """When `check` is due, in the event loop's time; infinity for never."""
        if self._device is None or self._refreshed_at is None:
            return float("inf")
        refresh = self.refresh_seconds if self.refresh_seconds > 0 else float("inf")
        poll = self._polls.seconds(self._polled_at) if self._state is not None else float("inf")
        return min(self._refreshed_at + refresh, self._polled_at + poll)

    async def check(self) -> bool:
        """Read again.  True if something is not as it should be, which the next apply repairs, or
        if there is news: a handshake that was waited for, or another key.
        """
        async with self._lock:
            now = asyncio.get_running_loop().time()
            refreshed_at = self._refreshed_at
            if self._device is None or refreshed_at is None:
                return False
            due = 0 < self.refresh_seconds <= now - refreshed_at
            self._polled_at = now  # also if it fails
            if due:
                self._refreshed_at = now
            before, settled = self._state, self._settled
            state = await self._read(self._device.index, endpoints=due)
            if due and state is not None:
                self._set_threading(state)
        if settled and self.pending:
            log.warning("wireguard.drifted", device=self._name)
        return self.pending or self._polls.is_news(before, state)

    async def look(self) -> DeviceState | None:
        """The device as it is now; None if there is none.  Raises WireguardError."""
        async with self._lock:
            if self._device is None:
                return None
            self._polled_at = asyncio.get_running_loop().time()
            return await self._read(self._device.index, endpoints=False)

    # ------------------------------------------------------------ writing

    async def apply_additions(self) -> None:
        """Raises WireguardError."""
        async with self._lock:
            device = self._device
            if device is None or not self.pending:
                return
            if self._refreshed_at is None or self._stale:
                self._refreshed_at = self._polled_at = asyncio.get_running_loop().time()
                await self._read(device.index, endpoints=True)
            if self._state is None:
                return
            self._added = True  # unless something else is desired meanwhile
            try:
                state = await self._set_up(self._state)
                await self._write(
                    state, plan.additions(self._wanted(), state.peers, self._endpoints)
                )
            except NetlinkError as error:
                self._fail(error)
            self._set_threading(self._state)

    async def apply_removals(self) -> None:
        """Raises WireguardError."""
        async with self._lock:
            state = self._state
            if not self.pending or self._stale or state is None:
                return
            try:
                await self._remove(state, plan.removals(self._wanted(), state.peers))
            except NetlinkError as error:
                self._fail(error)
            self._settled = self._added

    def close(self) -> None:
        self._kernel.close()

    async def _set_up(self, state: DeviceState) -> DeviceState:
        """Port and mark, then the key: where nobody can answer there is nothing to publish."""
        port = self._port if state.port != self._port else None
        mark = self._mark if state.mark != self._mark else None
        if port is not None or mark is not None:
            self.written += await self._kernel.set_device(state.index, port, mark)
            log.info("wireguard.set_up", device=self._name, port=self._port, mark=self._mark)
            self._state = state = structs.replace(state, port=self._port, mark=self._mark)
        self._problem = ""
        if state.public_key is None:
            await self._kernel.make_key(state.index)
            self.written += 1
            self._state = state = await self._kernel.read(state.index)
            log.info("wireguard.key_made", device=self._name, key=shown(state.public_key or b""))
        return state

    async def _write(self, state: DeviceState, changes: Sequence[PeerChange]) -> None:
        if not changes:
            return
        messages = await self._kernel.set_peers(state.index, changes)
        self.written += messages
        log.debug("wireguard.written", device=self._name, peers=len(changes), messages=messages)
        self._state = structs.replace(state, peers=plan.done(state.peers, changes))
        for change in changes:
            if change.flags & REMOVE_ME:
                self._endpoints.pop(change.key, None)
            elif change.endpoint is not None:
                self._endpoints[change.key] = change.endpoint

    async def _remove(self, state: DeviceState, changes: Sequence[PeerChange]) -> None:
        """A kernel that cannot take away one AllowedIP says so before it changes anything."""
        if not self._takes_nets:
            changes = plan.by_scratch_peer(changes, os.urandom(KEY_BYTES))
        try:
            await self._write(state, changes)
        except NetlinkError as error:
            if error.code != errno.EINVAL or not any(c.nets_removed for c in changes):
                raise
            self._takes_nets = False
            await self._remove(state, changes)

    # ------------------------------------------------------------ parts

    async def _read(self, index: int, *, endpoints: bool) -> DeviceState | None:
        """Without `endpoints` those that peers have answered from meanwhile are left to them."""
        try:
            state = await self._kernel.read(index)
        except NoWireguardError as error:
            self._be_unavailable(str(error))
            return None
        except NetlinkError as error:
            if error.code == errno.EOPNOTSUPP:
                self._be_unavailable("a device of that name is no WireGuard device")
                return None
            self._fail(error)
        found = {key: peer.endpoint for key, peer in state.peers.items() if peer.endpoint}
        if not (endpoints or self._stale):
            found |= {key: e for key, e in self._endpoints.items() if key in found}
        self._endpoints = found
        self._state, self._stale, self.unavailable = state, False, ""
        self._settled, self._added = self._is_settled(state), False
        return state

    def _wanted(self) -> Mapping[bytes, PeerWish]:
        own = self.public_key
        if own not in self._wishes:
            return self._wishes
        return {key: wish for key, wish in self._wishes.items() if key != own}

    def _is_settled(self, state: DeviceState | None) -> bool:
        if state is None or state.public_key is None:
            return False
        if (state.port, state.mark) != (self._port, self._mark):
            return False
        wanted = self._wanted()
        return not (
            plan.additions(wanted, state.peers, self._endpoints)
            or plan.removals(wanted, state.peers)
        )

    def _be_unavailable(self, reason: str) -> None:
        self._state, self._stale = None, True
        if self.unavailable != reason:
            log.warning("wireguard.unavailable", device=self._name, reason=reason)
        self.unavailable = reason

    def _fail(self, error: NetlinkError) -> NoReturn:
        self._kernel.close()
        self._stale, self._settled, self._added = True, False, False
        if error.code == errno.EADDRINUSE:
            self._problem = f"UDP port {self._port} is taken"
            raise WireguardError(f"{self._name}: {self._problem}") from error
        raise WireguardError(f"{self._name}: {error}") from error

    def _set_threading(self, state: DeviceState) -> None:
        if not state.peers:
            return
        complaint = napi.set_threading(self._name, on=self._threading)
        if complaint and complaint != self._complaint:
            log.warning("wireguard.threading_refused", device=self._name, reason=complaint)
        self._complaint = complaint
