"""Ours among the conditions of a resource, and everybody else's to the byte."""

from __future__ import annotations

import re

import pytest

from felixpy.statusrep.conditions import Condition, rfc3339_now, with_conditions

THEN, NOW = "2026-01-05T00:00:00Z", "2026-01-05T00:00:10Z"
UP = Condition("True", "Has", "it has")
DOWN = Condition("False", "Lacks", "it has not")
OTHER = b'{ "type":"Ready","status":"Unknown","n":1.50}'
ODD = b'7,null,{"type":9}'


def entry(condition: Condition, moment: str = THEN, kind: str = "T", more: str = "") -> bytes:
    status, reason, message = condition.status, condition.reason, condition.message
    return (
        f'{{"type":"{kind}","status":"{status}","reason":"{reason}","message":"{message}",'
        f'"lastTransitionTime":"{moment}"{more}}}'
    ).encode()


def listed(*entries: bytes) -> bytes:
    return b"[" + b",".join(entries) + b"]"


Wanted = dict[str, Condition | None]
CASES: dict[str, tuple[bytes, Wanted, bytes | None]] = {
    "the first": (b"", {"T": UP}, listed(entry(UP, NOW))),
    "none wanted": (b"", {"T": None}, b""),
    "behind others": (listed(OTHER), {"T": UP}, listed(OTHER, entry(UP, NOW))),
    "the same": (listed(OTHER, entry(UP)), {"T": UP}, listed(OTHER, entry(UP))),
    "the same in other words": (
        b'[ {"type": "T", "status":"True","reason":"Has","message":"it h\\u0061s",'
        b'"lastTransitionTime":"x"} ]',
        {"T": UP, "U": None},
        b'[ {"type": "T", "status":"True","reason":"Has","message":"it h\\u0061s",'
        b'"lastTransitionTime":"x"} ]',
    ),
    "a transition": (
        listed(entry(UP, more=',"x":1.50'), OTHER),
        {"T": DOWN},
        listed(entry(DOWN, NOW, more=',"x":1.50'), OTHER),
    ),
    "other words only": (
        listed(entry(UP)),
        {"T": Condition("True", "Has", "it still has")},
        listed(entry(Condition("True", "Has", "it still has"))),
    ),
    "no time": (
        b'[{"type":"T","status":"True","reason":"Has","message":"it has"}]',
        {"T": UP},
        listed(entry(UP, NOW)),
    ),
    "gone, of several": (listed(OTHER, entry(UP)), {"T": None}, listed(OTHER)),
    "gone, the last": (listed(entry(UP)), {"T": None}, None),
    "there twice": (listed(entry(UP), OTHER, entry(DOWN)), {"T": UP}, listed(entry(UP), OTHER)),
    "nobody's word on it": (listed(entry(UP)), {}, listed(entry(UP))),
    "somebody's empty list": (b"[ ]", {"T": None}, b"[ ]"),
    "two": (
        listed(entry(UP, kind="U")),
        {"T": UP, "U": DOWN},
        listed(entry(DOWN, NOW, "U"), entry(UP, NOW)),
    ),
    "odd neighbours": (listed(ODD), {"T": UP}, listed(ODD, entry(UP, NOW))),
    "no list": (b'"?"', {"T": UP}, listed(entry(UP, NOW))),
    "no list and none wanted": (b"null", {"T": None}, b"null"),
    "fields of another kind": (
        b'[{"type":"T","status":true,"reason":1,"message":null,"lastTransitionTime":[]}]',
        {"T": UP},
        listed(entry(UP, NOW)),
    ),
}


@pytest.mark.parametrize(("stored", "wanted", "after"), CASES.values(), ids=CASES)
def test_what_becomes_of_the_list(stored: bytes, wanted: Wanted, after: bytes | None) -> None:
    assert with_conditions(stored, wanted, NOW) == after
    assert with_conditions(after or b"", wanted, "later") == (after or b"")


def test_the_time_is_as_kubernetes_writes_it() -> None:
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", rfc3339_now())
