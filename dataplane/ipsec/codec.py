"""Wishes as messages of xfrm, and messages as what is in the kernel: pure.

in   StateAdd, StateDelete, PolicyPut, PolicyDelete
out  a message for each
in   messages of a dump
out  KernelState, KernelPolicy, None for what has no place among them (policies of sockets)
"""

from __future__ import annotations

import socket
from functools import lru_cache
from typing import Any, Final, assert_never

from dataplane.ipsec.kernel import (
    Change,
    Counters,
    KernelPolicy,
    KernelState,
    KernelTemplate,
    PolicyDelete,
    PolicyPut,
    StateAdd,
    StateDelete,
)
from dataplane.ipsec.keys import Algorithm, Material
from dataplane.ipsec.values import (
    DECRYPTED,
    MARK_MASK,
    Direction,
    PolicyId,
    Selector,
    StateId,
    Template,
)
from dataplane.xfrm import attributes, constants, requests
from dataplane.xfrm.attributes import Mark
from dataplane.xfrm.packed import PackedMessage

REPLAY_WINDOW: Final = 128  # packets; network cards with several queues reorder
SOFT_PACKETS: Final = 1 << 31  # where sequence numbers have 32 bits: time for another key

_DIRECTIONS: Final[tuple[Direction, ...]] = ("in", "out", "fwd")
_NO_MARK: Final = Mark(0, 0)
_PLAIN_OF_STATE: Final = frozenset(
    f"XFRMA_{name}"
    for name in (
        *("ALG_AEAD", "ALG_AUTH", "ALG_AUTH_TRUNC", "ALG_CRYPT", "MARK", "SET_MARK"),
        *("SET_MARK_MASK", "IF_ID", "REPLAY_VAL", "REPLAY_ESN_VAL", "LASTUSED", "PAD"),
    )
)
_PLAIN_OF_POLICY: Final = frozenset(
    f"XFRMA_{name}" for name in ("TMPL", "MARK", "IF_ID", "POLICY_TYPE", "PAD")
)


def request(change: Change, reqid: int) -> PackedMessage:
    match change:
        case StateAdd():
            return _state_add(change, reqid)
        case StateDelete(state):
            return requests.state("delete", dst=state.destination, spi=state.spi)
        case PolicyPut():
            return _policy_put(change, reqid)
        case PolicyDelete(policy):
            return requests.policy("delete", **_named(policy))
        case _:
            assert_never(change)


def _state_add(change: StateAdd, reqid: int) -> PackedMessage:
    wish = change.wish
    esn = bool(wish.life)
    return requests.state(
        "add",
        src=wish.source,
        dst=wish.id.destination,
        spi=wish.id.spi,
        reqid=reqid,
        set_mark=Mark(DECRYPTED, MARK_MASK) if wish.receives else None,
        esn=esn,
        replay_window=REPLAY_WINDOW if esn else 0,
        soft_packets=0 if esn else SOFT_PACKETS,
        **algorithms(change.material),
    )


def algorithms(material: Material) -> dict[str, Any]:
    """As requests.state has them."""
    algorithm = material.algorithm
    if algorithm.aead:
        return {"aead": attributes.Algorithm(algorithm.aead, material.aead, algorithm.icv_bits)}
    return {
        "auth": attributes.Algorithm(algorithm.auth, material.auth, algorithm.trunc_bits),
        "crypt": attributes.Algorithm(algorithm.encryption, material.encryption),
    }


def _policy_put(change: PolicyPut, reqid: int) -> PackedMessage:
    wish = change.wish
    message = requests.policy(
        "update" if change.replace else "add",
        priority=wish.priority,
        action=wish.action == "block",
        templates=(_template(wish.template, reqid),) if wish.template else (),
        **_named(wish.id),
    )
    message["index"] = change.index
    return message


def _template(template: Template, reqid: int) -> attributes.Template:
    return attributes.Template(
        requests.address(template.destination),
        requests.address(template.source),
        requests.family_of(template.destination),
        spi=template.spi,
        reqid=reqid,
        optional=template.optional,
    )


def _named(policy: PolicyId) -> dict[str, Any]:
    selector = policy.selector
    return {
        "src": selector.source,
        "dst": selector.destination,
        "direction": _DIRECTIONS.index(policy.direction),
        "proto": selector.protocol,
        "sport": selector.source_port,
        "dport": selector.destination_port,
        "mark": Mark(policy.mark, MARK_MASK) if policy.mark else None,
    }


