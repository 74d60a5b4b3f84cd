"""What a WireGuard device holds, or should: values that plan, driver and status share.

Public keys are 32 bytes; `shown` gives the base64 that `wg` prints.  Nothing here can hold a
private key.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Final, Literal, TypeAlias

from msgspec import Struct

KEY_BYTES: Final = 32

# of a destination in the routing table of WireGuard
RouteKind: TypeAlias = Literal["device", "throw", "unreachable"]

# Which packets that are not encrypted yet ask that table first: all, or all but the host's own.
Asking: TypeAlias = Literal["nobody", "forwarded", "everything"]


def shown(key: bytes) -> str:
    return base64.b64encode(key).decode()


class PeerWish(Struct, frozen=True):
    """`endpoint` is address and UDP port; `nets` are canonical CIDRs of the device's family."""

    node: str
    endpoint: tuple[str, int]
    nets: frozenset[str]
    keepalive: int = 0  # seconds; 0: none


class PeerState(Struct, frozen=True):
    """As the kernel tells it.  `handshake`: UNIX time of the last one, 0.0: never."""

    endpoint: tuple[str, int] | None = None
    nets: frozenset[str] = frozenset()
    keepalive: int = 0
    handshake: float = 0.0
    received: int = 0  # bytes
    sent: int = 0


class DeviceState(Struct, frozen=True):
    """`public_key` None: the device has no key yet."""

    index: int
    public_key: bytes | None
    port: int
    mark: int
    peers: Mapping[bytes, PeerState]
