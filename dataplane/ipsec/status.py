"""What there is to say of IPsec on this node: values for the command, metrics and the node's
status.  Times are UNIX times, 0: never; sizes are bytes.

Stages of another node, of one family, the first that fits:

    no address    it has none of this family
    no record     it publishes nothing: too old, or not there yet
    off           it says that it has no IPsec
    other layout  its states are of the other layout: no key can be in common
    no key        no key ID stands for the same key at both ends
    waiting       it has not said that it has receiving states for us
    ready         what goes there is encrypted
    leaving       it is gone, or has left IPsec, and what it has sent may still be on its way
"""

from __future__ import annotations

from typing import Literal, TypeAlias

from msgspec import Struct

from dataplane.families import Family

Stage: TypeAlias = Literal[
    "no address", "no record", "off", "other layout", "no key", "waiting", "ready", "leaving"
]
# "going": it is being switched off, and others may still send
Phase: TypeAlias = Literal["on", "unavailable", "going", "off"]


class StateStatus(Struct, frozen=True):
    """`spi` as the kernel counts it, in host order; `used_up`: a new key is due, by its packets."""

    spi: int
    key: int  # ID
    receives: bool
    bytes: int = 0
    packets: int = 0
    added: float = 0.0
    used: float = 0.0
    replayed: int = 0
    integrity_failed: int = 0
    used_up: bool = False


class PeerStatus(Struct, frozen=True):
    """Of one other node.

    reason    why it is not ready, in words, or what is doubtful though it is
    sends     ID of the key that it is sent to with, 0 for none
    is_sent   ID of the key that it says it sends to us with, 0 for none
    here      IDs of the keys that we can receive from it
    there     IDs of the keys that it says it can receive, with the same check value as ours
    differs   IDs whose key is another one there
    clear     what goes there goes in clear: it is not ready, and that is allowed
    states    in the kernel, for it alone
    """

    node: str
    stage: Stage
    address: str = ""
    reason: str = ""
    sends: int = 0
    is_sent: int = 0
    here: tuple[int, ...] = ()
    there: tuple[int, ...] = ()
    differs: tuple[int, ...] = ()
    clear: bool = False
    states: tuple[StateStatus, ...] = ()
    nets: tuple[str, ...] = ()


class FamilyStatus(Struct, frozen=True):
    """`reason` is why it is unavailable; `peers` are sorted by node.

    shared    the receiving states that all senders share, in that layout
    doubtful  states and policies that may be ours or somebody else's, in words: they are left alone
    """

    family: Family
    phase: Phase
    layout: Literal["pair", "shared"] = "pair"
    address: str = ""
    interface: str = ""
    reason: str = ""
    peers: tuple[PeerStatus, ...] = ()
    shared: tuple[StateStatus, ...] = ()
    doubtful: tuple[str, ...] = ()
