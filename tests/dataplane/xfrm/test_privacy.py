"""Where keys are in what the kernel says, and that nothing is left of them."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataplane.xfrm.attributes import Algorithm
from dataplane.xfrm.messages import usersa_info
from dataplane.xfrm.privacy import conceal

KEY = bytes(range(1, 21))
DIGEST = b"d" * 20
NAMES = ["XFRMA_ALG_AEAD", "XFRMA_ALG_AUTH", "XFRMA_ALG_AUTH_TRUNC", "XFRMA_ALG_CRYPT"]


def state(key: bytes = KEY, kind: int = 16, name: str = "XFRMA_ALG_AEAD") -> bytearray:
    message = usersa_info()
    message["attrs"] = [("XFRMA_IF_ID", 1), (name, Algorithm("algorithm", key)), ("XFRMA_PAD", b"")]
    message["header"] = {"type": kind, "flags": 0, "sequence_number": 0, "pid": 0}
    message.encode()
    return message.data


def concealed(data: bytes) -> bytes:
    buffer = bytearray(data)
    conceal(memoryview(buffer), lambda key: b"d" * len(key))
    return bytes(buffer)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("kind", [16, 26])
def test_a_digest_takes_the_place_of_the_key(name, kind):
    data = state(kind=kind, name=name)
    assert concealed(data) == bytes(data).replace(KEY, DIGEST)


def test_without_a_digest_there_are_zeros():
    data = state()
    conceal(memoryview(data))
    assert data == state(bytes(20))


def test_of_zeros_nothing_is_made():
    assert concealed(state(bytes(20))) == state(bytes(20))


def test_all_messages_of_a_datagram():
    assert concealed(state() + state()) == concealed(state()) * 2


def test_a_deleted_state_is_told_with_its_key():
    attributes = bytes(state()[240:])
    data = struct.pack("=IHHII", 40 + len(attributes), 17, 0, 0, 0) + bytes(24) + attributes
    assert concealed(data) == data.replace(KEY, DIGEST)


def test_what_was_refused_is_not_repeated():
    body = struct.pack("=i", -17) + bytes(state())
    data = struct.pack("=IHHII", 16 + len(body), 2, 0, 5, 0) + body
    assert concealed(data) == data[:36] + bytes(len(data) - 36)


def test_the_reason_for_a_refusal_stays():
    body = struct.pack("=i", -17) + bytes(state()[:16]) + struct.pack("=HH4s", 8, 1, b"why\0")
    data = struct.pack("=IHHII", 16 + len(body), 2, 0x300, 5, 0) + body
    assert concealed(data) == data


def test_policies_are_left_alone():
    data = bytes(state(kind=19))
    assert concealed(data) == data


@pytest.mark.parametrize(
    "broken",
    [
        lambda data: data[:244] + b"\xff\xff" + data[246:],  # longer than the message
        lambda data: data[:248] + b"\x01\x00" + data[250:],  # shorter than possible
        lambda data: data[:316] + struct.pack("=I", 8 * 400) + data[320:],  # a longer key
        lambda data: data[:316] + struct.pack("=I", 8) + data[320:],  # a shorter one
        lambda data: data[:-30],
    ],
)
def test_what_is_broken_shows_no_key_either(broken):
    data = broken(bytes(state()))
    assert len(data) > 300
    assert KEY[2:6] not in concealed(data)
    assert KEY[-6:] not in concealed(data)


@given(st.binary(max_size=600), st.sampled_from([2, 16, 17, 19, 26]), st.booleans())
def test_whatever_comes_is_taken(data, kind, as_long_as_it_says):
    if as_long_as_it_says and len(data) >= 8:
        data = struct.pack("=IH", len(data), kind) + data[6:]
    assert len(concealed(data)) == len(data)
