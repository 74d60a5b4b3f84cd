"""How WireGuard is at the moment, for metrics: asked of the kernel when somebody asks for them, in
that thread, so that the agent's loop need not wait.

    in   what the agent knew last, with its peers' stages; what has left in clear
    out  the same with what the devices say now
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping

import structlog
from msgspec import structs

from dataplane.clear_packets import ClearPackets
from dataplane.errors import DataplaneError
from dataplane.wireguard.state import DeviceState, PeerState, shown
from dataplane.wireguard.status import FamilyStatus, PeerStatus
from felixpy.wireguard.machine import read_device

log = structlog.get_logger(__name__)

_NOTHING = PeerState()


def wanted(known: Iterable[FamilyStatus]) -> tuple[FamilyStatus, ...]:
    """Those of families that are switched on."""
    return tuple(status for status in known if status.phase in ("on", "unavailable"))


def read_figures(
    known: Iterable[FamilyStatus], clear: Callable[[], Awaitable[ClearPackets]]
) -> tuple[FamilyStatus, ...]:
    """Of families that are switched on.  What cannot be asked is as it was known last."""
    statuses = wanted(known)
    if not statuses:
        return ()
    try:
        return asyncio.run(_ask(statuses, clear))
    except DataplaneError as error:
        log.warning("wireguard.not_read", reason=str(error))
        return statuses


async def _ask(
    statuses: Iterable[FamilyStatus], clear: Callable[[], Awaitable[ClearPackets]]
) -> tuple[FamilyStatus, ...]:
    counted = await clear()
    return tuple(
        [
            _renewed(each, await read_device(each.device), counted.get(each.family, {}))
            for each in statuses
        ]
    )


def _renewed(
    status: FamilyStatus, device: DeviceState | None, clear: Mapping[str, tuple[int, int]]
) -> FamilyStatus:
    found = {} if device is None else {shown(key): peer for key, peer in device.peers.items()}
    peers = tuple(_peer(each, found.get(each.key, _NOTHING), clear) for each in status.peers)
    return structs.replace(status, peers=peers)


def _peer(status: PeerStatus, peer: PeerState, clear: Mapping[str, tuple[int, int]]) -> PeerStatus:
    nets = {*status.nets, *status.clear_nets, *status.closed_nets}
    counts = [clear.get(net, (0, 0)) for net in nets]
    return structs.replace(
        status,
        endpoint=peer.endpoint,
        handshake=peer.handshake,
        received=peer.received,
        sent=peer.sent,
        clear_packets=sum(packets for packets, _ in counts),
        clear_bytes=sum(size for _, size in counts),
    )
