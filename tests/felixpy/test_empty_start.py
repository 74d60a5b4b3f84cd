"""An empty datastore at the start: whether the kernel is left alone, and for how long."""

from __future__ import annotations

from pathlib import Path

import pytest

from calc_graph.model import (
    Policy,
    PolicyKey,
    Profile,
    ProfileKey,
    WorkloadEndpoint,
    WorkloadEndpointKey,
)
from felixpy.census import Census
from felixpy.emptiness import RETURN
from felixpy.empty_start import ID, EmptyStart
from felixpy.holds import Holds
from felixpy.last_state import LastState, State

GRACE = 600.0
FULL = State(4, 2)


def endpoint(number: int) -> WorkloadEndpointKey:
    return WorkloadEndpointKey("n1", "lab", f"default/w{number}", "eth0")


class Case:
    """`state`: what the agent before this one has left."""

    def __init__(self, directory: Path, state: State) -> None:
        self.directory = directory
        LastState(directory, "boot").note(state)
        self.census = Census()
        self.census.note(ProfileKey("p"), Profile())
        self.holds = Holds(lambda: None)
        self.start = EmptyStart(self.census, self.holds, LastState(directory, "boot"))

    def put(self, *, endpoints: int, policies: int) -> None:
        for number in range(endpoints):
            self.census.note(endpoint(number), WorkloadEndpoint("cali1", ()))
        for number in range(policies):
            self.census.note(PolicyKey("NetworkPolicy", "default", f"p{number}"), Policy("d", ""))

    def left(self) -> State:
        return LastState(self.directory, "boot").state


CASES = [
    # case, left, endpoints, policies, waits
    ("empty after a full one", FULL, 0, 0, True),
    ("never full", State(), 0, 0, False),
    ("no policy before", State(4, 0), 0, 0, False),
    ("no endpoint before", State(0, 2), 0, 0, False),
    ("a policy is left", FULL, 0, 1, False),
    ("an endpoint is left", FULL, 1, 0, False),
    ("as full as before", FULL, 4, 2, False),
]


@pytest.mark.parametrize(
    ("left", "endpoints", "policies", "waits"), [c[1:] for c in CASES], ids=[c[0] for c in CASES]
)
def test_whether_it_waits(
    tmp_path: Path, left: State, endpoints: int, policies: int, waits: bool
) -> None:
    case = Case(tmp_path, left)
    case.put(endpoints=endpoints, policies=policies)
    case.start.begin(100.0)
    assert case.start.waits(100.0, GRACE) == waits
    assert [hold.id for hold in case.holds.current()] == ([ID] if waits else [])
    assert not case.start.waits(100.0, 0.0)
    assert case.holds.current() == ()


def test_it_ends_with_the_grace_and_a_restart_does_not_prolong_it(tmp_path: Path) -> None:
    case = Case(tmp_path, FULL)
    case.start.begin(100.0)
    assert case.start.waits(100.0, GRACE)
    assert case.left() == State(4, 2, 100.0)
    later = EmptyStart(case.census, case.holds, LastState(tmp_path, "boot"))
    later.begin(500.0)
    assert later.waits(699.0, GRACE)
    assert not later.waits(700.0, GRACE)
    later.note(0.0)
    assert case.left() == State()


def test_it_ends_when_somebody_confirms_it(tmp_path: Path) -> None:
    case = Case(tmp_path, FULL)
    case.start.begin(100.0)
    assert case.start.waits(100.0, GRACE)
    case.holds.confirm([ID])
    assert not case.start.waits(100.1, GRACE)


def test_it_ends_when_half_is_back_and_no_more_comes(tmp_path: Path) -> None:
    case = Case(tmp_path, FULL)
    case.start.begin(100.0)
    case.put(endpoints=1, policies=2)
    assert case.start.waits(200.0, GRACE)
    assert case.start.waits(300.0, GRACE)
    case.put(endpoints=2, policies=2)
    assert case.start.waits(301.0, GRACE)
    case.put(endpoints=3, policies=2)
    assert case.start.waits(301.0 + RETURN, GRACE)
    assert not case.start.waits(301.0 + 2 * RETURN, GRACE)
    case.start.note(0.0)
    assert case.left() == State(3, 2)


def test_a_datastore_that_is_left_takes_its_hold_along(tmp_path: Path) -> None:
    case = Case(tmp_path, FULL)
    case.start.begin(100.0)
    assert case.start.waits(100.0, GRACE)
    case.start.close()
    assert case.holds.current() == ()
