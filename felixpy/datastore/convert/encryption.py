"""The annotation that asks for encryption, on policies and pools.

in   annotations of a resource; or bytes that etcd holds, and that were refused
out  whether what the resource is about leaves the node encrypted, or not at all

There is one value.  Any other is a mistake of somebody who wants encryption: in a manifest it is
refused, and what is stored counts as if it were the right one, so that a misspelling opens nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import msgspec

from felixpy.datastore.convert.subject import Subject
from felixpy.datastore.errors import InvalidResourceError, suggestion

ANNOTATION: Final = "encryption"
REQUIRED: Final = "required"
_PATH: Final = ("metadata", "annotations", ANNOTATION)


def is_required(annotations: Mapping[str, str]) -> bool:
    """Raises InvalidResourceError for any value but the one that there is."""
    value = annotations.get(ANNOTATION)
    if value is None:
        return False
    if value != REQUIRED:
        hint = suggestion(value, (REQUIRED,))
        raise InvalidResourceError(f"must be {REQUIRED}, not {value!r}{hint}", _PATH)
    return True


def is_encrypted(subject: Subject) -> bool:
    """As `is_required`, of a resource with metadata."""
    return is_required(subject.body.metadata.annotations)


def read_as_required(json_bytes: bytes) -> bytes | None:
    """A stored resource with the right value for its wrong one; None: that is not what is wrong."""
    if ANNOTATION.encode() not in json_bytes:
        return None
    try:
        document = msgspec.json.decode(json_bytes)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    found = document
    for step in _PATH[:-1]:
        found = found.get(step) if isinstance(found, dict) else None
    if not isinstance(found, dict) or found.get(ANNOTATION) in (None, REQUIRED):
        return None
    found[ANNOTATION] = REQUIRED
    return msgspec.json.encode(document)
