"""Another node as one address family needs it: what was decided of it in, one value out.  Pure."""

from __future__ import annotations

from typing import Final

from msgspec import Struct

from dataplane.families import Family
from dataplane.ipsec.choice import common_keys
from dataplane.ipsec.ends import End
from dataplane.ipsec.life import Life
from dataplane.ipsec.retire import Keys
from dataplane.ipsec.states import Tunnel


class Peer(Struct, frozen=True):
    """Another node as this family needs it.

    there    its address, "" for none
    tunnel   None: it cannot be a peer
    key      to send with, 0 for none
    usable   keys that may be sent with while the state for `key` is missing, the best first
    alive    keys whose states for sending are not to be lost
    receives keys that receiving states are to be there for
    enabled  it says that it is on
    nodes    what nodes say to each other is encrypted too
    sends    it says that it sends to us encrypted
    """

    there: str = ""
    tunnel: Tunnel | None = None
    key: int = 0
    usable: tuple[int, ...] = ()
    alive: tuple[int, ...] = ()
    receives: tuple[int, ...] = ()
    enabled: bool = False
    nodes: bool = False
    sends: bool = False


NOBODY: Final = Peer()


def peer_of(
    name: str,
    end: End,
    family: Family,
    *,
    hostname: str,
    here: str,
    life: Life,
    shared: bool,
    key: int,
    keys: Keys,
) -> Peer:
    """`here`: this node's address, "" where there can be no tunnel; `key`: to send with."""
    record, there = end.record, end.addresses.get(family, "")
    tunnel = None
    if here and there and shared:
        tunnel = Tunnel(name, here, there, shared=True)
    elif here and there:
        tunnel = Tunnel(
            name,
            here,
            there,
            own_tag=life.tag,
            own_boot=life.boot,
            tag=record.tag,
            boot=record.boot,
        )
    return Peer(
        there=there or end.hosts.get(family, ""),
        tunnel=tunnel,
        key=key,
        usable=tuple(common_keys(record, keys.order, keys.alive)) if key else (),
        alive=tuple(keys.alive),
        receives=tuple(k for k in keys.alive if keys.receives(k)),
        enabled=record.enabled,
        nodes=record.node_encryption,
        sends=end.peering(hostname).sends != 0,
    )
