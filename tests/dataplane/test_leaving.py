"""How long encryption that is switched off is kept for those who have not heard of it."""

from __future__ import annotations

import pytest

from dataplane.leaving import DRAIN_SECONDS, QUIET_SECONDS, WITHDRAW_SECONDS, Leaving

CLOCK: list[tuple[str, list[tuple[float, bool, int, str]]]] = [
    # case; then: seconds, whether a key is published, bytes received so far, the phase
    (
        "withdrawn, silent",
        [
            (0, True, 5, "withdrawing"),
            (1, False, 5, "draining"),
            (1 + QUIET_SECONDS - 0.1, False, 5, "draining"),
            (1 + QUIET_SECONDS, False, 5, "removing"),
        ],
    ),
    (
        "somebody still sends",
        [
            (0, False, 5, "draining"),
            (4, False, 6, "draining"),
            (8, False, 7, "draining"),
            (8 + QUIET_SECONDS, False, 7, "removing"),
        ],
    ),
    (
        "nobody reads that it was withdrawn",
        [
            (0, True, 0, "withdrawing"),
            (WITHDRAW_SECONDS - 1, True, 0, "withdrawing"),
            (WITHDRAW_SECONDS, True, 0, "draining"),
        ],
    ),
    (
        "somebody never stops",
        [
            (0, False, 0, "draining"),
            *((float(n), False, n, "draining") for n in range(2, int(DRAIN_SECONDS), 2)),
            (DRAIN_SECONDS, False, 1000, "removing"),
        ],
    ),
    (
        "a silence before it was known does not count",
        [(0, True, 0, "withdrawing"), (9, False, 0, "draining")],
    ),
    (
        "it does not turn back",
        [(0, False, 0, "draining"), (6, True, 0, "removing"), (9, True, 9, "removing")],
    ),
]


@pytest.mark.parametrize(("case", "steps"), CLOCK)
def test_phases(case: str, steps: list[tuple[float, bool, int, str]]) -> None:
    leaving = Leaving(0.0)
    for now, published, received, phase in steps:
        assert leaving.advance(now, published=published, received=received) == phase, case
