"""The commands that are given by the thousand, as bytes without a message of each.

    in   what `requests` takes
    out  what can be executed as its messages can: `size`, `encode_into`

The bytes are those of the messages of `requests`, at a quarter of the cost (tests/bench/xfrm.py).
What many have in common is packed once: selectors, templates, marks, names of algorithms.  Keys are
not: each is copied from where it is straight to where it is sent from.
"""

from __future__ import annotations

import sys
from functools import lru_cache
from typing import Final

from pyroute2.netlink import NLM_F_REQUEST

from dataplane.xfrm import constants
from dataplane.xfrm.attributes import BY_NAME, Algorithm, Mark, Octets
from dataplane.xfrm.layout import (
    ALGORITHM,
    ALGORITHM_WITH_BITS,
    ANY_ALGORITHM,
    ATTRIBUTE,
    ENDLESS,
    ESN,
    LIMITS,
    MARK,
    NEW_POLICY,
    NEW_STATE,
    OLD_POLICY,
    OLD_STATE,
    PORTS,
    SELECTOR,
    TEMPLATE,
    UNUSED,
)
from dataplane.xfrm.requests import POLICY_COMMANDS, STATE_COMMANDS, WHOLE_PORT, address, family_of

_CACHED: Final = 8192  # what 1,000 peers need, some 200 bytes each
_PADS: Final = tuple(bytes(-length & 3) for length in range(4))


class Prepared:
    """A request as pieces, of which keys are some."""

    __slots__ = ("_pieces", "size")

    def __init__(self, size: int, *pieces: Octets) -> None:
        """`size` is that of all pieces together."""
        self.size = size
        self._pieces = pieces

    def encode_into(self, buffer: memoryview, start: int) -> int:
        """Returns the end.  Raises ValueError where it does not fit."""
        for piece in self._pieces:
            end = start + len(piece)
            buffer[start:end] = piece
            start = end
        return start


def add_state(
    *,
    src: str,
    dst: str,
    spi: int,
    reqid: int,
    aead: Algorithm | None = None,
    auth: Algorithm | None = None,
    crypt: Algorithm | None = None,
    set_mark: Mark | None = None,
    replay_window: int = 0,
    esn: bool = False,
    soft_packets: int = 0,
) -> Prepared:
    """As requests.state("add") of ESP in tunnel mode."""
    keys: list[Octets] = []
    if aead is not None:
        keys += _key("XFRMA_ALG_AEAD", aead)
    if auth is not None:
        keys += _key("XFRMA_ALG_AUTH_TRUNC", auth)
    if crypt is not None:
        keys += _key("XFRMA_ALG_CRYPT", crypt)
    rest = _rest_of_state(replay_window if esn else None, set_mark)
    size = NEW_STATE.size + sum(map(len, keys)) + len(rest)
    family = family_of(dst)
    fixed = NEW_STATE.pack(
        size,
        STATE_COMMANDS["add"],
        NLM_F_REQUEST,
        _everything(family),
        address(dst),
        spi.to_bytes(4, "big"),
        constants.IPPROTO_ESP,
        address(src),
        _lifetimes(soft_packets),
        reqid,
        family,
        constants.XFRM_MODE_TUNNEL,
        0 if esn else replay_window,
        constants.XFRM_STATE_ESN if esn else 0,
    )
    return Prepared(size, fixed, *keys, rest)


def delete_state(*, dst: str, spi: int) -> Prepared:
    """As requests.state("delete") of ESP."""
    head = (OLD_STATE.size, STATE_COMMANDS["delete"], NLM_F_REQUEST)
    name = (address(dst), spi.to_bytes(4, "big"), family_of(dst), constants.IPPROTO_ESP)
    return Prepared(OLD_STATE.size, OLD_STATE.pack(*head, *name))


