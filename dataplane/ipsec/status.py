"""What there is to say of IPsec on this node: values for the command, metrics and the node's
status.  Times are UNIX times, 0: never; sizes are bytes.
"""

from __future__ import annotations

from typing import Literal, TypeAlias

from msgspec import Struct

from dataplane.families import Family
from dataplane.ipsec.progress import PeerProgress

# "going": it is being switched off, and others may still send
Phase: TypeAlias = Literal["on", "unavailable", "going", "off"]


class StateStatus(Struct, frozen=True):
    """A state of ours in the kernel.

    `spi` is in host order, `peer` "" where all senders share it; `used_up`: a new key is due, by
    the packets that it has sent.  Times in seconds since 1970, 0 for never: made, used first, used
    last, which kernels before 6.2 do not tell.
    """

    destination: str
    spi: int
    key: int  # ID
    family: Family
    receives: bool
    peer: str = ""
    bytes: int = 0
    packets: int = 0
    added: float = 0.0
    used: float = 0.0
    last_used: float = 0.0
    replayed: int = 0
    integrity_failed: int = 0
    used_up: bool = False


class FamilyStatus(Struct, frozen=True):
    """`address`: this node's end of all tunnels; `reason`: why it is unavailable."""

    family: Family
    phase: Phase
    address: str = ""
    interface: str = ""
    reason: str = ""


class IpsecStatus(Struct, frozen=True):
    """`families` are those that it is on for, or that something is left of.

    peers     sorted by node
    states    sorted by peer, SPI
    doubtful  states and policies that may be ours or somebody else's, in words: they are left alone
    """

    families: tuple[FamilyStatus, ...] = ()
    layout: Literal["pair", "shared"] = "pair"
    tag: int = 0
    peers: tuple[PeerProgress, ...] = ()
    states: tuple[StateStatus, ...] = ()
    doubtful: tuple[str, ...] = ()
