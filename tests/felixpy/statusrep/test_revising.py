"""What is written into the status of a resource, and what stays to the byte."""

from __future__ import annotations

import pytest

from felixpy.statusrep.conditions import Condition
from felixpy.statusrep.revising import NoResourceError, revised, with_status

NOW = "2026-01-05T00:00:10Z"
NODE = b'{"kind":"Node","spec":{"n": 1.50},"status":%s,"more":[ ]}'
CASES = [
    # status, texts, status then; None: not a byte is another one
    (b'{"a":"1"}', {"a": "2"}, b'{"a":"2"}'),
    (b'{"podCIDRs":["10.0.0.0/24" ],"x":1.50}', {"a": "1"},
     b'{"podCIDRs":["10.0.0.0/24" ],"x":1.50,"a":"1"}'),
    (b'{ "a": "1" }', {"a": "1"}, None),
    (b'{"a":"1","b":"2"}', {"a": ""}, b'{"a":"","b":"2"}'),
    (b'{"b":"2"}', {"a": ""}, None),
    (b'{"b":"2"}', {"a": "", "b": "3"}, b'{"b":"3"}'),
    (b"null", {"a": "1"}, b'{"a":"1"}'),
    (b"null", {"a": ""}, None),
    (b'{"a":7}', {"a": ""}, b'{"a":""}'),
    (b'{"a":null}', {"a": "1"}, b'{"a":"1"}'),
    (b'{"a":"\\u0031"}', {"a": "1"}, None),
]  # fmt: skip


@pytest.mark.parametrize(("status", "texts", "then"), CASES)
def test_texts(status: bytes, texts: dict[str, str], then: bytes | None) -> None:
    expected = NODE % (status if then is None else then)
    assert revised(NODE % status, texts, {}, NOW) == expected
    assert revised(expected, texts, {}, NOW) == expected


def test_conditions_and_texts_are_written_at_once() -> None:
    ready = Condition("True", "KeyInKernel", "it has")
    entry = (
        b'{"type":"T","status":"True","reason":"KeyInKernel","message":"it has",'
        b'"lastTransitionTime":"%s"}' % NOW.encode()
    )
    before = NODE % b'{"x":1.50}'
    after = NODE % (b'{"x":1.50,"a":"1","conditions":[%s]}' % entry)
    assert revised(before, {"a": "1"}, {"T": ready}, NOW) == after
    assert revised(after, {"a": "1"}, {"T": ready}, "later") == after
    assert revised(after, {}, {}, "later") == after
    assert revised(after, {}, {"T": None}, "later") == NODE % b'{"x":1.50,"a":"1"}'


def test_a_resource_without_a_status_is_given_one_for_a_text_alone() -> None:
    made = b'{"kind":"Node","status":{"a":"1"}}'
    assert revised(b'{"kind":"Node"}', {"a": "1"}, {}, NOW) == made
    assert revised(b'{ "kind":"Node"}', {"a": ""}, {"T": None}, NOW) == b'{ "kind":"Node"}'
    assert with_status(b'{"status":1,"b":2 }', b"{}") == b'{"status":{},"b":2}'


NO_TEXT = b'{"status":{"a":"\xff"}}'
NO_TYPE = b'{"status":{"conditions":[{"type":"\xff"}]}}'
NO_RESOURCE = [b"[]", b"{", b"7", b"\xff", b'{"a":' * 100_000, b'{"status":7}', NO_TEXT, NO_TYPE]


@pytest.mark.parametrize("raw", NO_RESOURCE)
def test_what_is_no_resource(raw: bytes) -> None:
    with pytest.raises(NoResourceError, match="what is stored there is"):
        revised(raw, {"a": "1"}, {"T": None}, NOW)
