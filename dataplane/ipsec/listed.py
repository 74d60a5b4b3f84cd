"""What the kernel lists, as what is in it: pure.

in   a message of a dump, as bytes with its header; keys have fingerprints in their place
out  KernelState, KernelPolicy, None for what has no place among them (policies of sockets)

At a start there are thousands: each is unpacked at once, and what many have in common (addresses,
selectors, limits, templates, algorithms) is taken apart once.  What no kernel tells raises
ValueError or struct.error.
"""

from __future__ import annotations

import socket
import sys
from functools import lru_cache
from typing import Final, NamedTuple

from dataplane.ipsec.kernel import Counters, KernelPolicy, KernelState, KernelTemplate
from dataplane.ipsec.keys import Algorithm
from dataplane.ipsec.values import Direction, Selector, StateId
from dataplane.xfrm import attributes as kinds
from dataplane.xfrm import constants
from dataplane.xfrm.layout import (
    ALGORITHM,
    ALGORITHM_WITH_BITS,
    ANY_ALGORITHM,
    ENDLESS,
    ESN,
    HEADER,
    LIMITS,
    MARK,
    POLICY,
    PORTS,
    SELECTOR,
    STATE,
    TEMPLATE,
)
from dataplane.xfrm.marshal import attributes
from dataplane.xfrm.packed import PackedMessage

DIRECTIONS: Final[tuple[Direction, ...]] = ("in", "out", "fwd")

_CACHED: Final = 8192  # what 1,000 peers need, some 300 bytes each
_BODY: Final = HEADER.size
_STATE_END: Final = _BODY + STATE.size
_POLICY_END: Final = _BODY + POLICY.size
_NO_PORTS: Final = bytes(PORTS.size)
_NO_DIRECTION: Final = len(DIRECTIONS)  # from here on: of sockets
_FAMILIES: Final = (socket.AF_INET, socket.AF_INET6)


def _number(name: str) -> int:
    return kinds.BY_NAME[f"XFRMA_{name}"].number


_TMPL, _TYPE, _MARK, _IF_ID = map(_number, ("TMPL", "POLICY_TYPE", "MARK", "IF_ID"))
_AEAD, _AUTH, _CRYPT = map(_number, ("ALG_AEAD", "ALG_AUTH_TRUNC", "ALG_CRYPT"))
_SET_MARK, _SET_MASK, _ESN = map(_number, ("SET_MARK", "SET_MARK_MASK", "REPLAY_ESN_VAL"))
_LAST_USED: Final = _number("LASTUSED")
_PLAIN_OF_STATE: Final = frozenset(
    {_AEAD, _AUTH, _CRYPT, _MARK, _SET_MARK, _SET_MASK, _IF_ID, _ESN, _LAST_USED}
    | set(map(_number, ("ALG_AUTH", "REPLAY_VAL", "PAD")))
)
_PLAIN_OF_POLICY: Final = frozenset({_TMPL, _MARK, _IF_ID, _TYPE, _number("PAD")})


class _LimitsFound(NamedTuple):
    end: bool
    end_softly: bool  # but for what follows
    soft_packets: int


def state(message: bytes) -> KernelState | None:
    fields = STATE.unpack_from(message, _BODY)
    octets, destination, spi, protocol, source, limits = fields[:6]
    used_bytes, packets, added, used, replayed, failed = fields[6:12]
    reqid, family, mode, window, flags = fields[12:]
    if family not in _FAMILIES:
        return None
    found = attributes(message, _STATE_END)
    selector, selector_family, interface, whole = _selector(octets)
    limited = _limits(limits)
    algorithm, fingerprint = _algorithm(found)
    mark, mark_mask = MARK.unpack_from(found[_MARK]) if _MARK in found else (0, 0)
    return KernelState(
        id=StateId(text(destination, family), int.from_bytes(spi, "big")),
        source=text(source, family),
        protocol=protocol,
        mode=mode,
        reqid=reqid,
        set_mark=_word(found[_SET_MARK]) if _SET_MARK in found else 0,
        set_mark_mask=_word(found[_SET_MASK]) if _SET_MASK in found else 0,
        mark=mark,
        mark_mask=mark_mask,
        if_id=_word(found[_IF_ID]) if _IF_ID in found else 0,
        selector=selector,
        algorithm=algorithm,
        fingerprint=fingerprint,
        esn=flags & constants.XFRM_STATE_ESN != 0,
        replay_window=ESN.unpack_from(found[_ESN])[-1] if _ESN in found else window,
        soft_packets=limited.soft_packets,
        limited=limited.end or limited.end_softly,
        plain=flags & ~constants.XFRM_STATE_ESN == 0
        and selector_family == family
        and interface == 0
        and whole
        and _PLAIN_OF_STATE.issuperset(found),
        counters=Counters(used_bytes, packets, added, used),
        last_used=int.from_bytes(found[_LAST_USED], sys.byteorder) if _LAST_USED in found else 0,
        replayed=replayed,
        integrity_failed=failed,
    )


def state_id(message: PackedMessage) -> StateId | None:
    """Of a notification."""
    family = message["family"]
    if family not in _FAMILIES:
        return None
    return StateId(text(message["daddr"], family), message["spi"])