def state(message: PackedMessage) -> KernelState | None:
    """Raises ValueError for what no kernel tells."""
    family = message["family"]
    if family not in (socket.AF_INET, socket.AF_INET6):
        return None
    found = dict(message["attrs"])
    mark, esn = found.get("XFRMA_MARK", _NO_MARK), found.get("XFRMA_REPLAY_ESN_VAL")
    algorithm, fingerprint = _algorithm(found)
    soft_packets = message["soft_packet_limit"]
    return KernelState(
        id=StateId(_text(message["daddr"], family), message["spi"]),
        source=_text(message["saddr"], family),
        protocol=message["proto"],
        mode=message["mode"],
        reqid=message["reqid"],
        set_mark=found.get("XFRMA_SET_MARK", 0),
        set_mark_mask=found.get("XFRMA_SET_MARK_MASK", 0),
        mark=mark.value,
        mark_mask=mark.mask,
        if_id=found.get("XFRMA_IF_ID", 0),
        selector=_selector(message, family),
        algorithm=algorithm,
        fingerprint=fingerprint,
        esn=bool(message["flags"] & constants.XFRM_STATE_ESN),
        replay_window=esn.replay_window if esn else message["replay_window"],
        soft_packets=0 if soft_packets == constants.XFRM_INF else soft_packets,
        limited=_ends(message) or _ends_softly(message),
        plain=message["flags"] & ~constants.XFRM_STATE_ESN == 0
        and message["sel_family"] == family
        and message["sel_ifindex"] == 0
        and _whole(message)
        and _PLAIN_OF_STATE.issuperset(found),
        counters=_counters(message),
        replayed=message["stats_replay"],
        integrity_failed=message["stats_integrity_failed"],
    )


def _algorithm(found: dict[str, Any]) -> tuple[Algorithm | None, bytes]:
    """And the fingerprint of its key: what the socket has put in the place of that."""
    aead = found.get("XFRMA_ALG_AEAD")
    auth, crypt = found.get("XFRMA_ALG_AUTH_TRUNC"), found.get("XFRMA_ALG_CRYPT")
    if aead is not None:
        return Algorithm(aead=aead.name, icv_bits=aead.bits), _told(aead.key)
    if auth is None or crypt is None:
        return None, b""
    algorithm = Algorithm(auth=auth.name, trunc_bits=auth.bits, encryption=crypt.name)
    return algorithm, _told(auth.key, crypt.key)


def _told(*keys: bytes) -> bytes:
    return b"".join(keys) if all(any(key) for key in keys) else b""


def policy(message: PackedMessage) -> KernelPolicy | None:
    """Raises ValueError for what no kernel tells."""
    direction, family = message["dir"], message["sel_family"]
    if direction >= len(_DIRECTIONS) or family not in (socket.AF_INET, socket.AF_INET6):
        return None
    found = dict(message["attrs"])
    mark = found.get("XFRMA_MARK", _NO_MARK)
    return KernelPolicy(
        direction=_DIRECTIONS[direction],
        selector=_selector(message, family),
        priority=message["priority"],
        action="block" if message["action"] else "allow",
        mark=mark.value,
        mark_mask=mark.mask,
        if_id=found.get("XFRMA_IF_ID", 0),
        interface=message["sel_ifindex"],
        templates=tuple(_kernel_template(one) for one in found.get("XFRMA_TMPL", ())),
        index=message["index"],
        plain=message["flags"] == 0
        and message["share"] == 0
        and not any(found.get("XFRMA_POLICY_TYPE", b""))
        and not (_ends(message) or _ends_softly(message))
        and message["soft_packet_limit"] == constants.XFRM_INF
        and _whole(message)
        and _PLAIN_OF_POLICY.issuperset(found),
        counters=_counters(message),
    )


def _kernel_template(one: attributes.Template) -> KernelTemplate:
    if one.family not in (socket.AF_INET, socket.AF_INET6):
        raise ValueError(f"a template of address family {one.family}")
    return KernelTemplate(
        source=_text(one.saddr, one.family),
        destination=_text(one.daddr, one.family),
        spi=one.spi,
        protocol=one.proto,
        mode=one.mode,
        reqid=one.reqid,
        optional=bool(one.optional),
        plain=one.aalgos & one.ealgos & one.calgos == 0xFFFFFFFF and one.share == 0,
    )


def _selector(message: PackedMessage, family: int) -> Selector:
    return Selector(
        f"{_text(message['sel_saddr'], family)}/{message['sel_prefixlen_s']}",
        f"{_text(message['sel_daddr'], family)}/{message['sel_prefixlen_d']}",
        message["sel_proto"],
        message["sel_sport"],
        message["sel_dport"],
    )


def _whole(message: PackedMessage) -> bool:
    """Whether ports are asked for as they are, or not at all, and nobody's own."""
    return message["sel_user"] == 0 and all(
        message[f"{port}_mask"] == (0xFFFF if message[port] else 0)
        for port in ("sel_sport", "sel_dport")
    )


def _ends(message: PackedMessage) -> bool:
    return bool(
        message["hard_byte_limit"] != constants.XFRM_INF
        or message["hard_packet_limit"] != constants.XFRM_INF
        or message["hard_add_expires_seconds"] != 0
        or message["hard_use_expires_seconds"] != 0
    )


def _ends_softly(message: PackedMessage) -> bool:
    return bool(
        message["soft_byte_limit"] != constants.XFRM_INF
        or message["soft_add_expires_seconds"] != 0
        or message["soft_use_expires_seconds"] != 0
    )


def _counters(message: PackedMessage) -> Counters:
    return Counters(message["bytes"], message["packets"], message["add_time"], message["use_time"])


@lru_cache(maxsize=4096)
def _text(address: bytes, family: int) -> str:
    return socket.inet_ntop(family, address[:4] if family == socket.AF_INET else address)
