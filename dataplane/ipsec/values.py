"""States and policies of xfrm as they should be: values that mesh, driver and status share.

Nothing here holds a key: a state names its key by ID, and who writes it asks the ring.  Of values
like these there are thousands, and none can be part of a cycle: the collector is to leave them out.
Source: sections 3 and 4 of the IPsec reference; linux include/uapi/linux/xfrm.h.
"""

from __future__ import annotations

from typing import Final, Literal, TypeAlias

from msgspec import Struct

from dataplane.families import Family

MARK_MASK: Final = 0xF00
DECRYPTED: Final = 0xD00  # what our receiving states have decrypted
ENCRYPT: Final = 0xE00  # what workloads send
TABLE: Final = 200
PROTOCOL: Final = 50  # of rules and routes, FRA_PROTOCOL and RTPROT

Direction: TypeAlias = Literal["in", "out", "fwd"]
Action: TypeAlias = Literal["allow", "block"]
ANYBODY: Final[dict[Family, str]] = {4: "0.0.0.0", 6: "::"}  # noqa: S104
EVERYWHERE: Final[dict[Family, str]] = {4: "0.0.0.0/0", 6: "::/0"}


class StateId(Struct, frozen=True, cache_hash=True, gc=False):
    """What the kernel tells states apart by; the source is none of it."""

    destination: str  # address
    spi: int


class StateWish(Struct, frozen=True, cache_hash=True, gc=False):
    """A state of ESP in tunnel mode, with our reqid.

    `source` is "0.0.0.0" or "::" where all senders share it.  `peer` is the node at the other end,
    "" for all of them.  A receiving one marks what it has decrypted.  `life` goes into a derived
    key: the boots of source and destination; "" where the file's key is used as it is.
    """

    id: StateId
    source: str
    key: int  # ID
    receives: bool
    peer: str = ""
    life: str = ""


class Selector(Struct, frozen=True, cache_hash=True, gc=False):
    """Canonical CIDRs; protocol and ports 0 for any."""

    source: str
    destination: str
    protocol: int = 0
    source_port: int = 0
    destination_port: int = 0


class PolicyId(Struct, frozen=True, cache_hash=True, gc=False):
    """What the kernel tells policies apart by.

    Each is looked up many times, and what is nested would be hashed anew each time.
    """

    direction: Direction
    selector: Selector
    mark: int = 0  # under MARK_MASK; 0: no mark is asked for


class Template(Struct, frozen=True, cache_hash=True, gc=False):
    """One ESP tunnel with our reqid.  `spi` 0: any.  `optional`: what is in clear may pass, too."""

    source: str
    destination: str
    spi: int = 0
    optional: bool = False


class PolicyWish(Struct, frozen=True, gc=False):
    """The smaller priority wins, whatever the prefixes.  Without a template it allows or blocks."""

    id: PolicyId
    priority: int
    action: Action = "allow"
    template: Template | None = None
