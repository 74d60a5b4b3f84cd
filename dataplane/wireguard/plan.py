"""What has to be said to a device so that its peers become what they should be.  Pure.

    in   peers wished, peers there, the endpoints that were last written
    out  additions    new peers; endpoints, keepalives, AllowedIPs of the others
         removals     AllowedIPs and peers that nothing leads to any more
         done         what is there once the kernel has taken them

An AllowedIP that is named at one peer leaves another at the same moment, so one that moves is an
addition and nothing else: it never is at two peers, and never at none.  What is taken away before
Linux 6.16 is moved to a scratch peer, which goes in the same message: emptying and refilling the
list of a peer, as Felix does, refuses packets to its other nets meanwhile (32 of 884 sends under
load failed so, section 3.7 of the routes reference).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from msgspec import structs

from dataplane.wireguard.codec import REMOVE_ME, UPDATE_ONLY, Endpoint, PeerChange
from dataplane.wireguard.state import PeerState, PeerWish


def additions(
    wishes: Mapping[bytes, PeerWish],
    peers: Mapping[bytes, PeerState],
    endpoints: Mapping[bytes, Endpoint],
) -> list[PeerChange]:
    """`endpoints` are those to compare with: a peer may have answered from another one since."""
    changes: list[PeerChange] = []
    for key, wish in wishes.items():
        peer = peers.get(key)
        if peer is None:
            added = tuple(sorted(wish.nets))
            changes.append(PeerChange(key, 0, wish.endpoint, wish.keepalive or None, added))
            continue
        endpoint = wish.endpoint if endpoints.get(key) != wish.endpoint else None
        keepalive = wish.keepalive if peer.keepalive != wish.keepalive else None
        nets = wish.nets - peer.nets
        if endpoint is not None or keepalive is not None or nets:
            added = tuple(sorted(nets))
            changes.append(PeerChange(key, UPDATE_ONLY, endpoint, keepalive, added))
    return changes


def removals(
    wishes: Mapping[bytes, PeerWish], peers: Mapping[bytes, PeerState]
) -> list[PeerChange]:
    """AllowedIPs first.  Those that another peer is to have are no matter of this."""
    surplus = [
        PeerChange(key, UPDATE_ONLY, nets_removed=tuple(sorted(nets)))
        for key, peer in peers.items()
        if key in wishes and (nets := peer.nets - wishes[key].nets)
    ]
    if surplus:
        wanted = frozenset[str]().union(*(wish.nets for wish in wishes.values()))
        kept = [
            change._replace(nets_removed=tuple(n for n in change.nets_removed if n not in wanted))
            for change in surplus
        ]
        surplus = [change for change in kept if change.nets_removed]
    return surplus + [PeerChange(key, REMOVE_ME) for key in peers if key not in wishes]


def by_scratch_peer(changes: Iterable[PeerChange], scratch: bytes) -> list[PeerChange]:
    """The same removals for a kernel that cannot take one AllowedIP away.

    `scratch` is the key of a peer that does not exist; without an endpoint it sends nothing.
    """
    changes = list(changes)
    nets = tuple(net for change in changes for net in change.nets_removed)
    rest = [change for change in changes if not change.nets_removed]
    if not nets:
        return rest
    return [PeerChange(scratch, nets=nets), PeerChange(scratch, REMOVE_ME), *rest]


def done(peers: Mapping[bytes, PeerState], changes: Iterable[PeerChange]) -> dict[bytes, PeerState]:
    """The peers after these changes, as the kernel carries them out."""
    after = dict(peers)
    changes = list(changes)
    named = {net for change in changes for net in change.nets}
    owner = {net: key for key, peer in peers.items() for net in peer.nets & named}
    for key, flags, endpoint, keepalive, nets, nets_removed in changes:
        if flags & REMOVE_ME:
            after.pop(key, None)
            continue
        peer = after.get(key, PeerState())
        for net in nets:
            former = owner.get(net)
            if former is not None and former != key and former in after:
                left = after[former]
                after[former] = structs.replace(left, nets=left.nets - {net})
            owner[net] = key
        after[key] = structs.replace(
            peer,
            endpoint=peer.endpoint if endpoint is None else endpoint,
            keepalive=peer.keepalive if keepalive is None else keepalive,
            nets=(peer.nets | frozenset(nets)) - frozenset(nets_removed),
        )
    return after
