"""When a path is looked at, told as a table of what happened and when."""

import pytest

from felixpy.datastore.settling import (
    EMPTY_SECONDS,
    GONE_SECONDS,
    OPEN_SECONDS,
    Due,
    Settling,
)

A, B = "a.yaml", "b.yaml"
CHANGED, GONE = False, True

CASES = [
    # case   what happened, with its time   what is due, with its time
    ("closed", [("written", 0, A)], [(0, A, CHANGED)]),
    ("open", [("writing", 0, A)], [(OPEN_SECONDS, A, CHANGED)]),
    ("open, goes on", [("writing", 0, A), ("writing", 0.9, A)], [(1.9, A, CHANGED)]),
    ("open, then closed", [("writing", 0, A), ("written", 0.5, A)], [(0.5, A, CHANGED)]),
    ("a walk sees an open file", [("writing", 0, A), ("found", 0.5, A)], [(1.0, A, CHANGED)]),
    ("gone", [("gone", 0, A)], [(GONE_SECONDS, A, GONE)]),
    ("gone and back", [("gone", 0, A), ("written", 0.005, A)], [(0.005, A, CHANGED)]),
    ("gone and being written", [("gone", 0, A), ("writing", 0.005, A)], [(1.005, A, CHANGED)]),
    ("gone twice", [("gone", 0, A), ("gone", 0.005, A)], [(GONE_SECONDS, A, GONE)]),
    ("gone amid events", [("gone", 0, A), ("stir", 0.008, "")], [(0.018, A, GONE)]),
    (
        "gone amid endless events",
        [("gone", 0, A), *[("stir", number / 1000, "") for number in range(0, 100, 5)]],
        [(0.1, A, GONE)],
    ),
    (
        "moved",
        [("moved", 0, A), ("written", 0, B), ("stir", 0, "")],
        [(0, A, GONE), (0, B, CHANGED)],
    ),
    (
        "moved to where a walk finds it",
        [("gone", 0, A), ("found", 0.008, B)],
        [(0.018, A, GONE), (0.018, B, CHANGED)],
    ),
]


@pytest.mark.parametrize(
    ("happened", "expected"), [c[1:] for c in CASES], ids=[c[0] for c in CASES]
)
def test_due(happened, expected):
    settling = Settling()
    for what, when, path in happened:
        match what:
            case "stir":
                settling.stir(when)
            case "found" | "gone":
                getattr(settling, what)(path, when, GONE_SECONDS)
            case _:
                getattr(settling, what)(path, when)
    last = happened[-1][1]
    found = []
    for tick in range(round(last * 1000), 4000):
        # a little early, as timers are not, so that a rounding error does not count
        found += [(tick / 1000, *due) for due in settling.take(tick / 1000 - 0.0009)]
    assert found == expected
    assert settling.next_due() is None


def test_what_is_due_together_is_taken_together():
    settling = Settling()
    settling.gone(A, 0, EMPTY_SECONDS)
    settling.gone(B, 0, GONE_SECONDS)
    settling.written("c.yaml", 0)
    assert settling.take(0) == [Due("c.yaml", settled=False)]
    assert settling.next_due() == GONE_SECONDS
    assert set(settling.paths()) == {A, B}
    assert settling.take(1) == [Due(A, settled=True), Due(B, settled=True)]
