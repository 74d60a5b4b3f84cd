"""Columns for people."""

from felixpy.table import render_table


def test_columns_are_as_wide_as_what_stands_in_them() -> None:
    text = render_table(("A", "LONG", "C"), [("long", "x", "last"), ("s", "", "")])
    assert text == "A     LONG  C\nlong  x     last\ns"
