"""Documents to what they mean to the graph, or the reason why they mean nothing.

    in   one parsed YAML or JSON document; or a key and the bytes that etcd holds under it
    out  Resource: identity, and pairs of model key and value; or InvalidResourceError

    document -> types -> defaults -> validation -> convert    decode_manifest, decode_documents
    bytes    -> types ----> validation of some --> convert    decode_stored

A manifest never went through a client, so it gets what a client would have done: every field must
be known, defaults are filled in, all of v3's rules hold.  What is stored went through one:
unknown fields are ignored, and only what the agent must not act on is refused, which the
conversion does itself.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import msgspec
from msgspec import Struct

from felixpy.datastore import builtin
from felixpy.datastore.convert import convert
from felixpy.datastore.convert.encryption import read_as_required
from felixpy.datastore.convert.ipam import decode_stored_affinity, decode_stored_block
from felixpy.datastore.convert.mesh_password import protected_mesh
from felixpy.datastore.convert.subject import Changes, Subject, at
from felixpy.datastore.defaults import identity, original_name, with_defaults
from felixpy.datastore.errors import InvalidResourceError, suggestion
from felixpy.datastore.resources import KINDS, Body, Kind
from felixpy.datastore.resources.names import is_stored_name
from felixpy.datastore.validation import check, check_metadata
from felixpy.datastore.validation.shape import explain, tidy

__all__ = [
    "InvalidResourceError",
    "Resource",
    "decode_documents",
    "decode_manifest",
    "decode_stored",
    "remainder",
]

# Felix hands these on as they are, and looks at them as v3 resources when it does.
_READ_WHOLE = frozenset(
    {"Node", "BGPConfiguration", "BGPPeer", "BGPFilter", "CalicoNodeStatus", "LiveMigration"}
)

_MAY_BE_ENCRYPTED = frozenset(
    {
        "NetworkPolicy",
        "GlobalNetworkPolicy",
        "StagedNetworkPolicy",
        "StagedGlobalNetworkPolicy",
        "StagedKubernetesNetworkPolicy",
        "IPPool",
    }
)


class Resource(Struct, frozen=True):
    """`kind`, `namespace` and `name` say which it is: two documents with the same are in conflict.

    `namespace` is "" for global kinds.  `changes` is empty for what means nothing to the graph.
    """

    kind: str
    namespace: str
    name: str
    changes: Changes = ()


def decode_documents(document: object) -> list[Resource]:
    """One document, which may be a list of resources, as kubectl and calicoctl print them.

    Raises InvalidResourceError, its path from the top of the document: ("items", 0, "spec", ...).
    """
    if isinstance(document, list):
        return _decode_items(document, {}, ())
    if isinstance(document, dict) and _is_list(document):
        items = document.get("items")
        if items is None:
            items = []
        if not isinstance(items, list):
            raise InvalidResourceError("must be a list", ("items",))
        unknown = next((name for name in document if name not in _LIST_FIELDS), None)
        if unknown is not None:
            hint = suggestion(str(unknown), _LIST_FIELDS)
            raise InvalidResourceError(f"unknown field {unknown!r}{hint}", (str(unknown),))
        return _decode_items(items, _implied(document), ("items",))
    return [decode_manifest(document)]


_LIST_FIELDS = ("apiVersion", "kind", "metadata", "items")


def _is_list(document: dict[Any, Any]) -> bool:
    kind = document.get("kind")
    return (
        isinstance(kind, str)
        and (kind == "List" or kind.removesuffix("List") in KINDS)
        and (kind.endswith("List"))
    )


def _implied(document: dict[Any, Any]) -> dict[str, Any]:
    """The items of a list of one kind may leave out what the list's own head says."""
    kind = document["kind"].removesuffix("List")
    return {"apiVersion": document.get("apiVersion"), "kind": kind} if kind else {}


def _decode_items(
    items: list[Any], implied: dict[str, Any], outer: tuple[str, ...]
) -> list[Resource]:
    decoded = []
    for index, item in enumerate(items):
        with at(*outer, index):
            decoded.append(decode_manifest({**implied, **item} if isinstance(item, dict) else item))
    return decoded


def decode_manifest(document: object) -> Resource:
    """One resource as its author wrote it.

    Raises InvalidResourceError, its path from the top of the document.
    """
    if not isinstance(document, dict):
        raise InvalidResourceError("a resource is a map with apiVersion, kind and metadata")
    kind = _kind_of(document)
    body = _to_body(document, kind)
    namespace, name = identity(kind, body)
    body = with_defaults(body, namespace, name)
    with at("metadata"):
        check_metadata(kind.name, body.metadata)
    check(body, schema=True)
    changes = convert(Subject(kind.name, namespace, name, body))
    if kind.name == "Profile" and name == builtin.DEFAULT_ALLOW:
        changes = _unchanged_builtin(changes)
    return Resource(kind.name, namespace, name, changes)


