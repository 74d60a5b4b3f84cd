"""What a node publishes of its end of IPsec: the one kind that is felixpy's own."""

# ruff: noqa: RUF012 - msgspec makes a new empty list for each object

from __future__ import annotations

from typing import Annotated

from msgspec import field

from dataplane.ipsec.ids import LAST_ID
from dataplane.ipsec.life import BOOT_BYTES, HIGHEST_TAG
from felixpy.datastore.resources.fields import Ipv4, Ipv6
from felixpy.datastore.resources.marks import one_of_always, pattern_always, within
from felixpy.datastore.resources.meta import Block, Document

API_VERSION = "felixpy/v1"

KeyId = Annotated[int, within(1, LAST_ID, schema=False)]
CheckValue = Annotated[str, pattern_always("[0-9a-f]{16}", "16 hex digits in lower case")]
Tag = Annotated[int, within(1, HIGHEST_TAG, schema=False)]
Boot = Annotated[
    str,
    pattern_always(f"[0-9a-f]{{{2 * BOOT_BYTES}}}", f"{2 * BOOT_BYTES} hex digits in lower case"),
]


class Receivable(Block, frozen=True):
    id: KeyId
    check: CheckValue


class Peering(Block, frozen=True):
    """`tag` and `sends` 0: none.

    Every node has one of these for every other: a rule looks at all of them in one go.
    """

    node: str
    tag: int = 0
    sends: int = 0
    hosts: bool = False


class IpsecNodeSpec(Block, frozen=True):
    enabled: bool = False
    layout: Annotated[str, one_of_always("pair", "shared")] = "pair"
    tag: Tag = 0
    boot: Boot = ""
    receive: list[Receivable] = []
    peers: list[Peering] = []
    ipv4: Ipv4 = field(default="", name="ipv4")
    ipv6: Ipv6 = field(default="", name="ipv6")
    allow_clear: bool = False
    node_encryption: bool = False


class IpsecNode(Document, frozen=True):
    spec: IpsecNodeSpec = IpsecNodeSpec()
