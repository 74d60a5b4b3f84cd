"""Wishes as requests of xfrm: pure.

in   StateAdd, StateDelete, PolicyPut, PolicyDelete
out  what AsyncXFRMSocket executes, for each
"""

from __future__ import annotations

from typing import Any, Final, assert_never

from dataplane.ipsec.kernel import Change, PolicyDelete, PolicyPut, StateAdd, StateDelete
from dataplane.ipsec.keys import Material
from dataplane.ipsec.listed import DIRECTIONS
from dataplane.ipsec.values import DECRYPTED, MARK_MASK, PolicyId, Template
from dataplane.xfrm import attributes, constants, prepared
from dataplane.xfrm.attributes import Mark
from dataplane.xfrm.prepared import Prepared

# Packets.  Network cards with several queues reorder, and so does a crypto worker that has to wait
# for its turn; what comes later than this is taken for another round of the counter, and dropped.
REPLAY_WINDOW: Final = 1024
SOFT_PACKETS: Final = 1 << 31  # where sequence numbers have 32 bits: time for another key

_MARK_DECRYPTED: Final = Mark(DECRYPTED, MARK_MASK)
_NUMBERS: Final = {direction: number for number, direction in enumerate(DIRECTIONS)}


def request(change: Change, reqid: int) -> Prepared:
    """It reads the key of a state when it is encoded."""
    match change:
        case PolicyPut():
            return _policy_put(change, reqid)
        case StateAdd():
            return _state_add(change, reqid)
        case StateDelete(state):
            return prepared.delete_state(dst=state.destination, spi=state.spi)
        case PolicyDelete(policy):
            return prepared.delete_policy(
                selector=prepared.selector(*policy.selector),
                direction=_NUMBERS[policy.direction],
                attributes=_attributes(policy, None, reqid),
            )
        case _:
            assert_never(change)


def _state_add(change: StateAdd, reqid: int) -> Prepared:
    wish = change.wish
    esn = bool(wish.life)
    return prepared.add_state(
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


def _policy_put(change: PolicyPut, reqid: int) -> Prepared:
    wish = change.wish
    name = wish.id
    blocks = wish.action == "block"
    return prepared.put_policy(
        "update" if change.replace else "add",
        selector=prepared.selector(*name.selector),
        direction=_NUMBERS[name.direction],
        priority=wish.priority,
        action=constants.XFRM_POLICY_BLOCK if blocks else constants.XFRM_POLICY_ALLOW,
        index=change.index,
        attributes=_attributes(name, wish.template, reqid),
    )


def _attributes(policy: PolicyId, template: Template | None, reqid: int) -> bytes:
    found = b"" if template is None else prepared.tunnel(*template, reqid)
    return found + prepared.mark(policy.mark, MARK_MASK) if policy.mark else found
