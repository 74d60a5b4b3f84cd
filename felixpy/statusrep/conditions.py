"""Conditions in the status of a resource, in Kubernetes' shape: a list in which each type is once.

in   the list as it is stored, and what ours are to say
out  the list with these; everybody else's stay to the byte, in their order

Source: Kubernetes, apimachinery/pkg/apis/meta/v1/types.go, Condition.
"""

from __future__ import annotations

import datetime
from collections.abc import Iterator, Mapping
from typing import Final, Literal

import msgspec
from msgspec import Struct

_LIST: Final = msgspec.json.Decoder(list[msgspec.Raw])
_FIELDS: Final = msgspec.json.Decoder(dict[str, msgspec.Raw])


class Condition(Struct, frozen=True):
    """`reason` is one CamelCase word, for programs; `message` is for people."""

    status: Literal["True", "False"]
    reason: str
    message: str


def rfc3339_now() -> str:
    """Now, as Kubernetes writes it: "2026-01-05T00:00:10Z"."""
    return datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def with_conditions(
    stored: bytes, wanted: Mapping[str, Condition | None], moment: str
) -> bytes | None:
    """`wanted` by type; None: that type is to be absent.  `stored` is b"" where there is no list.

    `moment` (RFC 3339) is that of a transition, if there is one.  The very same bytes where nothing
    changes; None if there is to be no list any more.
    """
    before = _entries(stored)
    missing = dict(wanted)
    after: list[msgspec.Raw] = []
    for raw in before:
        fields = _fields(raw)
        kind = _text(fields, "type")
        if kind not in wanted:
            after.append(raw)
        elif condition := missing.pop(kind, None):  # one that is there twice is there once then
            after.append(_revised(raw, fields, condition, moment))
    after += [_made(kind, each, moment) for kind, each in missing.items() if each is not None]
    if [*map(bytes, before)] == [*map(bytes, after)]:
        return stored
    return msgspec.json.encode(after) if after else None


def _made(kind: str, condition: Condition, moment: str) -> msgspec.Raw:
    named = dict(_named(condition))
    fields = {"type": kind, **named, "lastTransitionTime": moment}
    return msgspec.Raw(msgspec.json.encode(fields))


def _revised(
    raw: msgspec.Raw, fields: Mapping[str, msgspec.Raw], condition: Condition, moment: str
) -> msgspec.Raw:
    """With its other fields; the time is that of the last change of `status` alone."""
    changed = {name: text for name, text in _named(condition) if text != _text(fields, name)}
    if "status" in changed or not _text(fields, "lastTransitionTime"):
        changed["lastTransitionTime"] = moment
    return msgspec.Raw(msgspec.json.encode({**fields, **changed})) if changed else raw


def _named(condition: Condition) -> Iterator[tuple[str, str]]:
    yield "status", condition.status
    yield "reason", condition.reason
    yield "message", condition.message


def _entries(stored: bytes) -> list[msgspec.Raw]:
    """None where there is no list, or something else."""
    try:
        return _LIST.decode(stored)
    except msgspec.DecodeError:
        return []


def _fields(raw: msgspec.Raw) -> dict[str, msgspec.Raw]:
    """None of what is no condition."""
    try:
        return _FIELDS.decode(raw)
    except msgspec.DecodeError:
        return {}


def _text(fields: Mapping[str, msgspec.Raw], name: str) -> str:
    """ "" for what is not there, or no text."""
    found = msgspec.json.decode(fields[name]) if name in fields else ""
    return found if isinstance(found, str) else ""