def policy(message: bytes) -> KernelPolicy | None:
    fields = POLICY.unpack_from(message, _BODY)
    octets, limits, used_bytes, packets, added, used = fields[:6]
    priority, index, direction, action, flags, share = fields[6:]
    selector, family, interface, whole = _selector(octets)
    if direction >= _NO_DIRECTION or family not in _FAMILIES:
        return None
    (mark, mark_mask), if_id, templates, plain = _of_policy(message[_POLICY_END:])
    return KernelPolicy(
        direction=DIRECTIONS[direction],
        selector=selector,
        priority=priority,
        action="block" if action else "allow",
        mark=mark,
        mark_mask=mark_mask,
        if_id=if_id,
        interface=interface,
        templates=templates,
        index=index,
        plain=plain and whole and flags == share == 0 and limits == ENDLESS,
        counters=Counters(used_bytes, packets, added, used),
    )


@lru_cache(_CACHED)
def text(address: bytes, family: int) -> str:
    """Of 16 bytes."""
    return socket.inet_ntop(family, address[:4] if family == socket.AF_INET else address)


@lru_cache(_CACHED)
def _selector(octets: bytes) -> tuple[Selector, int, int, bool]:
    """With its family and interface; and whether ports are asked for as they are, or not at all,
    and it is nobody's own.
    """
    fields = SELECTOR.unpack(octets)
    destination, source, ports, family = fields[:4]
    destination_bits, source_bits, protocol, interface, user = fields[4:]
    shown = family if family in _FAMILIES else socket.AF_INET6
    from_net = f"{text(source, shown)}/{source_bits}"
    to_net = f"{text(destination, shown)}/{destination_bits}"
    if ports == _NO_PORTS:
        selector = Selector(from_net, to_net, protocol)
        return selector, family, interface, user == 0
    to_port, to_mask, from_port, from_mask = PORTS.unpack(ports)
    return (
        Selector(from_net, to_net, protocol, from_port, to_port),
        family,
        interface,
        user == 0
        and to_mask == (0xFFFF if to_port else 0)
        and from_mask == (0xFFFF if from_port else 0),
    )


@lru_cache
def _limits(octets: bytes) -> _LimitsFound:
    soft_bytes, hard_bytes, soft_packets, hard_packets, *seconds = LIMITS.unpack(octets)
    soft_seconds, hard_seconds = seconds[::2], seconds[1::2]
    endless = constants.XFRM_INF
    return _LimitsFound(
        (hard_bytes, hard_packets) != (endless, endless) or any(hard_seconds),
        soft_bytes != endless or any(soft_seconds),
        0 if soft_packets == endless else soft_packets,
    )


@lru_cache(_CACHED)
def _of_policy(octets: bytes) -> tuple[tuple[int, int], int, tuple[KernelTemplate, ...], bool]:
    """Of attributes: mark, ID of an interface, templates, and whether there is nothing besides."""
    found = attributes(octets, 0)
    templates = _templates(found.pop(_TMPL, b""))
    if not found:
        return (0, 0), 0, templates, True
    value, mask = MARK.unpack_from(found[_MARK]) if _MARK in found else (0, 0)
    plain = _PLAIN_OF_POLICY.issuperset(found) and not any(found.get(_TYPE, b""))
    return (value, mask), _word(found.get(_IF_ID, b"")), templates, plain


def _templates(octets: bytes) -> tuple[KernelTemplate, ...]:
    if len(octets) % TEMPLATE.size:
        raise ValueError(f"{len(octets)} bytes of templates")
    return tuple([_template(*fields) for fields in TEMPLATE.iter_unpack(octets)])


def _template(
    destination: bytes,
    spi: bytes,
    protocol: int,
    family: int,
    source: bytes,
    reqid: int,
    mode: int,
    share: int,
    optional: int,
    algorithms: bytes,
) -> KernelTemplate:
    if family not in _FAMILIES:
        raise ValueError(f"a template of address family {family}")
    plain = algorithms == ANY_ALGORITHM and share == 0
    ends = text(source, family), text(destination, family)
    return KernelTemplate(
        *ends, int.from_bytes(spi, "big"), protocol, mode, reqid, bool(optional), plain
    )


def _algorithm(found: dict[int, bytes]) -> tuple[Algorithm | None, bytes]:
    """And the fingerprint of its key, what the socket has put in the place of that: b"" if this
    kernel keeps it to itself.
    """
    aead = found.get(_AEAD)
    if aead is not None:
        key = aead[ALGORITHM_WITH_BITS.size :]
        return _aead(aead[: ALGORITHM_WITH_BITS.size]), key if any(key) else b""
    if _AUTH not in found or _CRYPT not in found:
        return None, b""
    auth, crypt = found[_AUTH], found[_CRYPT]
    keys = auth[ALGORITHM_WITH_BITS.size :], crypt[ALGORITHM.size :]
    pair = _pair(auth[: ALGORITHM_WITH_BITS.size], crypt[: ALGORITHM.size])
    return pair, b"".join(keys) if all(map(any, keys)) else b""


@lru_cache
def _aead(head: bytes) -> Algorithm:
    name, _, bits = ALGORITHM_WITH_BITS.unpack(head)
    return Algorithm(aead=_name(name), icv_bits=bits)


@lru_cache
def _pair(auth: bytes, crypt: bytes) -> Algorithm:
    name, _, bits = ALGORITHM_WITH_BITS.unpack(auth)
    encryption, _ = ALGORITHM.unpack(crypt)
    return Algorithm(auth=_name(name), trunc_bits=bits, encryption=_name(encryption))


def _name(octets: bytes) -> str:
    return octets.partition(b"\0")[0].decode("ascii", "replace")


@lru_cache
def _word(value: bytes) -> int:
    """Marks and the like, which are the same again and again."""
    return int.from_bytes(value, sys.byteorder)