def put_policy(
    command: str,
    *,
    selector: bytes,
    attributes: bytes,
    direction: int,
    priority: int,
    action: int,
    index: int = 0,
) -> Prepared:
    """As requests.policy("add") or ("update")."""
    size = NEW_POLICY.size + len(attributes)
    fixed = NEW_POLICY.pack(
        size,
        POLICY_COMMANDS[command],
        NLM_F_REQUEST,
        selector,
        ENDLESS + UNUSED,
        priority,
        index,
        direction,
        action,
    )
    return Prepared(size, fixed, attributes)


def delete_policy(*, selector: bytes, attributes: bytes, direction: int) -> Prepared:
    """As requests.policy("delete")."""
    size = OLD_POLICY.size + len(attributes)
    head = (size, POLICY_COMMANDS["delete"], NLM_F_REQUEST)
    return Prepared(size, OLD_POLICY.pack(*head, selector, direction), attributes)


@lru_cache(_CACHED)
def selector(src: str, dst: str, proto: int = 0, sport: int = 0, dport: int = 0) -> bytes:
    """`src` and `dst` are CIDRs; protocol and ports 0 for any."""
    source, _, source_bits = src.partition("/")
    destination, _, destination_bits = dst.partition("/")
    ports = (dport, WHOLE_PORT if dport else 0, sport, WHOLE_PORT if sport else 0)
    return SELECTOR.pack(
        address(destination),
        address(source),
        PORTS.pack(*ports),
        family_of(dst),
        int(destination_bits),
        int(source_bits),
        proto,
        0,
        0,
    )


@lru_cache(_CACHED)
def tunnel(src: str, dst: str, spi: int, optional: bool, reqid: int) -> bytes:
    """The attribute of a policy that asks for ESP from `src` to `dst`; `spi` 0: any."""
    template = TEMPLATE.pack(
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
    return _attribute("XFRMA_TMPL", template)


@lru_cache
def mark(value: int, mask: int) -> bytes:
    """The attribute of a policy that is for marked packets."""
    return _attribute("XFRMA_MARK", MARK.pack(value, mask))


def _key(name: str, algorithm: Algorithm) -> tuple[bytes, Octets, bytes]:
    """An attribute with a key, in pieces."""
    key = algorithm.key
    before = _before_key(name, algorithm.name, len(key), algorithm.bits)
    return before, key, _PADS[len(key) & 3]


@lru_cache
def _before_key(attribute: str, name: str, key_bytes: int, bits: int) -> bytes:
    text = name.encode("ascii")
    if attribute == "XFRMA_ALG_CRYPT":
        head = ALGORITHM.pack(text, 8 * key_bytes)
    else:
        head = ALGORITHM_WITH_BITS.pack(text, 8 * key_bytes, bits)
    length = ATTRIBUTE.size + len(head) + key_bytes
    return ATTRIBUTE.pack(length, BY_NAME[attribute].number) + head


@lru_cache
def _rest_of_state(esn_window: int | None, set_mark: Mark | None) -> bytes:
    """Attributes behind those with keys."""
    found = b""
    if esn_window is not None:
        words = esn_window // 32
        bitmap = bytes(4 * words)
        found += _attribute(
            "XFRMA_REPLAY_ESN_VAL", ESN.pack(words, 0, 0, 0, 0, esn_window) + bitmap
        )
    if set_mark is not None:
        found += _attribute("XFRMA_SET_MARK", set_mark.value.to_bytes(4, sys.byteorder))
        found += _attribute("XFRMA_SET_MARK_MASK", set_mark.mask.to_bytes(4, sys.byteorder))
    return found


@lru_cache
def _lifetimes(soft_packets: int) -> bytes:
    endless = constants.XFRM_INF
    limits = (endless, endless, soft_packets or endless, endless, 0, 0, 0, 0)
    return LIMITS.pack(*limits) + UNUSED


@lru_cache
def _everything(family: int) -> bytes:
    """The selector of a state that is for all packets: `::/0`, of whatever family."""
    return SELECTOR.pack(bytes(16), bytes(16), bytes(8), family, 0, 0, 0, 0, 0)


def _attribute(name: str, value: bytes) -> bytes:
    """`value` is a multiple of four bytes long."""
    return ATTRIBUTE.pack(ATTRIBUTE.size + len(value), BY_NAME[name].number) + value
