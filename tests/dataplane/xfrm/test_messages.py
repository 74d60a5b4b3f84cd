"""Messages as bytes: where the kernel has its fields, and back; what is not as it should be."""

from __future__ import annotations

import contextlib
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyroute2.netlink.exceptions import NetlinkDecodeError

from dataplane.xfrm import constants, requests
from dataplane.xfrm.attributes import Algorithm, Mark, ReplayEsn, Template
from dataplane.xfrm.messages import (
    user_expire,
    userpolicy_id,
    userpolicy_info,
    usersa_id,
    usersa_info,
)

HEADER = 16
KEY = bytes(range(1, 37))
ALL = [usersa_info, usersa_id, user_expire, userpolicy_info, userpolicy_id]

# Printed by a C program against include/uapi/linux/xfrm.h: offsets, and formats with their order.
SELECTOR = {
    "sel_daddr": (0, "16s"),
    "sel_saddr": (16, "16s"),
    "sel_dport": (32, ">H"),
    "sel_dport_mask": (34, ">H"),
    "sel_sport": (36, ">H"),
    "sel_sport_mask": (38, ">H"),
    "sel_family": (40, "=H"),
    "sel_prefixlen_d": (42, "B"),
    "sel_prefixlen_s": (43, "B"),
    "sel_proto": (44, "B"),
    "sel_ifindex": (48, "=i"),
    "sel_user": (52, "=I"),
}
LIMITS = (
    *("soft_byte_limit", "hard_byte_limit", "soft_packet_limit", "hard_packet_limit"),
    *("soft_add_expires_seconds", "hard_add_expires_seconds"),
    *("soft_use_expires_seconds", "hard_use_expires_seconds"),
    *("bytes", "packets", "add_time", "use_time"),
)
STATE = SELECTOR | {
    "daddr": (56, "16s"),
    "spi": (72, ">I"),
    "proto": (76, "B"),
    "saddr": (80, "16s"),
    **{name: (96 + 8 * i, "=Q") for i, name in enumerate(LIMITS)},
    "stats_replay_window": (192, "=I"),
    "stats_replay": (196, "=I"),
    "stats_integrity_failed": (200, "=I"),
    "seq": (204, "=I"),
    "reqid": (208, "=I"),
    "family": (212, "=H"),
    "mode": (214, "B"),
    "replay_window": (215, "B"),
    "flags": (216, "B"),
}
POLICY = SELECTOR | {
    **{name: (56 + 8 * i, "=Q") for i, name in enumerate(LIMITS)},
    "priority": (152, "=I"),
    "index": (156, "=I"),
    "dir": (160, "B"),
    "action": (161, "B"),
    "flags": (162, "B"),
    "share": (163, "B"),
}
LAYOUTS = [
    (usersa_info, 224, STATE),
    (user_expire, 232, STATE | {"hard": (224, "B")}),
    (userpolicy_info, 168, POLICY),
    (userpolicy_id, 64, SELECTOR | {"index": (56, "=I"), "dir": (60, "B")}),
    (
        usersa_id,
        24,
        {"daddr": (0, "16s"), "spi": (16, ">I"), "family": (20, "=H"), "proto": (22, "B")},
    ),
]


def encoded(message) -> bytes:
    message["header"] = {"type": 16, "flags": 1, "sequence_number": 7, "pid": 9}
    message.encode()
    return bytes(message.data)


def decoded(kind, data: bytes, offset: int = 0):
    message = kind(data, offset=offset)
    message.decode()
    return message


def attribute(number: int, value: bytes) -> bytes:
    return struct.pack("=HH", 4 + len(value), number) + value + bytes(-len(value) % 4)


@pytest.mark.parametrize(("kind", "size", "layout"), LAYOUTS)
def test_each_field_is_where_the_kernel_has_it(kind, size, layout):
    assert set(kind().names) == set(layout)
    for name, (offset, form) in layout.items():
        message = kind()
        blank = encoded(message)
        assert len(blank) == HEADER + size
        value = (
            bytes(range(1, 17)) if form == "16s" else 0x12345678 >> (32 - 8 * min(4, _size(form)))
        )
        message[name] = value
        data = encoded(message)
        assert struct.unpack_from(form, data, HEADER + offset)[0] == value, name
        begin, end = HEADER + offset, HEADER + offset + _size(form)
        assert (data[:begin], data[end:]) == (blank[:begin], blank[end:]), name
        assert decoded(kind, data)[name] == value, name


def _size(form: str) -> int:
    return struct.calcsize(form)


