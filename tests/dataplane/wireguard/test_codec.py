"""WireGuard's messages as bytes: what is written is read back, by us and by pyroute2."""

from __future__ import annotations

import struct
from base64 import b64encode

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyroute2.netlink.generic.wireguard import wgmsg

from dataplane.netlink import attribute, attributes, nested
from dataplane.rtnetlink import render_address
from dataplane.wireguard import codec, keys
from dataplane.wireguard.codec import REMOVE_ME, UPDATE_ONLY, PeerChange
from dataplane.wireguard.state import DeviceState, PeerState

A, B = bytes(range(32)), b"b" * 32
HEAD = 4  # bytes before the attributes
MANY = tuple(f"10.{n >> 10}.{n >> 2 & 255}.{(n & 3) << 6}/26" for n in range(5000))

addresses = st.one_of(
    st.integers(0, 2**32 - 1).map(lambda number: render_address(number.to_bytes(4, "big"))),
    st.integers(0, 2**128 - 1).map(lambda number: render_address(number.to_bytes(16, "big"))),
)
nets = st.builds(
    lambda address, length: f"{address}/{min(length, 128 if ':' in address else 32)}",
    addresses,
    st.integers(0, 128),
)
changes = st.builds(
    PeerChange,
    st.integers(0, 2**256 - 1).map(lambda number: number.to_bytes(32, "big")),
    st.sampled_from([0, UPDATE_ONLY]),
    st.tuples(addresses, st.integers(0, 65535)),
    st.integers(0, 65535),
    st.lists(nets, max_size=5, unique=True).map(tuple),
    st.just(()),
)


@given(st.lists(changes, max_size=5, unique_by=lambda change: change.key))
def test_peers_are_read_back(written: list[PeerChange]) -> None:
    """A request and the kernel's description of a device are of the same make."""
    requests = codec.set_peers(30, 7, written)
    expected = {
        change.key: PeerState(change.endpoint, frozenset(change.nets), change.keepalive or 0)
        for change in written
    }
    found = codec.parse_device(request.body for request in requests)
    assert found == (DeviceState(7, None, 0, 0, expected) if written else None)
    assert all((request.type, request.flags) == (30, 0) for request in requests)


def test_another_codec_reads_the_same() -> None:
    written = [
        PeerChange(A, UPDATE_ONLY, ("172.30.0.1", 51820), 25, ("10.1.0.0/26", "fd00:1::/122")),
        PeerChange(B, REMOVE_ME, ("fd00::2", 51821)),
    ]
    (request,) = codec.set_peers(30, 7, written)
    message = wgmsg(struct.pack("=IHHII", 16 + len(request.body), 30, 0, 0, 0) + request.body)
    message.decode()
    assert (message["cmd"], message["version"]) == (1, 1)
    assert message.get_attr("WGDEVICE_A_IFINDEX") == 7
    first, second = message.get_attr("WGDEVICE_A_PEERS")
    assert first.get_attr("WGPEER_A_PUBLIC_KEY") == b64encode(A)
    assert first.get_attr("WGPEER_A_FLAGS") == UPDATE_ONLY
    assert first.get_attr("WGPEER_A_PERSISTENT_KEEPALIVE_INTERVAL") == 25
    endpoint = first.get_attr("WGPEER_A_ENDPOINT")
    assert (endpoint["addr"], endpoint["port"]) == ("172.30.0.1", 51820)
    told = [net["addr"] for net in first.get_attr("WGPEER_A_ALLOWEDIPS")]
    assert told == ["10.1.0.0/26", "fd00:1::/122"]
    assert second.get_attr("WGPEER_A_FLAGS") == REMOVE_ME
    endpoint = second.get_attr("WGPEER_A_ENDPOINT")
    assert (endpoint["addr"], endpoint["port"]) == ("fd00::2", 51821)
    assert second.get_attr("WGPEER_A_ALLOWEDIPS") is None


def test_a_long_list_of_one_peer_goes_on_in_the_next_message() -> None:
    requests = codec.set_peers(30, 7, [PeerChange(A, 0, ("10.0.0.1", 5), 25, MANY)])
    assert len(requests) == 3
    assert all(len(request.body) < 65_535 + 16 for request in requests)
    found = codec.parse_device(request.body for request in requests)
    assert found is not None
    assert found.peers == {A: PeerState(("10.0.0.1", 5), frozenset(MANY), 25)}
    endpoints = [codec.parse_device([request.body]) for request in requests]
    assert [each and each.peers[A].endpoint for each in endpoints] == [("10.0.0.1", 5), None, None]


@pytest.mark.parametrize("count", [1, 300, 600])
def test_messages_are_as_few_and_as_large_as_can_be(count: int) -> None:
    written = [
        PeerChange(n.to_bytes(32, "big"), 0, ("10.0.0.1", 5), None, MANY[4 * n : 4 * n + 4])
        for n in range(count)
    ]
    requests = codec.set_peers(30, 7, written)
    sizes = [len(request.body) for request in requests]
    assert all(size <= 65_535 + HEAD + 8 for size in sizes)
    assert all(size > 65_000 for size in sizes[:-1])
    found = codec.parse_device(request.body for request in requests)
    assert found is not None
    assert found.peers.keys() == {change.key for change in written}


