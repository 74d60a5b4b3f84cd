from __future__ import annotations

from typing import Any

import pytest

from dataplane.bird.render import texts
from dataplane.bird.render.texts import NotFitError

LONG = "x" * 5000

GOOD = [
    # what          given                     as BIRD reads it
    (lambda t: texts.net(t).text, "10.65.1.77/26", "10.65.1.64/26"),
    (lambda t: texts.net(t).text, "0.0.0.0/0", "0.0.0.0/0"),
    (lambda t: texts.net(t).text, "FD65:0::1/122", "fd65::/122"),
    (lambda t: texts.address(t, 4), "10.0.0.1", "10.0.0.1"),
    (lambda t: texts.address(t, 6), "FD00:0:0::1", "fd00::1"),
    (texts.community, "65535:0", (65535, 0)),
    (texts.community, "4294967295:1:0", (4294967295, 1, 0)),
    (texts.session_name, "Mesh_10_0_0_2", "Mesh_10_0_0_2"),
    (texts.session_name, "Local_Workload_fd00__1", "Local_Workload_fd00__1"),
    (texts.interface_pattern, "eth*", '"eth*"'),
    (texts.as_number, 4294967295, 4294967295),
    (texts.port, 65535, 65535),
    (texts.note, 'a "b"\n\tc \u00e9 {};', "a ?b???c ? {};"),
    (texts.note, "x" * 200, "x" * 200),
    (texts.note, LONG, "x" * 197 + "..."),
]

BAD: list[tuple[Any, list[Any]]] = [
    (texts.net, ["10.0.0.0", "10.0.0.0/33", "10.0.0.0/8;", "", LONG, " 10.0.0.0/8"]),
    (texts.net, ["fe80::%eth0/64", "fd00::/129", "fd00::/8 "]),
    (lambda t: texts.address(t, 4), ["fd00::1", "10.0.0", "0.0.0.0", "224.0.0.1", "10.0.0.1/32"]),
    (lambda t: texts.address(t, 6), ["10.0.0.1", "fe80::1", "fd00::1%eth0", "::", "ff02::1", LONG]),
    (texts.community, ["65536:1", "1:65536", "4294967296:1:1", "1", "1:2:3:4", "01:1", "1:2\n"]),
    (texts.community, [":", "a:b", ""]),
    (texts.session_name, ["rr", "Mesh_", "Mesh_1;", "Other_1", "Mesh_1\n", "kernel4"]),
    (texts.session_name, [f"Mesh_{LONG}", "Mesh_" + "1" * 60]),
    (texts.interface_pattern, ["", "a" * 17, 'a"', "a b", "eth0\n", "eth?", "[a]"]),
    (texts.as_number, [0, -1, 4294967296]),
    (texts.port, [0, -1, 65536]),
    (lambda t: texts.quoted_symbol("bgp_", t, "_x"), ["", "a'b", "a b", "a\n", "-a", LONG]),
]


@pytest.mark.parametrize(("check", "given", "expected"), GOOD)
def test_what_fits_is_written_in_birds_spelling(check, given, expected):
    assert check(given) == expected


@pytest.mark.parametrize(
    ("check", "given"), [(check, value) for check, values in BAD for value in values]
)
def test_what_does_not_fit_is_refused_in_few_words(check, given):
    with pytest.raises(NotFitError) as error:
        check(given)
    assert len(str(error.value)) < 300


def test_a_symbol_is_the_name_where_that_is_short_enough():
    assert texts.quoted_symbol("bgp_", "a.b-c", "_importV4") == "'bgp_a.b-c_importV4'"


@pytest.mark.parametrize("length", [1, 50, 51, 52, 252])
def test_a_symbol_has_64_characters_at_most_and_is_its_names_alone(length):
    symbols = {texts.quoted_symbol("bgp_", "x" * length + end, "_importV4") for end in ("", "y")}
    assert len(symbols) == 2
    assert all(len(symbol.strip("'")) <= 64 for symbol in symbols)


PASSWORDS = [
    ("a", True),
    ("a" * 80, True),
    ("with space #;{}'\\$%", True),
    ("", False),
    ("a" * 81, False),
    ('a"', False),
    ("a\n", False),
    ("a\tb", False),
    ("caf\u00e9", False),
    ("a\0b", False),
    ("\x7f", False),
]


@pytest.mark.parametrize(("text", "fit"), PASSWORDS)
def test_a_password_is_80_printable_characters_without_quotes(text, fit):
    assert texts.is_password(text) is fit