def test_header():
    assert struct.unpack_from("=IHHII", encoded(usersa_id())) == (40, 16, 1, 7, 9)


def test_what_is_not_said_has_no_end():
    for kind in (usersa_info, userpolicy_info):
        limits = [kind()[name] for name in LIMITS[:8]]
        assert limits == [2**64 - 1] * 4 + [0] * 4


ATTRIBUTES = [
    ("XFRMA_MARK", Mark(0xD00, 0xF00), attribute(21, struct.pack("=II", 0xD00, 0xF00))),
    ("XFRMA_SET_MARK", 0xD00, attribute(29, struct.pack("=I", 0xD00))),
    ("XFRMA_SET_MARK_MASK", 0xF00, attribute(30, struct.pack("=I", 0xF00))),
    ("XFRMA_IF_ID", 7, attribute(31, struct.pack("=I", 7))),
    (
        "XFRMA_ALG_AEAD",
        Algorithm("rfc4106(gcm(aes))", KEY, 128),
        attribute(18, b"rfc4106(gcm(aes))".ljust(64, b"\0") + struct.pack("=II", 288, 128) + KEY),
    ),
    (
        "XFRMA_ALG_AUTH_TRUNC",
        Algorithm("hmac(sha256)", KEY[:32], 96),
        attribute(20, b"hmac(sha256)".ljust(64, b"\0") + struct.pack("=II", 256, 96) + KEY[:32]),
    ),
    (
        "XFRMA_ALG_CRYPT",
        Algorithm("cbc(aes)", KEY[:19]),
        attribute(2, b"cbc(aes)".ljust(64, b"\0") + struct.pack("=I", 152) + KEY[:19]),
    ),
    (
        "XFRMA_REPLAY_ESN_VAL",
        ReplayEsn(4, 128, oseq=1, seq=2, oseq_hi=3, seq_hi=4),
        attribute(23, struct.pack("=IIIIII", 4, 1, 2, 3, 4, 128) + bytes(16)),
    ),
    (
        "XFRMA_TMPL",
        (
            Template(bytes(range(16)), bytes(range(16, 32)), 2, spi=0x1234, reqid=5, optional=1),
            Template(bytes(16), bytes(16), 10),
        ),
        attribute(
            5,
            bytes(range(16))
            + struct.pack(">IB3x", 0x1234, 50)
            + struct.pack("=H2x", 2)
            + bytes(range(16, 32))
            + struct.pack("=IBBBx", 5, 1, 0, 1)
            + b"\xff" * 12
            + bytes(16)
            + struct.pack(">IB3x", 0, 50)
            + struct.pack("=H2x", 10)
            + bytes(16)
            + struct.pack("=IBBBx", 0, 1, 0, 0)
            + b"\xff" * 12,
        ),
    ),
]


@pytest.mark.parametrize(("name", "value", "expected"), ATTRIBUTES)
def test_attributes(name, value, expected):
    message = usersa_info()
    message["attrs"] = [(name, value)]
    data = encoded(message)
    assert message.size == len(data)
    assert data[HEADER + 224 :] == expected
    assert decoded(usersa_info, data).get_attr(name) == value


def test_unknown_attributes_are_passed_over():
    message = usersa_info()
    message["attrs"] = [("XFRMA_IF_ID", 7)]
    data = encoded(message) + attribute(99, b"abc") + attribute(31 | 0x8000, struct.pack("=I", 8))
    data = struct.pack("=I", len(data)) + data[4:]
    found = decoded(usersa_info, data)["attrs"]
    assert found == [("XFRMA_IF_ID", 7), ("UNKNOWN", b"abc"), ("XFRMA_IF_ID", 8)]


def test_messages_follow_each_other():
    first, second = encoded(usersa_id()), encoded(userpolicy_id())
    assert decoded(userpolicy_id, first + second, len(first))["header"]["length"] == len(second)


def test_encoding_into_a_buffer_ends_where_it_says():
    message = requests.state("delete", dst="10.0.0.1", spi=5)
    message["header"].update(sequence_number=1, pid=0)
    buffer = bytearray(b"\xff" * 100)
    assert message.encode_into(memoryview(buffer), 10) == 50
    assert buffer[50:] == b"\xff" * 50
    with pytest.raises(struct.error):
        message.encode_into(memoryview(buffer), 61)


def test_no_key_shows():
    message = usersa_info()
    message["attrs"] = [("XFRMA_ALG_AEAD", Algorithm("gcm", b"secret!", 128))]
    shown = f"{message} {message!r} {message['attrs']}"
    assert "gcm" in shown
    assert "secret!" not in shown


