"""Wishes as requests of xfrm: pure.

in   StateAdd, StateDelete, PolicyPut, PolicyDelete; a buffer
out  each in it, as AsyncXFRMSocket is to send it
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any, Final, assert_never

from dataplane.ipsec.kernel import Change, PolicyDelete, PolicyPut, StateAdd, StateDelete
from dataplane.ipsec.keys import Material
from dataplane.ipsec.listed import DIRECTIONS
from dataplane.ipsec.values import DECRYPTED, MARK_MASK, Action, PolicyId, Selector, Template
from dataplane.xfrm import attributes, constants, prepared
from dataplane.xfrm.attributes import Mark

# Packets.  Network cards with several queues reorder, and so does a crypto worker that has to wait
# for its turn; what comes later than this is taken for another round of the counter, and dropped.
REPLAY_WINDOW: Final = 1024
SOFT_PACKETS: Final = 1 << 31  # where sequence numbers have 32 bits: time for another key

_MARK_DECRYPTED: Final = Mark(DECRYPTED, MARK_MASK)
_ACTIONS: Final[dict[Action, int]] = {
    "allow": constants.XFRM_POLICY_ALLOW,
    "block": constants.XFRM_POLICY_BLOCK,
}
_NUMBERS: Final = {direction: number for number, direction in enumerate(DIRECTIONS)}


def write(reqid: int, change: Change, buffer: memoryview, start: int) -> int:
    """Returns the end of the message.  Raises ValueError or struct.error where it does not fit."""
    match change:
        case PolicyPut():
            return _put_policy(reqid, change, buffer, start)
        case StateAdd():
            return _add_state(reqid, change, buffer, start)
        case StateDelete(state):
            return prepared.delete_state(buffer, start, dst=state.destination, spi=state.spi)
        case PolicyDelete(policy):
            return prepared.delete_policy(
                buffer,
                start,
                selector=_selector(policy.selector),
                direction=_NUMBERS[policy.direction],
                attributes=_attributes(policy, None, reqid),
            )
        case _:
            assert_never(change)


def _add_state(reqid: int, change: StateAdd, buffer: memoryview, start: int) -> int:
    wish = change.wish
    esn = bool(wish.life)
    return prepared.add_state(
        buffer,
        start,
        src=wish.source,
        dst=wish.id.destination,
        spi=wish.id.spi,
        reqid=reqid,
        set_mark=_MARK_DECRYPTED if wish.receives else None,
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


def _put_policy(reqid: int, change: PolicyPut, buffer: memoryview, start: int) -> int:
    wish = change.wish
    name = wish.id
    return prepared.put_policy(
        buffer,
        start,
        "update" if change.replace else "add",
        selector=_selector(name.selector),
        direction=_NUMBERS[name.direction],
        priority=wish.priority,
        action=_ACTIONS[wish.action],
        index=change.index,
        attributes=_attributes(name, wish.template, reqid),
    )


@lru_cache(prepared.CACHED)
def _selector(selector: Selector) -> bytes:
    return prepared.selector(
        selector.source,
        selector.destination,
        selector.protocol,
        selector.source_port,
        selector.destination_port,
    )


@lru_cache(prepared.CACHED)
def _tunnel(template: Template, reqid: int) -> bytes:
    ends = template.source, template.destination
    return prepared.tunnel(*ends, template.spi, template.optional, reqid)


def _attributes(policy: PolicyId, template: Template | None, reqid: int) -> bytes:
    found = b"" if template is None else _tunnel(template, reqid)
    return found + prepared.mark(policy.mark, MARK_MASK) if policy.mark else found
