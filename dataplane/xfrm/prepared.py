"""The commands that are given by the thousand, as bytes without a message of each.

    in   what `requests` takes; a buffer, and where in it the message is to begin
    out  where it ends

The bytes are those of the messages of `requests`, at a quarter of the cost (tests/bench/xfrm.py).
What does not fit raises ValueError or struct.error.  What many have in common is packed once:
marks, names of algorithms; selectors and templates by whoever has them (CACHED).  Keys are not:
each is copied from where it is straight to where it is sent from.
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

CACHED: Final = 8192  # selectors, templates: what 1,000 peers need, some 200 bytes each
_PADS: Final = tuple(bytes(-length & 3) for length in range(4))
_UNLIMITED: Final = ENDLESS + UNUSED


def add_state(
    buffer: memoryview,
    start: int,
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
) -> int:
    """As requests.state("add") of ESP in tunnel mode."""
    end = start + NEW_STATE.size
    if aead is not None:
        end = _put_key(buffer, end, "XFRMA_ALG_AEAD", aead)
    if auth is not None:
        end = _put_key(buffer, end, "XFRMA_ALG_AUTH_TRUNC", auth)
    if crypt is not None:
        end = _put_key(buffer, end, "XFRMA_ALG_CRYPT", crypt)
    end = _put(buffer, end, _rest_of_state(replay_window if esn else None, set_mark))
    family = family_of(dst)
    NEW_STATE.pack_into(
        buffer,
        start,
        end - start,
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
    return end


def delete_state(buffer: memoryview, start: int, *, dst: str, spi: int) -> int:
    """As requests.state("delete") of ESP."""
    head = (OLD_STATE.size, STATE_COMMANDS["delete"], NLM_F_REQUEST)
    name = (address(dst), spi.to_bytes(4, "big"), family_of(dst), constants.IPPROTO_ESP)
    OLD_STATE.pack_into(buffer, start, *head, *name)
    return start + OLD_STATE.size


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
    return _put(buffer, start + OLD_POLICY.size, attributes)


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


def _put(buffer: memoryview, start: int, octets: Octets) -> int:
    end = start + len(octets)
    buffer[start:end] = octets
    return end


def _put_key(buffer: memoryview, start: int, name: str, algorithm: Algorithm) -> int:
    """An attribute with a key, straight from where that is."""
    key = algorithm.key
    size = len(key)
    end = _put(buffer, start, _before_key(name, algorithm.name, size, algorithm.bits))
    end = _put(buffer, end, key)
    return _put(buffer, end, _PADS[size & 3]) if size & 3 else end


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
