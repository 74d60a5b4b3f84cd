"""What there is to say of WireGuard on this node: values for the command, metrics and the node's
status.  Times are UNIX times, sizes are bytes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Literal, TypeAlias

from msgspec import Struct

from dataplane.families import Family
from dataplane.wireguard.mesh import Mesh
from dataplane.wireguard.stages import Stage
from dataplane.wireguard.state import DeviceState, PeerState, RouteKind, shown

# why there is no device where the settings hold WireGuard back
HELD: Final = "the switch is held back"

# "withdrawing": it is being switched off, and others may not have heard of that; "draining": they
# have, and what is still on its way is decrypted.
Phase: TypeAlias = Literal["on", "unavailable", "withdrawing", "draining", "removing", "off"]


class PeerStatus(Struct, frozen=True):
    """Of one other node; "" for the peers of the device that no node stands for, or for no key.

    `endpoint` is where the device sends to, None for nowhere; `nets` are those the device knows to
    be behind the peer.  Of the node's nets that are not led to the device now, `clear_nets` go in
    clear, as they would without WireGuard, and `closed_nets` nowhere.  `handshake` 0.0: none yet.
    `clear_packets` and `clear_bytes` were sent to the node's workloads in clear, since each of the
    nets became known.
    """

    node: str
    key: str
    stage: Stage
    endpoint: tuple[str, int] | None = None
    nets: tuple[str, ...] = ()
    clear_nets: tuple[str, ...] = ()
    closed_nets: tuple[str, ...] = ()
    handshake: float = 0.0
    received: int = 0
    sent: int = 0
    clear_packets: int = 0
    clear_bytes: int = 0


class FamilyStatus(Struct, frozen=True):
    """`reason` is why it is unavailable; `peers` are sorted by node and key."""

    family: Family
    device: str
    phase: Phase
    key: str = ""
    port: int = 0
    reason: str = ""
    peers: tuple[PeerStatus, ...] = ()


_NOTHING = PeerState()


def family_status(
    family: Family,
    device: str,
    reason: str,
    mesh: Mesh,
    state: DeviceState | None,
    clear: Mapping[str, tuple[int, int]],
) -> FamilyStatus:
    """`clear`: packets and bytes that have left in clear, by net."""
    found = {} if state is None else dict(state.peers)
    peers: list[PeerStatus] = []
    for node, stage in mesh.stages().items():
        claim = mesh.claim(node)
        peer = found.pop(claim.key, _NOTHING) if claim.kind == "peer" else _NOTHING
        behind = mesh.nets(node)
        ways = {net: mesh.routes.get(net, "throw") for net in behind}
        peers.append(_peer(node, claim.key, stage, peer, ways, clear))
    peers += [_peer("", key, "leaving", peer, {}, {}) for key, peer in found.items()]
    public = None if state is None else state.public_key
    return FamilyStatus(
        family,
        device,
        "unavailable" if reason else "on",
        key=shown(public) if public else "",
        port=0 if state is None else state.port,
        reason=reason,
        peers=tuple(sorted(peers, key=lambda peer: (peer.node, peer.key))),
    )


def _peer(
    node: str,
    key: bytes,
    stage: Stage,
    peer: PeerState,
    ways: Mapping[str, RouteKind],
    clear: Mapping[str, tuple[int, int]],
) -> PeerStatus:
    counts = [clear.get(net, (0, 0)) for net in ways]
    return PeerStatus(
        node,
        shown(key) if key else "",
        stage,
        endpoint=peer.endpoint,
        nets=tuple(sorted(peer.nets)),
        clear_nets=tuple(sorted(net for net, way in ways.items() if way == "throw")),
        closed_nets=tuple(sorted(net for net, way in ways.items() if way == "unreachable")),
        handshake=peer.handshake,
        received=peer.received,
        sent=peer.sent,
        clear_packets=sum(packets for packets, _ in counts),
        clear_bytes=sum(size for _, size in counts),
    )
