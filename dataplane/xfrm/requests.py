"""Commands as messages, with what is not said left as the kernel has it: endless, unmarked, any."""

from __future__ import annotations

import socket
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, Final

from pyroute2.netlink import NLM_F_REQUEST

from dataplane.xfrm import constants
from dataplane.xfrm.attributes import Algorithm, Mark, ReplayEsn, Template
from dataplane.xfrm.messages import (
    userpolicy_id,
    userpolicy_info,
    usersa_id,
    usersa_info,
)
from dataplane.xfrm.packed import PackedMessage

STATE_COMMANDS: Final = {
    "add": constants.XFRM_MSG_NEWSA,
    "delete": constants.XFRM_MSG_DELSA,
}
POLICY_COMMANDS: Final = {
    "add": constants.XFRM_MSG_NEWPOLICY,
    "update": constants.XFRM_MSG_UPDPOLICY,
    "delete": constants.XFRM_MSG_DELPOLICY,
}
WHOLE_PORT: Final = 0xFFFF  # mask of one


@lru_cache(maxsize=4096)
def address(text: str) -> bytes:
    """16 bytes, those of IPv4 with zeros behind.  Raises OSError."""
    if ":" in text:
        return socket.inet_pton(socket.AF_INET6, text)
    return socket.inet_pton(socket.AF_INET, text) + bytes(12)


def family_of(text: str) -> int:
    return socket.AF_INET6 if ":" in text else socket.AF_INET


def state(
    command: str,
    *,
    src: str = "",
    dst: str,
    spi: int,
    proto: int = constants.IPPROTO_ESP,
    mark: Mark | None = None,
    **more: Any,
) -> PackedMessage:
    """More of "add": see `_new_state`."""
    family = family_of(dst)
    if command == "add":
        message: PackedMessage = _new_state(family, **more)
        message["saddr"] = address(src)
    else:
        message = usersa_id()
    message.update(daddr=address(dst), spi=spi, proto=proto, family=family)
    if mark is not None:
        message["attrs"].append(("XFRMA_MARK", mark))
    return _request(message, STATE_COMMANDS[command])


def _new_state(
    family: int,
    *,
    mode: int = constants.XFRM_MODE_TUNNEL,
    reqid: int = 0,
    aead: Algorithm | None = None,
    auth: Algorithm | None = None,
    crypt: Algorithm | None = None,
    set_mark: Mark | None = None,
    replay_window: int = 0,
    esn: bool = False,
    soft_packets: int = 0,
    hard_add_seconds: int = 0,
) -> usersa_info:
    """`replay_window` in packets; with `esn`, a multiple of 32.  Lifetimes: 0 is without end."""
    message = usersa_info()
    message.update(
        sel_family=family,
        mode=mode,
        reqid=reqid,
        soft_packet_limit=soft_packets or constants.XFRM_INF,
        hard_add_expires_seconds=hard_add_seconds,
        replay_window=0 if esn else replay_window,
        flags=constants.XFRM_STATE_ESN if esn else 0,
    )
    attributes = message["attrs"]
    for name, algorithm in (
        ("XFRMA_ALG_AEAD", aead),
        ("XFRMA_ALG_AUTH_TRUNC", auth),
        ("XFRMA_ALG_CRYPT", crypt),
    ):
        if algorithm is not None:
            attributes.append((name, algorithm))
    if esn:
        replay = ReplayEsn(replay_window // 32, replay_window)
        attributes.append(("XFRMA_REPLAY_ESN_VAL", replay))
    if set_mark is not None:
        attributes.append(("XFRMA_SET_MARK", set_mark.value))
        attributes.append(("XFRMA_SET_MARK_MASK", set_mark.mask))
    return message


def policy(
    command: str,
    *,
    src: str,
    dst: str,
    direction: int,
    proto: int = 0,
    sport: int = 0,
    dport: int = 0,
    mark: Mark | None = None,
    priority: int = 0,
    action: int = constants.XFRM_POLICY_ALLOW,
    templates: Sequence[Template] = (),
) -> PackedMessage:
    """`src` and `dst` are CIDRs; "delete" takes the selector, direction and mark."""
    message: PackedMessage
    if command == "delete":
        message = userpolicy_id()
    else:
        message = userpolicy_info()
        message.update(priority=priority, action=action)
        if templates:
            message["attrs"].append(("XFRMA_TMPL", tuple(templates)))
    source, _, source_bits = src.partition("/")
    destination, _, destination_bits = dst.partition("/")
    message.update(
        sel_saddr=address(source),
        sel_prefixlen_s=int(source_bits),
        sel_sport=sport,
        sel_sport_mask=WHOLE_PORT if sport else 0,
        sel_daddr=address(destination),
        sel_prefixlen_d=int(destination_bits),
        sel_dport=dport,
        sel_dport_mask=WHOLE_PORT if dport else 0,
        sel_family=family_of(dst),
        sel_proto=proto,
        dir=direction,
    )
    if mark is not None:
        message["attrs"].append(("XFRMA_MARK", mark))
    return _request(message, POLICY_COMMANDS[command])


def _request(message: PackedMessage, kind: int) -> PackedMessage:
    message["header"] = {"type": kind, "flags": NLM_F_REQUEST, "sequence_number": 0, "pid": 0}
    return message
