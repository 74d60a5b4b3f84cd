"""WireGuard devices as generic netlink messages: bytes, no socket.

    in   number of a device, PeerChanges    -> bodies of requests, cut to what a message can hold
         bodies of answers                  -> number of the family, DeviceState

A private key comes in each description of a device: `blank_private_key` overwrites it where it was
received, before anything is copied.
Source: linux include/uapi/linux/wireguard.h, genetlink.h; section 5.5 of the routes reference.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final, NamedTuple, TypeAlias

from msgspec import structs

from dataplane.netlink import ACK, DUMP, NESTED, Request, attribute, attributes, nested
from dataplane.rtnetlink import SOCKET_FAMILY, parse_net, render_address
from dataplane.wireguard.state import KEY_BYTES, DeviceState, PeerState

FAMILY_NAME: Final = "wireguard"
REMOVE_ME, UPDATE_ONLY = 1, 4  # flags of a peer

Endpoint: TypeAlias = tuple[str, int]

_CONTROL, _GET_FAMILY, _FAMILY_ID, _FAMILY_NAME = 16, 3, 1, 2
_GET_DEVICE, _SET_DEVICE = 0, 1
_INDEX, _PRIVATE_KEY, _PUBLIC_KEY = 1, 3, 4
_PORT, _MARK, _PEERS = 6, 7, 8  # of a device
_PEER_KEY, _PEER_FLAGS, _ENDPOINT, _KEEPALIVE = 1, 3, 4, 5
_HANDSHAKE, _RECEIVED, _SENT, _NETS = 6, 7, 8, 9  # of a peer
_NET_FAMILY, _NET_ADDRESS, _NET_LENGTH, _NET_FLAGS = 1, 2, 3, 4  # of an AllowedIP
_NET_REMOVE_ME = 1

_HEAD = struct.Struct("=BBH")  # command, version, reserved
_U16, _U32, _U64, _TIME = (
    struct.Struct("=H"),
    struct.Struct("=I"),
    struct.Struct("=Q"),
    struct.Struct("=qq"),
)
_ENDPOINT_PORT = struct.Struct("=H2s")  # of a socket address; the port is in network order
_NET_LAYOUT = {  # the nest, then family, address and length: attributes in multiples of four bytes
    4: struct.Struct("=HH HHHxx HH4s HHBxxx"),
    6: struct.Struct("=HH HHHxx HH16s HHBxxx"),
}
# An attribute says its length in 16 bits, and one holds all peers of a message.
_PEERS_BYTES = 65_535 - 4
_PEER_OVERHEAD = 256  # of a peer, beside its AllowedIPs, with room to spare


class PeerChange(NamedTuple):
    """What is None or empty stays as it is.  `nets` are added, or taken over from other peers;
    `nets_removed` needs Linux 6.16, before it a message with some is refused with EINVAL.
    """

    key: bytes
    flags: int = 0
    endpoint: Endpoint | None = None
    keepalive: int | None = None
    nets: tuple[str, ...] = ()
    nets_removed: tuple[str, ...] = ()


# ---------------------------------------------------------------- requests


def find_family() -> Request:
    """The kernel loads the module for it, if it has one; refused with ENOENT if not."""
    body = _HEAD.pack(_GET_FAMILY, 1, 0) + attribute(_FAMILY_NAME, FAMILY_NAME.encode() + b"\0")
    return Request(_CONTROL, ACK, body)


def parse_family(body: bytes) -> int:
    return int(_U16.unpack(dict(attributes(body, _HEAD.size))[_FAMILY_ID])[0])


def get_device(family: int, index: int) -> Request:
    """Refused with EOPNOTSUPP for a device of another kind."""
    return Request(family, DUMP, _head(_GET_DEVICE, index))


def set_private_key(index: int, key: bytearray) -> bytearray:
    """The body of a request.  Both hold the key: whoever has them overwrites them."""
    body = bytearray(_head(_SET_DEVICE, index) + attribute(_PRIVATE_KEY, bytes(KEY_BYTES)))
    body[-KEY_BYTES:] = key
    return body


def set_device(
    family: int, index: int, *, port: int | None = None, mark: int | None = None
) -> Request:
    body = _head(_SET_DEVICE, index)
    if port is not None:
        body += attribute(_PORT, _U16.pack(port))
    if mark is not None:
        body += attribute(_MARK, _U32.pack(mark))
    return Request(family, 0, body)


def set_peers(family: int, index: int, changes: Iterable[PeerChange]) -> list[Request]:
    """As few messages as can be, which the kernel carries out in order, peer by peer."""
    head = _head(_SET_DEVICE, index)
    requests: list[Request] = []
    parts: list[bytes] = []
    size = 0
    for part in (part for change in changes for part in _peer(change)):
        if size + len(part) > _PEERS_BYTES:
            requests.append(Request(family, 0, head + nested(_PEERS, *parts)))
            parts, size = [], 0
        parts.append(part)
        size += len(part)
    if parts:
        requests.append(Request(family, 0, head + nested(_PEERS, *parts)))
    return requests


def _head(command: int, index: int) -> bytes:
    return _HEAD.pack(command, 1, 0) + attribute(_INDEX, _U32.pack(index))


def _peer(change: PeerChange) -> Iterator[bytes]:
    """One that is too large for a message goes on in the next, by the same key."""
    fixed = attribute(_PEER_KEY, change.key)
    if change.flags:
        fixed += attribute(_PEER_FLAGS, _U32.pack(change.flags))
    once = b""
    if change.endpoint is not None:
        once += attribute(_ENDPOINT, _render_endpoint(change.endpoint))
    if change.keepalive is not None:
        once += attribute(_KEEPALIVE, _U16.pack(change.keepalive))
    nets = [_render_net(net, 0) for net in change.nets]
    nets += [_render_net(net, _NET_REMOVE_ME) for net in change.nets_removed]
    if not nets:
        yield nested(0, fixed, once)
    for part in _chunks(nets, _PEERS_BYTES - _PEER_OVERHEAD):
        yield nested(0, fixed, once, nested(_NETS, *part))
        once = b""


def _chunks(parts: Sequence[bytes], limit: int) -> Iterator[Sequence[bytes]]:
    start = size = 0
    for index, part in enumerate(parts):
        if size + len(part) > limit:
            yield parts[start:index]
            start, size = index, 0
        size += len(part)
    if start < len(parts):
        yield parts[start:]


def _render_net(net: str, flags: int) -> bytes:
    """Packed as a whole: nearly all that a message holds are these."""
    family, address, length = parse_net(net)
    layout, width = _NET_LAYOUT[family], len(address)
    last = attribute(_NET_FLAGS, _U32.pack(flags)) if flags else b""
    head = (layout.size + len(last), NESTED, 6, _NET_FAMILY, SOCKET_FAMILY[family])
    return layout.pack(*head, 4 + width, _NET_ADDRESS, address, 5, _NET_LENGTH, length) + last


def _render_endpoint(endpoint: Endpoint) -> bytes:
    text, port = endpoint
    if ":" in text:
        packed = socket.inet_pton(socket.AF_INET6, text)
        head = _ENDPOINT_PORT.pack(socket.AF_INET6, port.to_bytes(2, "big"))
        return head + bytes(4) + packed + bytes(4)
    packed = socket.inet_pton(socket.AF_INET, text)
    return _ENDPOINT_PORT.pack(socket.AF_INET, port.to_bytes(2, "big")) + packed + bytes(8)


# ---------------------------------------------------------------- answers


def blank_private_key(body: memoryview) -> None:
    """Overwrite it within the description of a device, and nothing else."""
    position = _HEAD.size
    while position + 4 <= len(body):
        length, kind = struct.unpack_from("=HH", body, position)
        if length < 4:
            return
        if kind & 0x3FFF == _PRIVATE_KEY:  # whatever its flags
            end = min(position + length, len(body))
            body[position + 4 : end] = bytes(end - position - 4)
        position += length + (-length % 4)


def parse_device(bodies: Iterable[bytes]) -> DeviceState | None:
    """None if nothing was answered.  A long list of peers, or of one peer's AllowedIPs, comes in
    several messages.
    """
    device: dict[int, bytes] = {}
    peers: dict[bytes, PeerState] = {}
    for body in bodies:
        for kind, value in attributes(body, _HEAD.size):
            if kind == _PEERS:
                _take_peers(value, peers)
            elif kind != _PRIVATE_KEY:
                device.setdefault(kind, value)
    if _INDEX not in device:
        return None
    return DeviceState(
        index=_U32.unpack(device[_INDEX])[0],
        public_key=device.get(_PUBLIC_KEY),
        port=_U16.unpack(device.get(_PORT, bytes(2)))[0],
        mark=_U32.unpack(device.get(_MARK, bytes(4)))[0],
        peers=peers,
    )


def _take_peers(value: bytes, peers: dict[bytes, PeerState]) -> None:
    for _, body in attributes(value):
        found = dict(attributes(body))
        key = found[_PEER_KEY]
        nets = frozenset(_parse_nets(found.get(_NETS, b"")))
        before = peers.get(key)
        if before is None:
            peers[key] = _parse_peer(found, nets)
        else:  # it goes on from the message before, with AllowedIPs and nothing else
            peers[key] = structs.replace(before, nets=before.nets | nets)


def _parse_peer(found: Mapping[int, bytes], nets: frozenset[str]) -> PeerState:
    seconds, nanoseconds = _TIME.unpack(found.get(_HANDSHAKE, bytes(16)))
    return PeerState(
        endpoint=_parse_endpoint(found.get(_ENDPOINT, b"")),
        nets=nets,
        keepalive=_U16.unpack(found.get(_KEEPALIVE, bytes(2)))[0],
        handshake=seconds + nanoseconds / 1e9,
        received=_U64.unpack(found.get(_RECEIVED, bytes(8)))[0],
        sent=_U64.unpack(found.get(_SENT, bytes(8)))[0],
    )


def _parse_endpoint(packed: bytes) -> Endpoint | None:
    """None for a peer that has none."""
    if len(packed) < _ENDPOINT_PORT.size:
        return None
    number, port = _ENDPOINT_PORT.unpack_from(packed)
    start, end = (4, 8) if number == socket.AF_INET else (8, 24)
    return render_address(packed[start:end]), int.from_bytes(port, "big")


def _parse_nets(value: bytes) -> Iterator[str]:
    for _, body in attributes(value):
        found = dict(attributes(body))
        yield f"{render_address(found[_NET_ADDRESS])}/{found[_NET_LENGTH][0]}"