def test_an_allowed_ip_that_goes_says_so() -> None:
    (request,) = codec.set_peers(30, 7, [PeerChange(A, 4, nets_removed=("10.1.0.0/26",))])
    peers = dict(attributes(request.body, HEAD))[8]
    ((_, peer),) = attributes(peers)
    ((_, net),) = attributes(dict(attributes(peer))[9])
    assert dict(attributes(net)) == {
        1: b"\x02\0", 2: b"\x0a\x01\0\0", 3: b"\x1a", 4: b"\1\0\0\0"
    }  # fmt: skip


def test_a_device_is_set_up() -> None:
    request = codec.set_device(30, 7, port=51820, mark=0x200000)
    assert codec.parse_device([request.body]) == DeviceState(7, None, 51820, 0x200000, {})
    request = codec.set_device(30, 7, mark=0)
    assert dict(attributes(request.body, HEAD)).keys() == {1, 7}


# As Linux 6.1 describes a device with three peers; only the private key was another one.
PRIVATE = b"w" * 32
PUBLIC = "fdb39bd145dde21e4033e1eb5c54be07a1faf377ee7b2f79815bdacb8c115d26"
PEER = "508dfcad831b6408d073ebc8cd21b3133db8c694d83e9e5126a5fd8f9e506d63"
REPLY = (
    "00010000060006006cca00000800070000002000080001000300000013000200"
    "7769726567756172642e63616c69000024000300" + PRIVATE.hex() + "24000400" + PUBLIC + "38020880"
    # a handshake, 92 bytes received and 180 sent
    "d800008024000100" + PEER + "24000200" + "00" * 32 + "14000600c6f9016b000000001e2e712900000000"
    "06000500050000000c000800b4000000000000000c0007005c0000000000000008000a000100000014000400"
    "0200ca6cac1e000200000000000000003c0009801c000080050003001a0000000600010002000000080002000a020000"
    "1c00008005000300200000000600010002000000080002000a020101"
    # never one
    "d400008024000100"
    + "01" * 32
    + "24000200"
    + "00" * 32
    + "14000600"
    + "00" * 16
    + "06000500000000000c00080000000000000000000c000700000000000000000008000a0001000000"
    "200004000a00ca6c00000000fd000000000000000000000000000009000000002c0009802800008005"
    "0003007a000000060001000a00000014000200fd650000000000000000000000000000"
    # no endpoint
    "8800008024000100"
    + "02" * 32
    + "24000200"
    + "00" * 32
    + "14000600"
    + "00" * 16
    + "06000500000000000c00080000000000000000000c000700000000000000000008000a0001000000"
)


def test_a_recorded_answer() -> None:
    handshake = 1795291590.6952832
    nets = frozenset(("10.2.0.0/26", "10.2.1.1/32"))
    assert codec.parse_device([bytes.fromhex(REPLY)]) == DeviceState(
        3,
        bytes.fromhex(PUBLIC),
        51820,
        0x200000,
        {
            bytes.fromhex(PEER): PeerState(("172.30.0.2", 51820), nets, 5, handshake, 92, 180),
            b"\1" * 32: PeerState(("fd00::9", 51820), frozenset(("fd65::/122",))),
            b"\2" * 32: PeerState(),
        },
    )
    assert codec.parse_device([]) is None


def test_a_private_key_is_overwritten_where_it_is() -> None:
    body = bytearray.fromhex(REPLY)
    before = bytes(body)
    codec.blank_private_key(memoryview(body))
    assert PRIVATE not in body
    assert before.replace(PRIVATE, bytes(32)) == body
    assert codec.parse_device([bytes(body)]) == codec.parse_device([before])


@given(
    st.lists(st.tuples(st.integers(1, 5), st.binary(max_size=9)), max_size=6),
    st.binary(max_size=6),
)
def test_only_private_keys_are_overwritten(pairs: list[tuple[int, bytes]], rest: bytes) -> None:
    def rendered(blank: bool) -> bytes:
        values = ((kind, bytes(len(v)) if blank and kind == 3 else v) for kind, v in pairs)
        return b"head" + b"".join(attribute(kind, value) for kind, value in values)

    body = bytearray(rendered(blank=False) + rest)
    codec.blank_private_key(memoryview(body))
    assert body[: len(body) - len(rest)] == rendered(blank=True)


def test_a_request_with_a_key_is_overwritten_with_it() -> None:
    key = keys.new_private_key()
    body = codec.set_private_key(7, key)
    assert bytes(key) in body
    assert dict(attributes(bytes(body), HEAD)) == {1: b"\7\0\0\0", 3: bytes(key)}
    keys.forget(body)
    assert not any(body)


def test_the_family_is_asked_for_by_name() -> None:
    request = codec.find_family()
    assert (request.type, request.body) == (16, b"\3\1\0\0" + attribute(2, b"wireguard\0"))
    assert codec.parse_family(b"\1\2\0\0" + attribute(1, b"\x1e\0") + nested(6)) == 30
