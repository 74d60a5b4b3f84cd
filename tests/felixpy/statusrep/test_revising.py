"""What is written into the status of a resource, and what stays to the byte."""

from __future__ import annotations

import pytest

from felixpy.statusrep.revising import NoResourceError, with_status, with_texts

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
    assert with_texts(NODE % status, texts) == expected
    assert with_texts(expected, texts) == expected


def test_a_resource_without_a_status_is_given_one_for_a_text_alone() -> None:
    assert with_texts(b'{"kind":"Node"}', {"a": "1"}) == b'{"kind":"Node","status":{"a":"1"}}'
    assert with_texts(b'{ "kind":"Node"}', {"a": ""}) == b'{ "kind":"Node"}'
    assert with_status(b'{"status":1,"b":2 }', b"{}") == b'{"status":{},"b":2}'


@pytest.mark.parametrize("raw", [b"[]", b"{", b"7", b"\xff", b'{"a":' * 100_000, b'{"status":7}'])
def test_what_is_no_resource(raw: bytes) -> None:
    with pytest.raises(NoResourceError, match="what is stored there is"):
        with_texts(raw, {"a": "1"})
