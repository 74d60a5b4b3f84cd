"""The fixed parts of messages, named as in linux include/uapi/linux/xfrm.h; nested ones are flat.

Addresses, of 16 bytes, are in network order; `>` says so of numbers.
"""

from __future__ import annotations

from typing import Final

from dataplane.xfrm import constants
from dataplane.xfrm.packed import PackedMessage

_SELECTOR: Final = (
    ("sel_daddr", "16s"),
    ("sel_saddr", "16s"),
    ("sel_dport", ">H"),
    ("sel_dport_mask", ">H"),
    ("sel_sport", ">H"),
    ("sel_sport_mask", ">H"),
    ("sel_family", "H"),
    ("sel_prefixlen_d", "B"),
    ("sel_prefixlen_s", "B"),
    ("sel_proto", "B"),
    ("", "3x"),
    ("sel_ifindex", "i"),
    ("sel_user", "I"),
)
_LIFETIME: Final = (
    ("soft_byte_limit", "Q"),
    ("hard_byte_limit", "Q"),
    ("soft_packet_limit", "Q"),
    ("hard_packet_limit", "Q"),
    ("soft_add_expires_seconds", "Q"),
    ("hard_add_expires_seconds", "Q"),
    ("soft_use_expires_seconds", "Q"),
    ("hard_use_expires_seconds", "Q"),
    ("bytes", "Q"),
    ("packets", "Q"),
    ("add_time", "Q"),
    ("use_time", "Q"),
)
_ENDLESS: Final = dict.fromkeys((name for name, _ in _LIFETIME[:4]), constants.XFRM_INF)
_STATE: Final = (
    *_SELECTOR,
    ("daddr", "16s"),
    ("spi", ">I"),
    ("proto", "B"),
    ("", "3x"),
    ("saddr", "16s"),
    *_LIFETIME,
    ("stats_replay_window", "I"),
    ("stats_replay", "I"),
    ("stats_integrity_failed", "I"),
    ("seq", "I"),
    ("reqid", "I"),
    ("family", "H"),
    ("mode", "B"),
    ("replay_window", "B"),
    ("flags", "B"),
    ("", "7x"),
)


class usersa_info(PackedMessage):  # noqa: N801  # the kernel's and pyroute2's way to name it
    """A state."""

    fields = _STATE


class usersa_id(PackedMessage):  # noqa: N801
    """What a state is told by."""

    fields = (("daddr", "16s"), ("spi", ">I"), ("family", "H"), ("proto", "B"), ("", "1x"))


class user_expire(PackedMessage):  # noqa: N801
    """A state whose lifetime is over, or nearly so."""

    fields = (*_STATE, ("hard", "B"), ("", "7x"))


class userpolicy_info(PackedMessage):  # noqa: N801
    fields = (
        *_SELECTOR,
        *_LIFETIME,
        ("priority", "I"),
        ("index", "I"),
        ("dir", "B"),
        ("action", "B"),
        ("flags", "B"),
        ("share", "B"),
        ("", "4x"),
    )


class userpolicy_id(PackedMessage):  # noqa: N801
    """What a policy is told by."""

    fields = (*_SELECTOR, ("index", "I"), ("dir", "B"), ("", "3x"))


for _message in (usersa_info, userpolicy_info):
    _message.blank |= _ENDLESS
