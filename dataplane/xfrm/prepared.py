"""The commands that are given by the thousand, as bytes without a message of each.

    in   what `requests` takes; a buffer, and where in it the message is to begin
    out  where it ends

The bytes are those of the messages of `requests`, at a fraction of the cost (tests/bench/xfrm.py).
What does not fit raises ValueError or struct.error.  What many have in common is packed once: a
state's form, of which a message is made for it; nets, marks; selectors and templates by whoever has
them (CACHED).  Keys are not: each is copied from where it is straight to where it is sent from.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from typing import Any, Final

from pyroute2.netlink import NLM_F_REQUEST

from dataplane.xfrm import constants, requests
from dataplane.xfrm.attributes import BY_NAME, SECRET, Octets
from dataplane.xfrm.layout import (
    ANY_ALGORITHM,
    ATTRIBUTE,
    ENDLESS,
    HEADER,
    MARK,
    NEW_POLICY,
    OLD_POLICY,
    PORTS,
    SELECTOR,
    STATE,
    STATE_ENDS,
    STATE_NAME,
    TEMPLATE,
    UNUSED,
)
from dataplane.xfrm.requests import POLICY_COMMANDS, WHOLE_PORT, address, family_of

CACHED: Final = 8192  # selectors, templates: what 1,000 peers need, some 200 bytes each
_UNLIMITED: Final = ENDLESS + UNUSED
_NO_PORTS: Final = bytes(PORTS.size)
_TUNNEL: Final = ATTRIBUTE.pack(ATTRIBUTE.size + TEMPLATE.size, BY_NAME["XFRMA_TMPL"].number)
_MARK: Final = ATTRIBUTE.pack(ATTRIBUTE.size + MARK.size, BY_NAME["XFRMA_MARK"].number)


class StateForm:
    """What states have in common that differ in ends, SPI and keys alone."""

    __slots__ = ("_octets", "_places", "_size")

    def __init__(self, dst: str, **fields: Any) -> None:
        """What requests.state("add") takes; `dst` tells the family, and of keys the sizes count."""
        message = requests.state("add", src=dst, dst=dst, spi=0, **fields)
        message.encode()
        self._size = len(message.data)
        self._places = _overwrite_keys(message.data)
        self._octets = bytes(message.data)

    def write(
        self, buffer: memoryview, start: int, src: str, dst: str, spi: int, keys: Iterable[Octets]
    ) -> int:
        """As requests.state("add") of ESP.  `keys` in the order of its parameters."""
        end = start + self._size
        buffer[start:end] = self._octets
        ends = address(dst), spi, constants.IPPROTO_ESP, address(src)
        STATE_ENDS.pack_into(buffer, start + HEADER.size + SELECTOR.size, *ends)
        for (begin, stop), key in zip(self._places, keys, strict=True):
            buffer[start + begin : start + stop] = key
        return end


def _overwrite_keys(data: bytearray) -> list[tuple[int, int]]:
    """In a state that is to be made.  Where they begin and end."""
    places: list[tuple[int, int]] = []
    start = HEADER.size + STATE.size
    while start < len(data):
        length, number = ATTRIBUTE.unpack_from(data, start)
        if number in SECRET:
            begin, stop = start + ATTRIBUTE.size + SECRET[number].head.size, start + length
            data[begin:stop] = bytes(stop - begin)
            places.append((begin, stop))
        start += length + 3 & ~3
    return places


def _deletion(dst: str) -> bytes:
    message = requests.state("delete", dst=dst, spi=0)
    message.encode()
    return bytes(message.data)


_DELETIONS: Final = {family_of(nobody): _deletion(nobody) for nobody in ("0.0.0.0", "::")}  # noqa: S104


def delete_state(buffer: memoryview, start: int, *, dst: str, spi: int) -> int:
    """As requests.state("delete") of ESP."""
    form = _DELETIONS[family_of(dst)]
    end = start + len(form)
    buffer[start:end] = form
    STATE_NAME.pack_into(buffer, start + HEADER.size, address(dst), spi)
    return end


def put_policy(
    buffer: memoryview,
    start: int,
    command: str,
    *,
    selector: bytes,
    attributes: bytes,
    direction: int,
    priority: int,
    action: int,
    index: int = 0,
) -> int:
    """As requests.policy("add") or ("update")."""
    size = NEW_POLICY.size + len(attributes)
    NEW_POLICY.pack_into(
        buffer,
        start,
        size,
        POLICY_COMMANDS[command],
        NLM_F_REQUEST,
        selector,
        _UNLIMITED,
        priority,
        index,
        direction,
        action,
    )
    buffer[start + NEW_POLICY.size : start + size] = attributes
    return start + size


def delete_policy(
    buffer: memoryview, start: int, *, selector: bytes, attributes: bytes, direction: int
) -> int:
    """As requests.policy("delete")."""
    size = OLD_POLICY.size + len(attributes)
    head = (size, POLICY_COMMANDS["delete"], NLM_F_REQUEST)
    OLD_POLICY.pack_into(buffer, start, *head, selector, direction)
    buffer[start + OLD_POLICY.size : start + size] = attributes
    return start + size


def selector(src: str, dst: str, proto: int = 0, sport: int = 0, dport: int = 0) -> bytes:
    """`src` and `dst` are CIDRs; protocol and ports 0 for any."""
    source, source_bits = _net(src)
    destination, destination_bits = _net(dst)
    ports = _NO_PORTS
    if sport or dport:
        masks = WHOLE_PORT if dport else 0, WHOLE_PORT if sport else 0
        ports = PORTS.pack(dport, masks[0], sport, masks[1])
    bits = destination_bits, source_bits
    return SELECTOR.pack(destination, source, ports, family_of(dst), *bits, proto, 0, 0)


@lru_cache(CACHED)
def _net(cidr: str) -> tuple[bytes, int]:
    found, _, bits = cidr.partition("/")
    return address(found), int(bits)


def tunnel(src: str, dst: str, spi: int, optional: bool, reqid: int) -> bytes:
    """The attribute of a policy that asks for ESP from `src` to `dst`; `spi` 0: any."""
    return _TUNNEL + TEMPLATE.pack(
        address(dst),
        spi.to_bytes(4, "big"),
        constants.IPPROTO_ESP,
        family_of(dst),
        address(src),
        reqid,
        constants.XFRM_MODE_TUNNEL,
        0,
        optional,
        ANY_ALGORITHM,
    )


@lru_cache
def mark(value: int, mask: int) -> bytes:
    """The attribute of a policy that is for marked packets."""
    return _MARK + MARK.pack(value, mask)
