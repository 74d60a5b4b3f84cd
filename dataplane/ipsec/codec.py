"""Wishes as requests of xfrm: pure.

in   StateAdd, StateDelete, PolicyPut, PolicyDelete; a buffer
out  each in it, as AsyncXFRMSocket is to send it
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from typing import Final, assert_never

from dataplane.families import Family, family_of
from dataplane.ipsec.kernel import Change, PolicyDelete, PolicyPut, StateAdd, StateDelete
from dataplane.ipsec.keys import Algorithm
from dataplane.ipsec.listed import DIRECTIONS
from dataplane.ipsec.values import ANYBODY, DECRYPTED, MARK_MASK, Action, Selector, Template
from dataplane.xfrm import attributes, constants, prepared
from dataplane.xfrm.attributes import Mark, Octets
from dataplane.xfrm.prepared import StateForm

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
        case PolicyPut(wish, replace, index):
            policy = wish.id
            return prepared.put_policy(
                buffer,
                start,
                "update" if replace else "add",
                selector=_selector(policy.selector),
                direction=_NUMBERS[policy.direction],
                priority=wish.priority,
                action=_ACTIONS[wish.action],
                index=index,
                attributes=_attributes(policy.mark, wish.template, reqid),
            )
        case StateAdd(wish, material):
            name, keys = wish.id, material.keys
            sizes = tuple([key.nbytes for key in keys])
            kind = family_of(name.destination), wish.receives, bool(wish.life)
            form = _form(reqid, material.algorithm, sizes, *kind)
            return form.write(buffer, start, wish.source, name.destination, name.spi, keys)
        case StateDelete(state):
            return prepared.delete_state(buffer, start, dst=state.destination, spi=state.spi)
        case PolicyDelete(policy):
            return prepared.delete_policy(
                buffer,
                start,
                selector=_selector(policy.selector),
                direction=_NUMBERS[policy.direction],
                attributes=_attributes(policy.mark, None, reqid),
            )
        case _:
            assert_never(change)


@lru_cache
def _form(
    reqid: int,
    algorithm: Algorithm,
    sizes: tuple[int, ...],
    family: Family,
    receives: bool,
    esn: bool,
) -> StateForm:
    """`sizes`: of the keys, in bytes."""
    return StateForm(
        ANYBODY[family],
        reqid=reqid,
        set_mark=_MARK_DECRYPTED if receives else None,
        esn=esn,
        replay_window=REPLAY_WINDOW if esn else 0,
        soft_packets=0 if esn else SOFT_PACKETS,
        **algorithms(algorithm, [bytes(size) for size in sizes]),
    )


def algorithms(algorithm: Algorithm, keys: Iterable[Octets]) -> dict[str, attributes.Algorithm]:
    """As requests.state has them; `keys` as Material.keys."""
    if algorithm.aead:
        (key,) = keys
        return {"aead": attributes.Algorithm(algorithm.aead, key, algorithm.icv_bits)}
    auth, encryption = keys
    return {
        "auth": attributes.Algorithm(algorithm.auth, auth, algorithm.trunc_bits),
        "crypt": attributes.Algorithm(algorithm.encryption, encryption),
    }


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
def _attributes(mark: int, template: Template | None, reqid: int) -> bytes:
    """Of a policy."""
    found = b""
    if template is not None:
        ends = template.source, template.destination
        found = prepared.tunnel(*ends, template.spi, template.optional, reqid)
    return found + prepared.mark(mark, MARK_MASK) if mark else found
