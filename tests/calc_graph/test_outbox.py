"""Only differences leave, sorted."""

from __future__ import annotations

import pytest

from calc_graph.outbox import Latest, Outbox

PATHS = [
    # told before   then                              changed               gone
    ({},            [("a", 1)],                       [("a", 1)],           []),
    ({},            [("b", 1), ("a", 2)],             [("a", 2), ("b", 1)], []),
    ({},            [("a", 1), ("a", None)],          [],                   []),
    ({},            [("a", None)],                    [],                   []),
    ({"a": 1},      [("a", 1)],                       [],                   []),
    ({"a": 1},      [("a", 2), ("a", 1)],             [],                   []),
    ({"a": 1},      [("a", None), ("a", 1)],          [],                   []),
    ({"a": 1},      [("a", None), ("a", 2)],          [("a", 2)],           []),
    ({"a": 1, "b": 1}, [("b", None), ("a", None)],    [],                   ["a", "b"]),
]  # fmt: skip


@pytest.mark.parametrize(("before", "steps", "changed", "gone"), PATHS)
def test_only_differences_leave(
    before: dict[str, int],
    steps: list[tuple[str, int | None]],
    changed: list[tuple[str, int]],
    gone: list[str],
) -> None:
    box: Outbox[str, int] = Outbox()
    for key, value in before.items():
        box.put(key, value)
    box.take()
    for key, step in steps:
        if step is None:
            box.discard(key)
        else:
            box.put(key, step)
    assert box.take() == (changed, gone)
    assert box.take() == ([], [])


def test_the_latest_of_one_thing() -> None:
    latest = Latest("nothing")
    assert latest.take() == []
    latest.value = "one"
    latest.value = "two"
    assert latest.told() == "nothing"
    assert latest.take() == ["two"]
    latest.value = "three"
    latest.value = "two"
    assert latest.take() == []
    assert latest.told() == "two"
