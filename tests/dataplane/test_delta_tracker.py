"""The trackers against plain comparisons of two dicts and two sets."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from dataplane.delta_tracker import DeltaTracker, SetDelta

KEYS = st.integers(0, 4)
VALUES = st.one_of(st.none(), st.integers(0, 2))
TABLES = st.dictionaries(KEYS, st.integers(0, 2))
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("desire"), KEYS, VALUES),
        st.tuples(st.just("observe"), KEYS, VALUES),
        st.tuples(st.just("observe_all"), TABLES, st.none()),
        st.tuples(st.just("desire_these"), st.dictionaries(KEYS, VALUES), st.none()),
        st.tuples(st.just("observe_these"), TABLES, st.none()),
        st.tuples(st.just("observe_gone"), st.lists(KEYS), st.none()),
    )
)


@given(STEPS)
def test_the_difference_is_that_of_two_dicts(steps: list[tuple[str, object, object]]) -> None:
    tracker: DeltaTracker[int, int] = DeltaTracker()
    tables: dict[str, dict[int, int]] = {"desire": {}, "observe": {}}
    for verb, key, value in steps:
        if verb == "observe_all":
            tracker.observe_all(key)  # type: ignore[arg-type]
            tables["observe"] = dict(key)  # type: ignore[call-overload]
        elif verb == "observe_gone":
            tracker.observe_gone(key)  # type: ignore[arg-type]
            for gone in key:  # type: ignore[attr-defined]
                tables["observe"].pop(gone, None)
        elif verb.endswith("_these"):
            getattr(tracker, verb)(key)
            together = tables[verb.removesuffix("_these")]
            together |= key  # type: ignore[call-overload]
            for gone in [k for k, v in together.items() if v is None]:
                del together[gone]
        else:
            getattr(tracker, verb)(key, value)
            tables[verb].pop(key, None)  # type: ignore[call-overload]
            if value is not None:
                tables[verb][key] = value  # type: ignore[index, assignment]
        desired, actual = tables["desire"], tables["observe"]
        assert tracker.updates() == {k: v for k, v in desired.items() if actual.get(k) != v}
        assert set(tracker.deletions()) == actual.keys() - desired.keys()
        assert tracker.in_sync == (desired == actual)
        assert (tracker.desired, tracker.actual) == (desired, actual)
        assert tracker.agreeing(range(5)) == dict(desired.items() & actual.items())


MEMBERS = st.frozensets(KEYS)


@given(
    st.lists(
        st.one_of(
            st.tuples(st.sampled_from(["desire", "observe"]), MEMBERS, MEMBERS),
            st.tuples(st.sampled_from(["desire_all", "observe_all"]), MEMBERS),
        )
    )
)
def test_the_difference_is_that_of_two_sets(steps: list[tuple[object, ...]]) -> None:
    delta: SetDelta[int] = SetDelta()
    sets: dict[str, set[int]] = {"desire": set(), "observe": set()}
    for verb, added, *removed in steps:
        getattr(delta, str(verb))(added, *removed)
        side = str(verb).removesuffix("_all")
        kept = sets[side] - removed[0] if removed else set()  # type: ignore[operator]
        sets[side] = kept | added  # type: ignore[operator]
        assert delta.additions == sets["desire"] - sets["observe"]
        assert delta.removals == sets["observe"] - sets["desire"]
        assert delta.desired == sets["desire"]
        assert delta.in_sync == (sets["desire"] == sets["observe"])
