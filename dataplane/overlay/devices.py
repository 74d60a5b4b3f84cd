"""Tunnel devices: what one should be, and what has to be done to the one that there is.  Pure.

A VXLAN device can be moved to another address and lower device in place, with all its routes and
entries; network identifier and port cannot be changed, nor can the kind (Linux 6.1, 6.18).
Source: section 2.3 and 5.6 of the routes reference.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

from msgspec import Struct

from dataplane import rtnetlink, rttunnels
from dataplane.families import Family
from dataplane.netlink import Request
from dataplane.rttunnels import Address, Device, Vxlan


class Tunnel(Struct, frozen=True):
    """`address` is this node's inside the tunnel, "" for none, which only WireGuard can do without.
    The rest is for VXLAN: `local` is the address that carries it, on the device `lower`.
    """

    name: str
    kind: Literal["ipip", "vxlan", "wireguard"]
    family: Family
    address: str
    mtu: int
    mac: str = ""
    vni: int = 0
    port: int = 0
    local: str = ""
    lower: int = 0


def is_fit(tunnel: Tunnel, device: Device) -> bool:
    """Whether a device of its name can be made what it should be; else another has to be made."""
    if device.kind != tunnel.kind:
        return False
    found = device.vxlan
    if found is None:
        return True
    return found.plain and (found.vni, found.port) == (tunnel.vni, tunnel.port)


def making(tunnel: Tunnel) -> Request:
    if tunnel.kind == "ipip":
        return rttunnels.make_ipip(tunnel.name)
    if tunnel.kind == "wireguard":
        return rttunnels.make_wireguard(tunnel.name, tunnel.mtu)
    return rttunnels.make_vxlan(tunnel.name, _mac(tunnel), tunnel.mtu, _vxlan(tunnel))


def changes(tunnel: Tunnel, device: Device, addresses: Iterable[Address]) -> list[Request]:
    """In this order; `addresses` are those of the tunnel's family, without link-local ones.

    An address comes before others go, and the device is up last.
    """
    index, found = device.number, device.vxlan
    requests: list[Request] = []
    if found is not None and (found.local, found.lower) != (_packed(tunnel.local), tunnel.lower):
        requests.append(rttunnels.carry_vxlan(index, _vxlan(tunnel)))
    if tunnel.kind == "vxlan" and device.mac != _mac(tunnel):
        requests.append(rttunnels.set_mac(index, _mac(tunnel)))
    present, wanted = set(addresses), _addresses(tunnel)
    requests += [rttunnels.add_address(index, address) for address in wanted - present]
    requests += [rttunnels.delete_address(index, other) for other in sorted(present - wanted)]
    if not device.up:
        requests.append(rttunnels.set_up(index, up=True))
    return requests


def _addresses(tunnel: Tunnel) -> set[Address]:
    if not tunnel.address:
        return set()
    return {Address(_packed(tunnel.address), rtnetlink.BITS[tunnel.family])}


def _vxlan(tunnel: Tunnel) -> Vxlan:
    return Vxlan(tunnel.vni, tunnel.port, _packed(tunnel.local), tunnel.lower)


def _mac(tunnel: Tunnel) -> bytes:
    return bytes.fromhex(tunnel.mac.replace(":", ""))


def _packed(address: str) -> bytes:
    return rtnetlink.parse_address(address)[1]
