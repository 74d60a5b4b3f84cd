"""Selectors: the original's answers, the tables of the reference, and what no text may do."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from calc_graph.selector import MAX_DEPTH, SelectorError, hashed_id, parse

VECTORS = Path(__file__).parent.parent / "vectors"


def cases(name: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads((VECTORS / name).read_text())["cases"]
    return found


def text_of(case: dict[str, Any]) -> str:
    if "selector_repeat" in case:
        repeat = case["selector_repeat"]
        return str(repeat["char"] * repeat["count"] + repeat["then"])
    return str(case["selector"])


@pytest.mark.parametrize("case", cases("selectors.json"), ids=lambda c: text_of(c)[:40])
def test_original_parses_the_same(case: dict[str, Any]) -> None:
    if not case["valid"]:
        with pytest.raises(SelectorError):
            parse(text_of(case))
        return
    selector = parse(text_of(case))
    if "canonical" in case:
        assert selector.canonical == case["canonical"]
    assert selector.id == case["unique_id"]


@pytest.mark.parametrize("case", cases("selector-matching.json"), ids=lambda c: c["selector"])
def test_original_matches_the_same(case: dict[str, Any]) -> None:
    selector = parse(case["selector"])
    for result in case["results"]:
        assert selector.matches(result["labels"]) is result["match"], result["labels"]


@pytest.mark.parametrize(
    "case",
    [c for c in cases("ipset-names.json") if c["what"] == "selector"],
    ids=lambda c: c["selector"],
)
def test_original_names_the_same_set(case: dict[str, Any]) -> None:
    assert parse(case["selector"]).id == case["set_id"]


CANONICAL = [
    ("", "all()", "s:5y5I3VdRZfDU01O--xXAPx2yxCQQqMf0M6IWug"),
    ("global()", "global()", "s:fiJDJdBoaP_zQxty70sMjIrxwAb5lgM6LYCAow"),
    ("has( a/b.c-d_E )", "has(a/b.c-d_E)", "s:LRKdpl_mQZUvdvw9d2HS1MWlhJwL2ceWBvyOWA"),
    ("a in {'b', \"c\", 'a', 'b'}", 'a in {"a", "b", "c"}',
     "s:yMOWQAq5KzHksMMh3zLlfdafvG9THxFjiAJfrQ"),
    ("in in {'in'}", 'in in {"in"}', "s:ceqZz1xyS8zDBRnj3z_REGu6XtsouRyCUdElQg"),
    ("a == 'b' || c == 'd' && e == 'f'", '(a == "b" || (c == "d" && e == "f"))',
     "s:S-qCSUXi1P0ft42eE8dHG6vx6ub86WkArSBbTw"),
    ("(a == 'b' && c == 'd') && e == 'f'", '((a == "b" && c == "d") && e == "f")',
     "s:maBgrm7Am_FpYk89xkXfJFaihuO8a3v0mTOqAA"),
    ("has(a) && !has(b) || all()", "((has(a) && !has(b)) || all())",
     "s:tXr1khYzyGWbuLQqqJfzPESfT9qXeitBOCxNtw"),
    ("!a == 'x' && b == 'y'", '(!a == "x" && b == "y")',
     "s:hudw3zlPezXpTDub88UH9YAoX_ysAyfYu_ZUqw"),
    ("(has(projectcalico.org/namespace)) && (role == 'x')",
     '(has(projectcalico.org/namespace) && role == "x")',
     "s:lzatbxIdMRy2CzgCFuegGHZqggsiVTGsu-Tj8A"),
    ("a == 'é'", 'a == "é"', "s:2_hnZrTZ0JBefr9Q7w6RuE_Vkx1b66g1ZQFXFA"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "canonical", "unique_id"), CANONICAL)
def test_canonical_form_and_id(text: str, canonical: str, unique_id: str) -> None:
    assert (parse(text).canonical, parse(text).id) == (canonical, unique_id)


REFUSED = [
    # text               column  reason
    ("has (a)",            5, "operator"),
    ("a == b",             6, "string in quotes"),
    ("a = 'b'",            3, "operator"),
    ("a",                  2, "operator"),
    ("(a",                 3, "operator"),
    ("a == 'b",            6, "string"),
    ("a == 'b' &&",       12, "label name"),
    ("a == 'b' & c == 'd'", 10, "expected &&"),
    ("a == 'b' c == 'd'", 10, "expected &&"),
    ("()",                 2, "label name"),
    ("a in 'b'",           6, "expected {"),
    ("a in {'b'",         10, "expected }"),
    ("a in {b}",           7, "string"),
    ("a in {,}",           7, "string"),
    ("a == 'b'\n",         9, "expected &&"),
    ("é == 'b'",           1, "label name"),
    ("a:b == 'c'",         2, "operator"),
    ("a == 'b')",          9, "expected &&"),
    ("a inx {'b'}",        3, "operator"),
    ("(a == 'b'",         10, "expected )"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "column", "reason"), REFUSED)
def test_refusal_shows_where_and_why(text: str, column: int, reason: str) -> None:
    with pytest.raises(
        SelectorError, match=re.escape(f"column {column}: ") + f".*{re.escape(reason)}"
    ):
        parse(text)


MATCHES = [
    ("a != 'x'", [({}, True), ({"a": "x"}, False), ({"a": "y"}, True), ({"b": "x"}, True)]),
    ("a not in {'x','y'}", [({}, True), ({"a": "x"}, False), ({"a": "z"}, True)]),
    ("a not in {}", [({}, True), ({"a": "x"}, True)]),
    ("a in {}", [({}, False), ({"a": "x"}, False)]),
    ("a contains 'bc'", [({}, False), ({"a": "abcd"}, True), ({"a": "b"}, False)]),
    ("a starts with 'ab'", [({}, False), ({"a": "abcd"}, True), ({"a": "ba"}, False)]),
    ("a ends with 'cd'", [({}, False), ({"a": "abcd"}, True), ({"a": "d"}, False)]),
    ("!a == 'x' && b == 'y'",
     [({}, False), ({"b": "y"}, True), ({"a": "x", "b": "y"}, False)]),
    ("a == '1' || b == '1' && c == '1'",
     [({"a": "1"}, True), ({"b": "1"}, False), ({"b": "1", "c": "1"}, True), ({"c": "1"}, False)]),
    ("a == 'X'", [({"a": "x"}, False), ({"A": "X"}, False), ({"a": "X"}, True)]),
]  # fmt: skip


@pytest.mark.parametrize(("text", "verdicts"), MATCHES)
def test_meaning_of_absent_and_present(
    text: str, verdicts: list[tuple[dict[str, str], bool]]
) -> None:
    for labels, verdict in verdicts:
        assert parse(text).matches(labels) is verdict, labels


PREFIXED = [
    ("env == 'x'", 'pcns.env == "x"'),
    ("!has(a) || b not in {'c'} && all()", '(!has(pcns.a) || (pcns.b not in {"c"} && all()))'),
    ("global()", "global()"),
]


@pytest.mark.parametrize(("text", "prefixed"), PREFIXED)
def test_prefix_goes_before_every_label_name(text: str, prefixed: str) -> None:
    assert parse(text).prefixed("pcns.") == prefixed


def test_nesting_has_an_end() -> None:
    deep = "(" * MAX_DEPTH + "all()" + ")" * MAX_DEPTH
    assert parse(deep).canonical == "all()"
    with pytest.raises(SelectorError, match="nested"):
        parse(f"({deep})")


def test_named_ids_of_other_kinds_use_the_same_hash() -> None:
    assert hashed_id("svc", "prod/web") == "svc:PMX6-V53cgXVtT6p1c9FM-XkUmon52QINgk6cg"


LABELS = st.sampled_from(["a", "b", "c"])
VALUES = st.sampled_from(["", "x", "y", "xy"])


def joined(parts: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    lists = st.lists(parts, min_size=2, max_size=3)
    return st.one_of(
        lists.map(lambda found: f"({' && '.join(found)})"),
        lists.map(lambda found: f"({' || '.join(found)})"),
        parts.map(lambda part: f"!{part}"),
    )


SETS = st.lists(VALUES, max_size=3).map(lambda v: "{" + ", ".join(f"'{x}'" for x in v) + "}")
TESTS = st.one_of(
    st.builds(lambda label: f"has({label})", LABELS),
    st.builds(
        lambda label, op, value: f"{label} {op} '{value}'",
        LABELS,
        st.sampled_from(["==", "==", "!=", "contains", "starts with", "ends with"]),
        VALUES,
    ),
    st.builds(
        lambda label, op, values: f"{label} {op} {values}",
        LABELS,
        st.sampled_from(["in", "not in"]),
        SETS,
    ),
    st.just("all()"),
)
SELECTORS = st.recursive(TESTS, joined, max_leaves=6)


@given(SELECTORS, st.dictionaries(LABELS, VALUES))
def test_restrictions_are_necessary_and_canonical_text_means_the_same(
    text: str, labels: dict[str, str]
) -> None:
    selector = parse(text)
    matched = selector.matches(labels)
    assert parse(selector.canonical).matches(labels) is matched
    if not matched:
        return
    assert selector.can_match()
    for label, restriction in selector.restrictions.items():
        assert not restriction.present or label in labels
        assert not restriction.absent or label not in labels
        if restriction.values is not None:
            assert labels[label] in restriction.values


@given(st.text(alphabet="ab'\"=!&|(){}, inhas\t\n<é", max_size=40))
def test_any_text_is_a_selector_or_a_selector_error(text: str) -> None:
    try:
        parse(text)
        position = 0
    except SelectorError as error:
        position = error.position
    assert 0 <= position <= len(text)
