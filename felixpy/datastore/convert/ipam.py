"""Blocks of addresses: whose they are, and who else holds an address in them.

    in   an IPAMBlock or BlockAffinity from a manifest, or what IPAM itself writes to etcd
    out  a Block, whatever else there is to say about its addresses left out; or a BlockAffinity

etcd holds both bare, without what a resource has around its spec, and by their CIDR.  A cluster
has a block for every 64 endpoints or so, rewritten with each address that is given out, so of the
JSON no more is decoded than is needed.
Source: projectcalico/calico libcalico-go/lib/backend/model/block.go and block_affinity.go.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from sys import intern
from typing import Final, TypeVar

import msgspec
from msgspec import Struct

from calc_graph.bgp.resources import AffinityState, BlockAffinity, BlockAffinityKey
from calc_graph.model import Block, BlockKey
from felixpy.datastore.convert.bgp_values import choose
from felixpy.datastore.convert.subject import Changes, Subject
from felixpy.datastore.errors import InvalidResourceError
from felixpy.datastore.resources import ipam
from felixpy.datastore.resources.addresses import Address, Net, parse_net
from felixpy.datastore.resources.names import is_stored_name

_AFFINITIES = ("host", "virtual")  # before the colon; routes treat a virtual node as any other
_BYTES = {4: 4, 6: 16}
# a value from before there were states, or from whoever has no need of one
_STATES: Final[dict[str, AffinityState]] = {
    "": "confirmed",
    "confirmed": "confirmed",
    "pending": "pending",
    "pendingDeletion": "pendingDeletion",
}


class _Owner(Struct, frozen=True):
    node: str | None = None


class _StoredAttribute(Struct, frozen=True):
    secondary: _Owner | None = None


class _StoredBlock(Struct, frozen=True):
    cidr: str
    affinity: str | None = None
    allocations: list[int | None] | None = None
    attributes: list[_StoredAttribute] | None = None


class _StoredAffinity(Struct, frozen=True):
    state: str | None = None
    deleted: bool = False


_Stored = TypeVar("_Stored")
_DECODER = msgspec.json.Decoder(_StoredBlock)
_AFFINITY_DECODER = msgspec.json.Decoder(_StoredAffinity)


def convert_block(subject: Subject) -> Changes:
    spec: ipam.IpamBlockSpec = subject.spec
    net = _net(spec.cidr, "spec", "cidr")
    nodes = [attribute.secondary.get("node") for attribute in spec.attributes]
    return _changes(net, spec.affinity, spec.allocations, nodes)


def decode_stored_block(name: str, json_bytes: bytes) -> Changes:
    """`name` ends the key: the CIDR, with a dash before the length.

    Raises InvalidResourceError.
    """
    net = _net(name.replace("-", "/", 1), "metadata", "name")
    stored = _decoded(_DECODER, json_bytes, "block")
    if _net(stored.cidr, "cidr") != net:
        raise InvalidResourceError(f"must be the CIDR of its key, not {stored.cidr!r}", ("cidr",))
    owners = [attribute.secondary for attribute in stored.attributes or ()]
    nodes = [owner.node if owner else None for owner in owners]
    return _changes(net, stored.affinity, stored.allocations or (), nodes)


def convert_affinity(subject: Subject) -> Changes:
    """Those of virtual nodes belong to no host, and are announced by none."""
    spec: ipam.BlockAffinitySpec = subject.spec
    if spec.type == "virtual":
        return ()
    choose({"": None, "host": None}, spec.type, "spec", "type")
    net = _net(spec.cidr, "spec", "cidr")
    if not spec.node:
        raise InvalidResourceError("must be given", ("spec", "node"))
    return _affinity(spec.node, net, spec.state, ("spec", "state"), deleted=spec.deleted)


def decode_stored_affinity(host: str, name: str, json_bytes: bytes) -> Changes:
    """`host` and `name` are of the key; the value may be empty.

    Raises InvalidResourceError.
    """
    net = _net(name.replace("-", "/", 1), "metadata", "name")
    if not json_bytes.strip():
        return _affinity(host, net, "", ("state",), deleted=False)
    stored = _decoded(_AFFINITY_DECODER, json_bytes, "block affinity")
    return _affinity(host, net, stored.state or "", ("state",), deleted=stored.deleted)


def _affinity(host: str, net: Net, state: str, path: tuple[str, ...], *, deleted: bool) -> Changes:
    if not is_stored_name(host):
        raise InvalidResourceError(f"{host!r} is no name of a node")
    found = choose(_STATES, state, *path)
    if deleted:
        return ()
    return ((BlockAffinityKey(intern(host), net.network), BlockAffinity(found)),)


def _decoded(decoder: msgspec.json.Decoder[_Stored], json_bytes: bytes, what: str) -> _Stored:
    try:
        return decoder.decode(json_bytes)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise InvalidResourceError(f"not a {what}: {error}") from None
    except RecursionError:
        raise InvalidResourceError("nested too deeply") from None


def _net(text: str, *path: str) -> Net:
    net = parse_net(text)
    if net is None or net.exact or not net.masked:
        raise InvalidResourceError(
            f"must be a CIDR with a length and without host bits, not {text!r}", path
        )
    return net


def _changes(
    net: Net,
    affinity: str | None,
    allocations: Sequence[int | None],
    nodes: Sequence[str | None],
) -> Changes:
    """`allocations` has an index of `nodes` for each address that is given out."""
    kind, _, host = (affinity or "").partition(":")
    host = intern(host) if kind in _AFFINITIES else ""
    others = tuple(
        (_address(net, ordinal), intern(node))
        for ordinal, node in _given_out(allocations, nodes)
        if node != host and ordinal < 1 << (_BYTES[net.version] * 8 - net.length)
    )
    return ((BlockKey(net.network), Block(host, others)),)


def _given_out(
    allocations: Sequence[int | None], nodes: Sequence[str | None]
) -> Iterator[tuple[int, str]]:
    """Addresses by their place in the block, to nodes.

    An address for which IPAM has noted no node leads nowhere else than the block does.
    """
    for ordinal, index in enumerate(allocations):
        if index is not None and 0 <= index < len(nodes):
            node = nodes[index]
            if node:
                yield ordinal, node


def _address(net: Net, ordinal: int) -> str:
    count = _BYTES[net.version]
    packed = (net.first + ordinal).to_bytes(count, "big")
    return f"{Address(net.version, packed).text}/{count * 8}"
