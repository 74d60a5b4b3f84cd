"""Scalars mean what kubectl and calicoctl take them for."""

import pytest

from felixpy.datastore.yaml_scalars import NotFiniteError, parse_plain

CASES = [
    # text         value
    ("", None),
    ("~", None),
    ("null", None),
    ("Null", None),
    ("nULL", "nULL"),
    ("true", True),
    ("True", True),
    ("tRUE", "tRUE"),
    ("yes", True),
    ("on", True),
    ("off", False),
    ("n", False),
    ("Ingress", "Ingress"),
    ("0", 0),
    ("-0", 0),
    ("80", 80),
    ("+1", 1),
    ("-12", -12),
    ("1_000", 1000),
    ("0x1F", 31),
    ("-0x1F", -31),
    ("0b101", 5),
    ("0777", 511),
    ("0o17", 15),
    ("089", 89),
    ("1e3", 1000),
    ("80.0", 80),
    ("1.5", 1.5),
    (".5", 0.5),
    ("-1.5e-3", -0.0015),
    ("1e30", 1e30),
    ("8000:8080", "8000:8080"),
    ("22:30", "22:30"),
    ("190:20:30", "190:20:30"),
    ("2001-01-01", "2001-01-01"),
    ("2001-12-14t21:59:43.10-05:00", "2001-12-14t21:59:43.10-05:00"),
    ("10.65.0.1", "10.65.0.1"),
    ("10.65.0.0/24", "10.65.0.0/24"),
    ("fd65::/64", "fd65::/64"),
    ("=", "="),
    ("-", "-"),
    (".", "."),
    ("0x", "0x"),
    ("1e", "1e"),
    ("9" * 65, "9" * 65),
]


@pytest.mark.parametrize(("text", "value"), CASES, ids=[text or "empty" for text, _ in CASES])
def test_plain_scalar(text, value):
    parsed = parse_plain(text)
    assert parsed == value
    assert type(parsed) is type(value)


@pytest.mark.parametrize("text", [".inf", "-.Inf", "+.INF", ".nan", ".NaN", "1e999"])
def test_what_json_cannot_hold_is_refused(text):
    with pytest.raises(NotFiniteError):
        parse_plain(text)