def _kind_of(document: dict[Any, Any]) -> Kind:
    name = document.get("kind")
    if not isinstance(name, str) or not name:
        raise InvalidResourceError("must be given", ("kind",))
    kind = KINDS.get(name)
    if kind is None:
        raise InvalidResourceError(f"unknown kind {name!r}{suggestion(name, KINDS)}", ("kind",))
    version = document.get("apiVersion")
    if version != kind.api_version:
        raise InvalidResourceError(
            f"must be {kind.api_version!r} for a {name}, not {version!r}", ("apiVersion",)
        )
    return kind


def _to_body(document: dict[Any, Any], kind: Kind) -> Body:
    try:
        return _convert(document, kind)
    except InvalidResourceError:
        tidied = tidy(document, kind.type, stored=False)
        if tidied == document:
            raise
    return _convert(tidied, kind)


def _convert(document: Any, kind: Kind) -> Body:
    try:
        return msgspec.convert(document, kind.type)
    except msgspec.ValidationError as error:
        raise explain(error, kind.type) from None
    except UnicodeEncodeError:
        raise InvalidResourceError("a text in it holds half a surrogate pair") from None


def _unchanged_builtin(changes: Changes) -> Changes:
    """Printed along with the others, so it may be in a file; but it is what it is."""
    if changes != (builtin.DEFAULT_ALLOW_PROFILE,):
        raise InvalidResourceError("this profile is built in and cannot be changed", ("spec",))
    return ()


def decode_stored(kind: str, namespace: str, name: str, json_bytes: bytes) -> Changes:
    """What etcd holds under the key of a resource; the key's names count, not those in the value.

    A BlockAffinity has its node for a namespace.  Raises InvalidResourceError: the resource counts
    as absent, or as what `remainder` leaves of it.
    """
    known = KINDS.get(kind)
    if known is None:
        raise InvalidResourceError(f"unknown kind {kind!r}", ("kind",))
    if kind == "Profile" and name == builtin.DEFAULT_ALLOW:
        return ()  # it is built in, whatever is stored under its name
    if kind == "IPAMBlock":
        return decode_stored_block(name, json_bytes)
    if kind == "BlockAffinity":
        return decode_stored_affinity(namespace, name, json_bytes)
    for part, path in ((namespace, "namespace"), (name, "name")):
        if part and not is_stored_name(part):
            raise InvalidResourceError(f"{part!r} is no name", ("metadata", path))
    body = _stored_body(json_bytes, known)
    original_name(kind, body.metadata)  # unreadable there, unreadable everywhere
    if _is_read_whole(kind, name):
        check(body, schema=False)
    return convert(Subject(kind, namespace, name, body))


def remainder(kind: str, namespace: str, name: str, json_bytes: bytes) -> Changes:
    """What still counts of something stored that `decode_stored` refuses.

    A mesh that has a password keeps it; what asks for encryption in words that there are not is
    encrypted, if it can be used but for that.
    """
    if kind == "BGPConfiguration":
        return protected_mesh(name, json_bytes)
    encrypted = read_as_required(json_bytes) if kind in _MAY_BE_ENCRYPTED else None
    if encrypted is None:
        return ()
    try:
        return decode_stored(kind, namespace, name, encrypted)
    except InvalidResourceError:
        return ()


def _is_read_whole(kind: str, name: str) -> bool:
    """Those of the cluster and of a node are taken apart: one bad parameter spoils no other."""
    if kind == "FelixConfiguration":
        return name != "default" and not name.startswith("node.")
    return kind in _READ_WHOLE


def _stored_body(json_bytes: bytes, kind: Kind) -> Body:
    try:
        try:
            return _decoder(kind.type).decode(json_bytes)
        except msgspec.ValidationError:  # a field that we do not know, or null: the slow way round
            document = msgspec.json.decode(json_bytes)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise InvalidResourceError(f"not JSON: {error}") from None
    except RecursionError:
        raise InvalidResourceError("nested too deeply") from None
    return _convert(tidy(document, kind.type, stored=True), kind)


@cache
def _decoder(kind: type[Body]) -> msgspec.json.Decoder[Body]:
    return msgspec.json.Decoder(kind)
