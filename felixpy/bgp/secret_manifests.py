"""The text of a manifest file to the Secrets in it.

    in   YAML or JSON text, one or more documents, which may be lists of Secrets; who judges what
         stands under a key, BGP's passwords unless said otherwise
    out  the v1 Secrets with what each key holds: Password, or why it is none
         ManifestError where the text as a whole cannot be read

The decoder of the other resources says what it met where it expected something else.  Here that
could be a password, so this one says where something is wrong and what it had expected, and quotes
nothing but the names of Secrets and keys.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Final, TypeAlias

from msgspec import Struct

from dataplane.bird.credentials import Password
from felixpy.bgp.passwords import judge
from felixpy.datastore import json_documents, yaml_documents
from felixpy.datastore.errors import suggestion
from felixpy.datastore.resources.names import is_name
from felixpy.datastore.yaml_documents import Document, Tree, YamlError

Values: TypeAlias = Mapping[str, Password | str]
Judge: TypeAlias = Callable[[bytes], Password | str]  # the value, or why it is none

_FIELDS: Final = ("apiVersion", "kind", "metadata", "type", "immutable", "data", "stringData")
# validation.IsConfigMapKey of k8s.io/apimachinery
_KEY: Final = re.compile(r"[-._a-zA-Z0-9]{1,253}")
# Go's base64, which reads Secrets in Kubernetes, passes over the ends of lines
_LINE_ENDS: Final = str.maketrans("", "", "\r\n")


class ManifestError(Exception):
    """The text is no manifest; the message holds nothing of it."""


class SecretManifest(Struct, frozen=True):
    """One Secret as it is written; `line` is where its document starts, from 1.

    namespace  "" where none is given
    wrong      why nothing in it can be used; `values` is empty then
    """

    name: str
    namespace: str
    line: int
    values: Values = {}
    wrong: str = ""


class ManifestText(Struct, frozen=True):
    """`strange`: what else is in the text and means nothing, as texts for people."""

    secrets: tuple[SecretManifest, ...]
    strange: tuple[str, ...] = ()


def read_secrets(text: str, *, is_json: bool, judged: Judge = judge) -> ManifestText:
    """Raises ManifestError."""
    read = json_documents.read_documents if is_json else yaml_documents.read_documents
    try:
        documents = read(text)
    except YamlError as error:
        place = f": line {error.line}, column {error.column}" if error.line else ""
        # the reader's own words may quote what it met
        language = "JSON" if is_json else "YAML"
        raise ManifestError(f"is not valid {language}{place}") from None
    secrets: list[SecretManifest] = []
    strange: list[str] = []
    for document in documents:
        for tree in _resources(document):
            found = _secret(tree, document.line, judged)
            if isinstance(found, str):
                strange.append(f"line {document.line}: {found}")
            else:
                secrets.append(found)
    return ManifestText(tuple(secrets), tuple(strange))


def _resources(document: Document) -> Iterator[Tree]:
    """What kubectl prints as a list is one document with many resources."""
    tree = document.tree
    items = tree.get("items") if isinstance(tree, dict) else None
    if isinstance(tree, dict) and tree.get("kind") in ("List", "SecretList"):
        implied = {"apiVersion": "v1", "kind": "Secret"} if tree["kind"] == "SecretList" else {}
        for item in items if isinstance(items, list) else ():
            yield {**implied, **item} if isinstance(item, dict) else item
    else:
        yield tree


def _secret(tree: Tree, line: int, judged: Judge) -> SecretManifest | str:
    if not isinstance(tree, dict) or (tree.get("apiVersion"), tree.get("kind")) != ("v1", "Secret"):
        return "not a v1 Secret: it counts for nothing"
    metadata = tree.get("metadata")
    if not isinstance(metadata, dict):
        metadata = {}
    name = metadata.get("name")
    if not isinstance(name, str) or not is_name(name):
        return "a Secret without a proper name: it counts for nothing"
    namespace = metadata.get("namespace") or ""
    if not isinstance(namespace, str):
        return f"Secret {name}: its namespace is no text: it counts for nothing"
    for field in tree:
        if field not in _FIELDS:
            hint = suggestion(str(field), _FIELDS)
            wrong = f"has a field that a Secret does not have{hint}"
            return SecretManifest(name, namespace, line, wrong=wrong)
    data, plain = tree.get("data") or {}, tree.get("stringData") or {}
    for field, values in (("data", data), ("stringData", plain)):
        if not isinstance(values, dict):
            return SecretManifest(name, namespace, line, wrong=f"its {field} is not a map")
        if not all(_KEY.fullmatch(key) for key in values):
            return SecretManifest(name, namespace, line, wrong=f"its {field} has an improper key")
    # stringData wins, as where the API server writes it into data
    encoded = {key: _of_base64(value, judged) for key, value in data.items()}
    written = {key: _of_text(value, judged) for key, value in plain.items()}
    return SecretManifest(name, namespace, line, encoded | written)


def _of_base64(value: Tree, judged: Judge) -> Password | str:
    if not isinstance(value, str):
        return "is not text: what stands under data must be base64"
    try:
        return judged(base64.b64decode(value.translate(_LINE_ENDS), validate=True))
    except (binascii.Error, ValueError):
        return "is not base64: what is plain belongs under stringData"


def _of_text(value: Tree, judged: Judge) -> Password | str:
    if not isinstance(value, str):
        return "is not text: put it in quotes"
    return judged(value.encode("utf-8", "surrogatepass"))
