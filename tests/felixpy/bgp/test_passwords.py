"""What BIRD can be given as a password, and nothing else."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataplane.bird.credentials import Password
from felixpy.bgp import passwords
from felixpy.bgp.passwords import judge, suits_frr

GOOD = [b"x", b"rr secret", b"a" * 80, b"#/* */;{'$%\\", bytes(range(0x23, 0x7F))[:80], b" ", b"!~"]
BAD = [
    # value            what is said
    (b"", passwords.EMPTY),
    (b"secret\n", passwords.ENDS_WITH_NEWLINE),
    (b"secret\r\n", passwords.ENDS_WITH_NEWLINE),
    (b"\n", passwords.ENDS_WITH_NEWLINE),
    (b"a" * 80 + b"\n", passwords.ENDS_WITH_NEWLINE),
    (b"a" * 81, passwords.TOO_LONG),
    (b"a" * 5000, passwords.TOO_LONG),
    ("pässwort".encode(), passwords.NOT_ASCII),
    (b"p\xe4sswort", passwords.NOT_ASCII),
    (b"a\0b", passwords.CONTROL),
    (b"a\tb", passwords.CONTROL),
    (b"a\nb", passwords.CONTROL),
    (b"a\x7fb", passwords.CONTROL),
    (b'x"; import all; #', passwords.QUOTE),
]  # fmt: skip


@pytest.mark.parametrize("value", GOOD)
def test_what_bird_takes_is_taken_as_it_is(value):
    assert judge(value) == Password(value.decode())


@pytest.mark.parametrize(("value", "reason"), BAD)
def test_what_bird_cannot_be_given_is_refused_with_its_reason(value, reason):
    assert judge(value) == reason


@given(st.binary(max_size=100))
def test_a_value_is_taken_whole_or_not_at_all(value):
    allowed = 1 <= len(value) <= 80 and all(0x20 <= b <= 0x7E and b != 0x22 for b in value)
    found = judge(value)
    assert isinstance(found, Password) == allowed
    if isinstance(found, Password):
        assert found.reveal().encode() == value


def test_frr_takes_no_space():
    assert suits_frr(Password("rr-secret"))
    assert not suits_frr(Password("rr secret"))
