"""Addresses and nets as Calico reads them: text in, canonical text out.

An address has neither leading zeros nor a zone; one in IPv6's form of an IPv4 address counts as
IPv4.
"""

from __future__ import annotations

import re
import socket
from functools import lru_cache
from typing import NamedTuple

_BITS = {4: 32, 6: 128}
_MAC = re.compile(
    r"[0-9a-fA-F]{2}(?:(?::[0-9a-fA-F]{2})+|(?:-[0-9a-fA-F]{2})+)|[0-9a-fA-F]{4}(?:\.[0-9a-fA-F]{4})+"
)
_MAC_BYTES = frozenset({6, 8, 20})
_MAPPED = bytes(10) + b"\xff\xff"


class Address(NamedTuple):
    version: int
    packed: bytes

    @property
    def text(self) -> str:
        family = socket.AF_INET if self.version == 4 else socket.AF_INET6
        return socket.inet_ntop(family, self.packed)


class Net(NamedTuple):
    """A CIDR; `exact` where the text was an address without a length."""

    version: int
    address: str
    length: int
    network: str  # canonical CIDR, host bits zero
    masked: bool  # no host bits were set in the text
    exact: bool

    @property
    def single(self) -> bool:
        return self.length == _BITS[self.version]

    @property
    def first(self) -> int:
        return int.from_bytes(_pack(self.network.partition("/")[0], self.version), "big")

    def covers(self, other: Net) -> bool:
        shift = _BITS[self.version] - self.length
        return (
            self.version == other.version
            and self.length <= other.length
            and self.first >> shift == other.first >> shift
        )


def _pack(text: str, version: int) -> bytes:
    return socket.inet_pton(socket.AF_INET if version == 4 else socket.AF_INET6, text)


@lru_cache(maxsize=1024)  # validation and conversion ask for the same text one after the other
def parse_address(text: str) -> Address | None:
    try:
        if ":" not in text:
            return Address(4, _pack(text, 4))
        packed = _pack(text, 6)
    except (OSError, ValueError):  # ValueError: a character that no address has, such as NUL
        return None
    if packed.startswith(_MAPPED):
        return Address(4, packed[12:])
    return Address(6, packed)


def is_canonical_ipv4(text: str) -> bool:
    """An IPv4 address; each has only one spelling."""
    try:
        socket.inet_pton(socket.AF_INET, text)
    except (OSError, ValueError):
        return False
    return True


@lru_cache(maxsize=1024)
def parse_net(text: str) -> Net | None:
    """An address or a CIDR, host bits allowed; None where it is neither."""
    host, slash, length_text = text.partition("/")
    address = parse_address(host)
    if address is None or (slash and address.version == 4 and ":" in host):
        return None
    bits = _BITS[address.version]
    length = bits
    if slash:
        if not (length_text.isascii() and length_text.isdigit() and len(length_text) <= 3):
            return None
        length = int(length_text)
        if length > bits:
            return None
    number = int.from_bytes(address.packed, "big")
    base = number >> (bits - length) << (bits - length)
    first = Address(address.version, base.to_bytes(bits // 8, "big"))
    network = f"{first.text}/{length}"
    return Net(address.version, address.text, length, network, base == number, not slash)


def is_address(text: str) -> bool:
    return parse_address(text) is not None


def is_ipv4(text: str) -> bool:
    address = parse_address(text)
    return address is not None and address.version == 4


def is_ipv6(text: str) -> bool:
    address = parse_address(text)
    return address is not None and address.version == 6


def is_cidr_or_address(text: str) -> bool:
    return parse_net(text) is not None


def is_ipv4_cidr_or_address(text: str) -> bool:
    net = parse_net(text)
    return net is not None and net.version == 4


def is_ipv6_cidr_or_address(text: str) -> bool:
    net = parse_net(text)
    return net is not None and net.version == 6


def is_cidr(text: str) -> bool:
    """With a length; host bits allowed."""
    net = parse_net(text)
    return net is not None and not net.exact


def is_masked(text: str) -> bool:
    """An address, or a CIDR whose host bits are zero."""
    net = parse_net(text)
    return net is not None and net.masked


def is_masked_ipv4(text: str) -> bool:
    return is_masked(text) and is_ipv4_cidr_or_address(text)


def is_masked_ipv6(text: str) -> bool:
    return is_masked(text) and is_ipv6_cidr_or_address(text)


@lru_cache(maxsize=1024)
def is_mac(text: str) -> bool:
    """6, 8 or 20 bytes, with colons, dashes or dots."""
    return bool(_MAC.fullmatch(text)) and len(re.sub(r"[:.-]", "", text)) // 2 in _MAC_BYTES
