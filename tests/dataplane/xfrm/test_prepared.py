"""Prepared requests are those of `requests`, byte for byte, and leave no key behind."""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataplane.xfrm import constants, prepared, requests
from dataplane.xfrm.attributes import Algorithm, Mark, Template
from dataplane.xfrm.packed import PackedMessage

WORDS = st.integers(0, 0xFFFFFFFF)
PORTS = st.sampled_from([0, 1, 179, 0xFFFF])
MARKS = st.none() | st.builds(Mark, WORDS, WORDS)
KEYS = st.binary(min_size=1, max_size=64)
NAMES = st.sampled_from(["rfc4106(gcm(aes))", "hmac(sha256)", "cbc(aes)"])
BITS = st.sampled_from([64, 96, 128, 256])


@st.composite
def ends(draw: st.DrawFn) -> dict[str, str]:
    addresses = draw(st.sampled_from([st.ip_addresses(v=4), st.ip_addresses(v=6)]))
    address = addresses.map(str)
    return {"src": draw(address), "dst": draw(address)}


@st.composite
def nets(draw: st.DrawFn) -> dict[str, str]:
    found = draw(ends())
    bits = st.integers(0, 128 if ":" in found["dst"] else 32)
    return {name: f"{address}/{draw(bits)}" for name, address in found.items()}


def octets(request: PackedMessage) -> bytes:
    request.encode()
    return bytes(request.data)


def written(write: Callable[..., int], *what: Any, **fields: Any) -> bytes:
    """What it leaves in a buffer, between what was there before."""
    data = bytearray(b"\xaa" * 4096)
    end = write(memoryview(data), 4, *what, **fields)
    assert set(data[:4] + data[end:]) == {0xAA}
    return bytes(data[4:end])


def add_state(
    buffer: memoryview, start: int, *, src: str, dst: str, spi: int, **fields: Any
) -> int:
    """By a form that was made with another state's keys."""
    keys = {kind: fields[kind].key for kind in ("aead", "auth", "crypt") if kind in fields}
    others = {
        kind: Algorithm(fields[kind].name, b"\xbb" * len(key), fields[kind].bits)
        for kind, key in keys.items()
    }
    form = prepared.StateForm(dst, **fields | others)
    return form.write(buffer, start, src, dst, spi, keys.values())


@st.composite
def states(draw: st.DrawFn) -> dict[str, Any]:
    """Of all shapes: AEAD, or two algorithms, or none; counted in either way; marking or not."""
    kinds = draw(st.sampled_from([("aead",), ("auth", "crypt"), ("auth",), ()]))
    algorithms = {
        kind: Algorithm(draw(NAMES), draw(KEYS), 0 if kind == "crypt" else draw(BITS))
        for kind in kinds
    }
    return {
        **draw(ends()),
        **algorithms,
        "spi": draw(WORDS),
        "reqid": draw(WORDS),
        "set_mark": draw(MARKS),
        "esn": draw(st.booleans()),
        "replay_window": draw(st.sampled_from([0, 32, 128])),
        "soft_packets": draw(st.sampled_from([0, 1, 1 << 31])),
    }


@given(states())
def test_states_to_add(fields):
    assert written(add_state, **fields) == octets(requests.state("add", **fields))


@given(ends(), WORDS)
def test_states_to_delete(names, spi):
    slow = requests.state("delete", dst=names["dst"], spi=spi)
    assert written(prepared.delete_state, dst=names["dst"], spi=spi) == octets(slow)


@given(
    command=st.sampled_from(["add", "update", "delete"]),
    selector=nets(),
    more=st.fixed_dictionaries(
        {"proto": st.sampled_from([0, 6, 17]), "sport": PORTS, "dport": PORTS}
    ),
    tunnel=st.none() | ends(),
    spi=WORDS,
    reqid=WORDS,
    optional=st.booleans(),
    mark=MARKS,
    direction=st.sampled_from([0, 1, 2]),
    numbers=st.fixed_dictionaries(
        {"priority": WORDS, "action": st.sampled_from([0, 1]), "index": WORDS}
    ),
)
def test_policies(command, selector, more, tunnel, spi, reqid, optional, mark, direction, numbers):
    named = {"direction": direction, "mark": mark, **selector, **more}
    fast = {
        "direction": direction,
        "selector": prepared.selector(**selector, **more),
        "attributes": b"" if mark is None else prepared.mark(*mark),
    }
    if command == "delete":
        assert written(prepared.delete_policy, **fast) == octets(requests.policy("delete", **named))
        return
    templates = ()
    if tunnel is not None:
        templates = (
            Template(
                requests.address(tunnel["dst"]),
                requests.address(tunnel["src"]),
                requests.family_of(tunnel["dst"]),
                spi,
                reqid=reqid,
                optional=int(optional),
            ),
        )
        asked = prepared.tunnel(**tunnel, spi=spi, optional=optional, reqid=reqid)
        fast["attributes"] = asked + fast["attributes"]
    numbered = dict(numbers)
    index = numbered.pop("index")
    slow = requests.policy(command, **named, **numbered, templates=templates)
    slow["index"] = index
    assert written(prepared.put_policy, command, **fast, **numbers) == octets(slow)


@pytest.mark.parametrize("missing", [1, 4, 20, 300])
def test_a_buffer_that_is_too_short(missing):
    fields = {"src": "10.0.0.1", "dst": "10.0.0.2", "spi": 5, "reqid": 1}
    fields["aead"] = Algorithm("rfc4106(gcm(aes))", bytes(20), 128)
    size = len(written(add_state, **fields))
    with pytest.raises((ValueError, struct.error)):
        add_state(memoryview(bytearray(size - missing)), 0, **fields)


def test_a_key_is_taken_from_where_it_is_and_nowhere_kept():
    """Once that is overwritten there is none."""
    key = bytearray(b"a secret of twenty b")
    algorithm = Algorithm("rfc4106(gcm(aes))", memoryview(key), 128)
    fields = {"src": "10.0.0.1", "dst": "10.0.0.2", "spi": 5, "reqid": 1, "aead": algorithm}
    assert b"a secret" in written(add_state, **fields)
    key[:] = bytes(20)
    assert b"secret" not in written(add_state, **fields)
    assert written(add_state, **fields)[4] == constants.XFRM_MSG_NEWSA
