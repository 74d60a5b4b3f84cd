"""The label index: tables of matches, and a comparison with testing every pair."""

from __future__ import annotations

import gc
import weakref

import pytest
from hypothesis import given
from hypothesis import strategies as st

from calc_graph.label_index import LabelIndex
from calc_graph.selector import parse


class Recorder:
    """An index whose announcements are kept as a set of pairs, checked for consistency."""

    def __init__(self) -> None:
        self.pairs: set[tuple[str, str]] = set()
        self.index: LabelIndex[str, str] = LabelIndex(self.started, self.stopped)

    def started(self, selector: str, item: str) -> None:
        assert (selector, item) not in self.pairs
        self.pairs.add((selector, item))

    def stopped(self, selector: str, item: str) -> None:
        self.pairs.remove((selector, item))

    def add_selector(self, key: str, text: str) -> None:
        for item in self.index.add_selector(key, parse(text)):
            self.started(key, item)

    def remove_selector(self, key: str) -> None:
        for item in self.index.remove_selector(key):
            self.stopped(key, item)


INHERITED = [
    # own labels      profiles       what p has      what q has      selector        matches
    ({},              ("p",),        {"a": "1"},     {},             "a == '1'",     True),
    ({},              (),            {"a": "1"},     {},             "a == '1'",     False),
    ({"a": "2"},      ("p",),        {"a": "1"},     {},             "a == '1'",     False),
    ({},              ("p", "q"),    {"a": "1"},     {"a": "2"},     "a == '1'",     True),
    ({},              ("q", "p"),    {"a": "1"},     {"a": "2"},     "a == '1'",     False),
    ({"b": ""},       ("p", "q"),    {},             {"a": "2"},     "has(b) && a == '2'", True),
    ({},              ("missing",),  {},             {},             "!has(a)",      True),
]  # fmt: skip


@pytest.mark.parametrize(("own", "profiles", "of_p", "of_q", "selector", "matches"), INHERITED)
@pytest.mark.parametrize("profiles_first", [True, False])
@pytest.mark.parametrize("selector_first", [True, False])
def test_own_labels_then_those_of_profiles_in_order(
    own: dict[str, str],
    profiles: tuple[str, ...],
    of_p: dict[str, str],
    of_q: dict[str, str],
    selector: str,
    matches: bool,
    profiles_first: bool,
    selector_first: bool,
) -> None:
    found = Recorder()
    if selector_first:
        found.add_selector("s", selector)
    if not profiles_first:
        found.index.put("item", own, profiles)
    found.index.put_profile("p", of_p)
    found.index.put_profile("q", of_q)
    found.index.put("item", own, profiles)
    if not selector_first:
        found.add_selector("s", selector)
    assert found.pairs == ({("s", "item")} if matches else set())
    assert found.index.any_item("s") is matches


def test_items_of_one_group_come_and_go_alone() -> None:
    found = Recorder()
    found.add_selector("s", "a == '1'")
    found.index.put("x", {"a": "1"}, ())
    found.index.put("y", {"a": "1"}, ())
    found.index.discard("x")
    assert found.pairs == {("s", "y")}
    found.index.put("y", {"a": "2"}, ())
    assert found.pairs == set()


SELECTORS = ["all()", "a == '1'", "a in {'1', '2'} && b == '1'", "has(b)", "!has(b)", "a != '1'",
             "a == '1' || b == '2'", "a in {}", "has(b) && a contains '1'"]  # fmt: skip
LABELS = st.dictionaries(st.sampled_from("ab"), st.sampled_from("12"))
STEPS = st.one_of(
    st.tuples(
        st.just("put"),
        st.sampled_from("xyz"),
        LABELS,
        st.lists(st.sampled_from("pq"), unique=True).map(tuple),
    ),
    st.tuples(st.just("discard"), st.sampled_from("xyz")),
    st.tuples(st.just("profile"), st.sampled_from("pq"), LABELS),
    st.tuples(st.just("selector"), st.sampled_from(SELECTORS)),
)


@given(st.lists(STEPS, min_size=10, max_size=50))
def test_any_path_ends_in_what_testing_every_pair_finds(steps: list[tuple[object, ...]]) -> None:
    found = Recorder()
    items: dict[str, tuple[dict[str, str], tuple[str, ...]]] = {}
    profiles: dict[str, dict[str, str]] = {}
    selectors: set[str] = set()
    for step in steps:
        match step:
            case ("put", str(item), dict(labels), tuple(names)):
                found.index.put(item, labels, names)
                items[item] = (labels, names)
            case ("discard", str(item)):
                found.index.discard(item)
                items.pop(item, None)
            case ("profile", str(name), dict(labels)):
                found.index.put_profile(name, labels)
                profiles[name] = labels
            case ("selector", str(text)) if text in selectors:
                found.remove_selector(text)
                selectors.remove(text)
            case ("selector", str(text)):
                found.add_selector(text, text)
                selectors.add(text)
    expected = set()
    for item, (labels, names) in items.items():
        merged = dict(labels)
        for name in names:
            merged = profiles.get(name, {}) | merged
        expected |= {(text, item) for text in selectors if parse(text).matches(merged)}
    assert found.pairs == expected


class Thing:
    """A selector's key or an item that tells whether anybody still holds it."""


def test_what_is_gone_is_let_go_without_the_garbage_collector() -> None:
    """The collector may never look at what a large cluster is made of."""
    index: LabelIndex[Thing, Thing] = LabelIndex(lambda *_: None, lambda *_: None)
    things: weakref.WeakSet[Thing] = weakref.WeakSet()

    def thing() -> Thing:
        made = Thing()
        things.add(made)
        return made

    gc.disable()
    try:
        index.put_profile("p", {"c": "1"})
        selectors = [thing() for _ in SELECTORS]
        items = [thing() for _ in range(7)]
        for key, text in zip(selectors[::2], SELECTORS[::2], strict=True):
            list(index.add_selector(key, parse(text)))
        for number in range(40):
            index.put(items[number % 7], {"a": str(number // 3), "b": str(number % 3)}, ("p",))
        for key, text in zip(selectors[1::2], SELECTORS[1::2], strict=True):
            list(index.add_selector(key, parse(text)))
        for item in items:
            index.discard(item)
        for key in selectors:
            index.remove_selector(key)
        del items, selectors, item, key
        assert not things
    finally:
        gc.enable()


def test_a_selector_that_returns_does_not_look_at_everything_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    index: LabelIndex[str, str] = LabelIndex(lambda *_: None, lambda *_: None)
    index.put("a", {"role": "client"}, ())
    index.add_selector("s", parse("role == 'client'"))
    index.remove_selector("s")
    index.put("b", {"role": "client"}, ())
    index.put("c", {"role": "server"}, ())
    index.discard("a")
    monkeypatch.setattr(index, "_all_groups", None)
    assert list(index.add_selector("s", parse("role == 'client'"))) == ["b"]
    assert list(index.add_selector("t", parse("role == 'server'"))) == ["c"]


def test_labels_that_nobody_restricts_any_more_are_forgotten_in_their_turn() -> None:
    index: LabelIndex[str, str] = LabelIndex(lambda *_: None, lambda *_: None)
    for number in range(20):
        index.add_selector("s", parse(f"label{number} == 'x' && has(other{number})"))
        index.put("a", {f"label{number}": "x", f"other{number}": "y"}, ())
        assert list(index.items("s")) == ["a"]
        index.remove_selector("s")
    assert list(index.add_selector("s", parse("label0 == 'x' || label19 == 'x'"))) == ["a"]