BROKEN = [
    ("shorter than a header", lambda data: data[:10]),
    ("shorter than its fixed part", lambda data: data[:100]),
    ("shorter than it says", lambda data: data[:-8]),
    ("says that it is shorter than it has to be", lambda data: struct.pack("=I", 16) + data[4:]),
    ("an attribute of no length", lambda data: data[:240] + bytes(2) + data[242:]),
    ("an attribute longer than the rest", lambda data: data[:240] + b"\xff\x00" + data[242:]),
    ("a mark of four bytes", lambda data: data[:240] + b"\x08\x00" + data[242:248]),
]


@pytest.mark.parametrize(("case", "broken"), BROKEN)
def test_what_is_broken_is_refused(case, broken):
    message = usersa_info()
    message["attrs"] = [("XFRMA_MARK", Mark(1, 2))]
    data = encoded(message)
    changed = broken(data)
    if case == "a mark of four bytes":
        changed = struct.pack("=I", len(changed)) + changed[4:]
    with pytest.raises(NetlinkDecodeError):
        decoded(usersa_info, changed)


@given(st.sampled_from(ALL), st.binary(max_size=400), st.booleans())
def test_whatever_comes_is_read_or_refused(kind, data, as_long_as_it_says):
    if as_long_as_it_says:
        data = struct.pack("=I", len(data)) + data[4:]
    with contextlib.suppress(NetlinkDecodeError):
        decoded(kind, data)


TUNNEL = Template(requests.address("10.0.0.2"), requests.address("10.0.0.1"), 2, spi=0x123)


def test_a_state():
    message = requests.state(
        "add",
        src="10.0.0.1",
        dst="10.0.0.2",
        spi=0x1234,
        reqid=1,
        aead=Algorithm("rfc4106(gcm(aes))", KEY[:20], 128),
        set_mark=Mark(0xD00, 0xF00),
        esn=True,
        replay_window=128,
        soft_packets=5,
        hard_add_seconds=6,
    )
    assert message["header"]["type"] == constants.XFRM_MSG_NEWSA
    expected = {
        "daddr": b"\x0a\0\0\x02" + bytes(12),
        "saddr": b"\x0a\0\0\x01" + bytes(12),
        "spi": 0x1234,
        "proto": 50,
        "family": 2,
        "sel_family": 2,
        "sel_prefixlen_d": 0,
        "mode": 1,
        "reqid": 1,
        "flags": 128,
        "replay_window": 0,
        "soft_packet_limit": 5,
        "hard_packet_limit": 2**64 - 1,
        "hard_add_expires_seconds": 6,
    }
    assert {name: message[name] for name in expected} == expected
    assert [name for name, _ in message["attrs"]] == [
        *("XFRMA_ALG_AEAD", "XFRMA_REPLAY_ESN_VAL", "XFRMA_SET_MARK", "XFRMA_SET_MARK_MASK")
    ]
    assert message.get_attr("XFRMA_REPLAY_ESN_VAL") == ReplayEsn(4, 128)


def test_a_policy():
    message = requests.policy(
        "update",
        src="fd00::/64",
        dst="fd01::/48",
        direction=constants.XFRM_POLICY_FWD,
        proto=6,
        sport=179,
        priority=1006,
        action=constants.XFRM_POLICY_BLOCK,
        templates=[TUNNEL],
        mark=Mark(0xD00, 0xF00),
    )
    assert message["header"]["type"] == constants.XFRM_MSG_UPDPOLICY
    expected = {
        "sel_saddr": b"\xfd" + bytes(15),
        "sel_daddr": b"\xfd\x01" + bytes(14),
        "sel_prefixlen_s": 64,
        "sel_prefixlen_d": 48,
        "sel_family": 10,
        "sel_proto": 6,
        "sel_sport": 179,
        "sel_sport_mask": 0xFFFF,
        "sel_dport": 0,
        "sel_dport_mask": 0,
        "priority": 1006,
        "dir": 2,
        "action": 1,
    }
    assert {name: message[name] for name in expected} == expected
    assert message["attrs"] == [("XFRMA_TMPL", (TUNNEL,)), ("XFRMA_MARK", Mark(0xD00, 0xF00))]
    other = requests.policy("delete", src="10.0.0.0/8", dst="0.0.0.0/0", direction=1)
    assert other["header"]["type"] == constants.XFRM_MSG_DELPOLICY
    assert other["attrs"] == []
