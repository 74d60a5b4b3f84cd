"""The members of one IP set in one family, for quick answers.

    in   members as texts (see `calc_graph.updates.IpsetType`)
    out  `address in members`, or `(address, protocol, port) in members`; addresses are numbers

What has no port (any protocol but those of `PORT_PROTOCOLS`) is in no set of addresses and ports,
as in the kernel: net/netfilter/ipset/ip_set_getport.c.
"""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import IPv4Address, IPv6Address
from typing import TypeAlias

from calc_graph.judge.flow import Family
from calc_graph.updates import IpsetType

PORT_PROTOCOLS = {"tcp": 6, "udp": 17, "sctp": 132, "udplite": 136}
_BITS = {4: 32, 6: 128}


def family_of(member: str) -> Family:
    """Of a net, an address or an "address,protocol:port"."""
    return 6 if ":" in member.partition(",")[0] else 4


def number_of(address: str) -> int:
    """Raises ValueError."""
    return int(IPv6Address(address) if ":" in address else IPv4Address(address))


class Addresses:
    """Single addresses are looked up at once, wider nets once for each length that there is."""

    __slots__ = ("_single", "_wide")

    def __init__(self) -> None:
        self._single: set[int] = set()
        self._wide: dict[int, set[int]] = {}  # host bits -> networks without them

    def __contains__(self, address: int) -> bool:
        if address in self._single:
            return True
        for shift, nets in self._wide.items():  # noqa: SIM110  a generator takes twice as long
            if address >> shift in nets:
                return True
        return False

    def add(self, members: Iterable[str]) -> None:
        for member in members:
            address, shift = _split(member)
            if shift:
                self._wide.setdefault(shift, set()).add(address >> shift)
            else:
                self._single.add(address)

    def discard(self, members: Iterable[str]) -> None:
        for member in members:
            address, shift = _split(member)
            if not shift:
                self._single.discard(address)
                continue
            nets = self._wide.get(shift, set())
            nets.discard(address >> shift)
            if not nets:
                self._wide.pop(shift, None)

    def copy(self) -> Addresses:
        other = Addresses()
        other._single = set(self._single)
        other._wide = {shift: set(nets) for shift, nets in self._wide.items()}
        return other


class AddressesAndPorts:
    __slots__ = ("_members",)

    def __init__(self) -> None:
        self._members: set[tuple[int, int, int]] = set()

    def __contains__(self, member: tuple[int, int, int]) -> bool:
        return member in self._members

    def add(self, members: Iterable[str]) -> None:
        self._members.update(map(_triple, members))

    def discard(self, members: Iterable[str]) -> None:
        self._members.difference_update(map(_triple, members))

    def copy(self) -> AddressesAndPorts:
        other = AddressesAndPorts()
        other._members = set(self._members)
        return other


Members: TypeAlias = Addresses | AddressesAndPorts


def empty_members(type: IpsetType) -> Members:  # noqa: A002  the word of updates.py
    return AddressesAndPorts() if type is IpsetType.IP_PORT else Addresses()


def _split(member: str) -> tuple[int, int]:
    """The address, and how many bits of it are the host's."""
    address, _, length = member.partition("/")
    bits = _BITS[family_of(address)]
    return number_of(address), bits - int(length) if length else 0


def _triple(member: str) -> tuple[int, int, int]:
    address, _, rest = member.partition(",")
    protocol, _, port = rest.partition(":")
    number = PORT_PROTOCOLS.get(protocol)
    return number_of(address), int(protocol) if number is None else number, int(port)
