"""Blocks of addresses, as manifests have them and as IPAM writes them to etcd."""

from __future__ import annotations

import json
from typing import Any

import pytest

from calc_graph.model import Block, BlockKey
from felixpy.datastore.decode import InvalidResourceError, decode_manifest, decode_stored
from felixpy.datastore.etcd_keys import RANGES, KeyRange

BLOCKS: tuple[KeyRange, ...] = tuple(each for each in RANGES if each.kind == "IPAMBlock")

KEYS = [
    (b"/calico/ipam/v2/assignment/ipv4/block/10.65.0.0-26", "10.65.0.0/26"),
    (b"/calico/ipam/v2/assignment/ipv6/block/fd65::40-122", "fd65::40/122"),
    (b"/calico/ipam/v2/assignment/ipv6/block/fd65::-122", "fd65::/122"),
]


@pytest.mark.parametrize(("key", "cidr"), KEYS)
def test_a_key_is_the_cidr(key: bytes, cidr: str) -> None:
    (range_,) = (each for each in BLOCKS if key.startswith(each.prefix.encode()))
    assert range_.interval.key <= key < range_.interval.end
    namespace, name = range_.identity(key) or ("", "")
    raw = json.dumps({"cidr": cidr, "affinity": "host:n1"}).encode()
    assert decode_stored(range_.kind, namespace, name, raw) == ((BlockKey(cidr), Block("n1")),)


def test_what_else_ipam_keeps_is_not_read() -> None:
    others = [b"/calico/ipam/v2/host/n1/ipv4/block/10.65.0.0-26", b"/calico/ipam/v2/handle/h1"]
    assert not any(
        each.interval.key <= key < each.interval.end for each in BLOCKS for key in others
    )


def attribute(node: str | None, **secondary: str) -> dict[str, Any]:
    return {"handle_id": "h", "secondary": {**({"node": node} if node else {}), **secondary}}


CONTENTS: list[tuple[str, dict[str, Any], Block]] = [
    ("nobody's", {}, Block()),
    ("a host's", {"affinity": "host:n1"}, Block("n1")),
    ("a virtual node's", {"affinity": "virtual:load-balancer"}, Block("load-balancer")),
    (
        "its own addresses are not worth a word",
        {"affinity": "host:n1", "allocations": [0, None, 0], "attributes": [attribute("n1")]},
        Block("n1"),
    ),
    (
        "those of others are",
        {
            "affinity": "host:n1",
            "allocations": [None, 0, 1, None, 2, 1],
            "attributes": [attribute("n1"), attribute("n2", pod="p"), attribute("n3")],
        },
        Block("n1", (("10.0.0.66/32", "n2"), ("10.0.0.68/32", "n3"), ("10.0.0.69/32", "n2"))),
    ),
    (
        "all of them, in a block that is nobody's",
        {"allocations": [0], "attributes": [attribute("n1")]},
        Block("", (("10.0.0.64/32", "n1"),)),
    ),
    (
        "without a node, or without attributes, nobody can be named",
        {"affinity": "host:n1", "allocations": [0, 1, 7, -1], "attributes": [attribute(None)] * 2},
        Block("n1"),
    ),
    (
        "an address beyond the end is none",
        {"affinity": "host:n1", "allocations": [None] * 64 + [0], "attributes": [attribute("n2")]},
        Block("n1"),
    ),
]


@pytest.mark.parametrize(
    ("content", "block"), [c[1:] for c in CONTENTS], ids=[c[0] for c in CONTENTS]
)
def test_contents(content: dict[str, Any], block: Block) -> None:
    """Both ways, as the same fields are in a resource's spec."""
    bare = {"cidr": "10.0.0.64/26", **content}
    expected = ((BlockKey("10.0.0.64/26"), block),)
    assert decode_stored("IPAMBlock", "", "10.0.0.64-26", json.dumps(bare).encode()) == expected
    resource = {
        "apiVersion": "projectcalico.org/v3",
        "kind": "IPAMBlock",
        "metadata": {"name": "10-0-0-64-26"},
        "spec": bare,
    }
    assert decode_manifest(resource).changes == expected


def test_ipv6() -> None:
    bare = {
        "cidr": "fd65::40/122",
        "affinity": "host:n1",
        "allocations": [None, 0],
        "attributes": [attribute("n2")],
    }
    ((key, block),) = decode_stored("IPAMBlock", "", "fd65::40-122", json.dumps(bare).encode())
    assert key == BlockKey("fd65::40/122")
    assert block == Block("n1", (("fd65::41/128", "n2"),))


def test_what_ipam_writes_besides_is_passed_over() -> None:
    raw = b"""{"cidr": "10.0.0.64/26", "affinity": null, "allocations": null, "attributes":
        [{"handle_id": null, "secondary": null, "alternateOwnerAttrs": {"node": "n9"}}],
        "unallocated": [1], "sequenceNumberForAllocation": {"0": 3}, "deleted": false,
        "hostAffinity": "n1", "of tomorrow": {}}"""
    assert decode_stored("IPAMBlock", "", "10.0.0.64-26", raw) == (
        (BlockKey("10.0.0.64/26"), Block()),
    )


BAD = [
    ("no CIDR in the key", "ok", b'{"cidr": "10.0.0.64/26"}'),
    ("host bits in the key", "10.0.0.65-26", b'{"cidr": "10.0.0.64/26"}'),
    ("no length", "10.0.0.64", b'{"cidr": "10.0.0.64"}'),
    ("another block's value", "10.0.0.64-26", b'{"cidr": "10.0.0.128/26"}'),
    ("no CIDR in the value", "10.0.0.64-26", b"{}"),
    ("not JSON", "10.0.0.64-26", b"{"),
    ("not text", "10.0.0.64-26", b'{"cidr": "\xff"}'),
    ("another type", "10.0.0.64-26", b'{"cidr": "10.0.0.64/26", "allocations": ["a"]}'),
    ("nested deeply", "10.0.0.64-26", b'{"x":' * 100_000),
]


@pytest.mark.parametrize(("name", "raw"), [c[1:] for c in BAD], ids=[c[0] for c in BAD])
def test_what_is_no_block_counts_as_absent(name: str, raw: bytes) -> None:
    with pytest.raises(InvalidResourceError):
        decode_stored("IPAMBlock", "", name, raw)
