"""The guard against a datastore that is suddenly empty: what passes, when, and what is said."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from calc_graph.model import (
    HostEndpoint,
    HostEndpointKey,
    Key,
    NetworkSet,
    NetworkSetKey,
    Policy,
    PolicyKey,
    Profile,
    ProfileKey,
    Value,
    WorkloadEndpoint,
    WorkloadEndpointKey,
)
from felixpy.census import Census
from felixpy.emptiness import (
    ID,
    LONGEST_SETTLE,
    RECENT,
    RETURN,
    SETTLE,
    SETTLE_ONE,
    EmptyDatastoreGuard,
)
from felixpy.holds import Holds

GRACE = 600.0
E = [WorkloadEndpointKey("n1", "lab", f"default/w{number}", "eth0") for number in range(20)]
P = [PolicyKey("NetworkPolicy", "default", f"p{number}") for number in range(20)]
H = HostEndpointKey("n1", "eth0")
PROFILE, OTHER_PROFILE, SET = ProfileKey("p"), ProfileKey("q"), NetworkSetKey("s")


def value_of(key: Key, version: int = 0) -> Value:
    labels = {"version": str(version)}
    match key:
        case WorkloadEndpointKey():
            return WorkloadEndpoint("cali1", (), labels)
        case HostEndpointKey():
            return HostEndpoint("eth0", labels=labels)
        case PolicyKey():
            return Policy("default", f"version == '{version}'")
        case NetworkSetKey():
            return NetworkSet(labels=labels)
        case _:
            return Profile(labels=labels)


class Cluster:
    """What the datastore holds, what is in force, and a clock."""

    def __init__(self, *keys: Key, grace: float = GRACE) -> None:
        self.census = Census()
        self.holds = Holds(lambda: None)
        self.guard = EmptyDatastoreGuard(self.census, self.holds)
        self.now, self.grace = 1000.0, grace
        self.there: dict[Key, Value] = {}
        self.force: dict[Key, Value] = {}
        self.put(*keys)

    def put(self, *keys: Key, version: int = 0) -> None:
        self.take({key: value_of(key, version) for key in keys})

    def delete(self, *keys: Key, after: float = 0.0) -> None:
        self.now += after
        self.take(dict.fromkeys(keys))

    def wait(self, seconds: float) -> None:
        self.now += seconds
        self.take({})

    def take(self, changes: dict[Key, Value | None]) -> None:
        for key, value in changes.items():
            _note(self.there, key, value)
        for key, value in self.guard.pass_on(changes, self.now, self.grace).items():
            _note(self.force, key, value)
            self.census.note(key, value)

    @property
    def held(self) -> bool:
        return [hold.id for hold in self.holds.current()] == [ID]

    @property
    def gone(self) -> set[Key]:
        """What is in force although the datastore does not hold it any more."""
        return self.force.keys() - self.there.keys()


def _note(values: dict[Key, Value], key: Key, value: Value | None) -> None:
    if value is None:
        values.pop(key, None)
    else:
        values[key] = value


# ---------------------------------------------------------------- what is never delayed


AT_ONCE = [
    # case, there, deleted
    ("one policy of many", [*E[:4], *P[:4]], [P[0]]),
    ("one endpoint of two", [*E[:2], *P[:2]], [E[0]]),
    ("half of all policies", [*E[:4], *P[:4]], P[:2]),
    ("no policy in force", E[:4], E[:4]),
    ("no endpoint in force", P[:4], P[:4]),
    ("what nobody knew", [*E[:2], *P[:2]], [E[5], P[5]]),
]


@pytest.mark.parametrize(
    ("there", "deleted"), [c[1:] for c in AT_ONCE], ids=[c[0] for c in AT_ONCE]
)
def test_what_passes_at_once(there: list[Key], deleted: list[Key]) -> None:
    cluster = Cluster(*there)
    cluster.delete(*deleted)
    assert cluster.gone == set()
    assert cluster.guard.due == float("inf")


def test_policies_renamed_all_at_once_pass_at_once() -> None:
    cluster = Cluster(*E[:4], *P[:4])
    cluster.take({**dict.fromkeys(P[:4]), **{key: value_of(key) for key in P[4:8]}})
    assert cluster.gone == set()


def test_one_deletion_after_another_passes_at_once() -> None:
    cluster = Cluster(*E, *P)
    for number in range(19):
        cluster.delete(P[number], after=1.0 + RECENT)
        assert cluster.gone == set()


def test_the_last_workload_and_its_policy_one_by_one_over_minutes() -> None:
    cluster = Cluster(E[0], P[0])
    cluster.delete(E[0], after=60.0)
    assert cluster.gone == {E[0]}
    cluster.wait(SETTLE_ONE)
    assert cluster.gone == set()
    cluster.delete(P[0], after=60.0)
    assert cluster.gone == set()


def test_off_nothing_waits() -> None:
    cluster = Cluster(*E[:4], *P[:4], grace=0.0)
    cluster.delete(*E[:4], *P[:4])
    assert cluster.force == {}


def test_switched_off_while_it_holds() -> None:
    cluster = Cluster(*E[:4], *P[:4])
    cluster.delete(*E[:4], *P[:4])
    assert cluster.held
    cluster.grace = 0.0
    cluster.wait(0.0)
    assert (cluster.held, cluster.force) == (False, {})


# ---------------------------------------------------------------- what settles


def test_more_than_half_of_the_policies_wait_until_it_is_quiet() -> None:
    cluster = Cluster(*E[:4], *P[:10])
    cluster.delete(*P[:6])
    assert cluster.gone == set(P[:6])
    cluster.delete(P[6], after=SETTLE / 2)
    assert cluster.guard.due == cluster.now + SETTLE
    cluster.wait(SETTLE / 2)
    assert cluster.gone == set(P[:7])
    cluster.wait(SETTLE / 2)
    assert cluster.gone == set()
    assert not cluster.held
    cluster.delete(P[7])  # one of three; what has been waited for counts no more
    assert cluster.gone == set()


def test_deletions_that_never_end_are_not_waited_for() -> None:
    cluster = Cluster(*E, *P)
    cluster.delete(*P[:12])
    for number in range(12, 19):
        cluster.delete(P[number], after=LONGEST_SETTLE / 7)
    assert cluster.gone == set()


def test_what_comes_back_while_it_settles_is_not_deleted() -> None:
    cluster = Cluster(*E[:4], *P[:4])
    cluster.delete(*P[:3])
    cluster.put(P[0], P[1], version=2)
    assert cluster.gone == set()  # one of four is missing: nothing unusual
    assert cluster.force[P[0]] == value_of(P[0], 2)


def test_the_rest_goes_on_while_it_settles() -> None:
    cluster = Cluster(*E[:4], *P[:4])
    cluster.delete(*P[:3])
    cluster.put(E[0], E[9], P[9], version=2)
    assert cluster.force[E[0]] == value_of(E[0], 2)
    assert {E[9], P[9]} <= cluster.force.keys()


# ---------------------------------------------------------------- what is held back


WIPES = [
    # case, what is deleted with which pauses before
    ("all at once", [(0.0, [*E[:6], *P[:4], PROFILE, SET, H])]),
    ("without the rest", [(0.0, [*E[:6], *P[:4], H])]),
    ("endpoints, then policies", [(0.0, [*E[:6], H]), (0.5, P[:4])]),
    ("policies, then endpoints", [(0.0, P[:4]), (1.5, [*E[:6], H])]),
    ("the rest a moment before", [(0.0, [SET]), (0.01, [PROFILE]), (0.01, [*E[:6], H, *P[:4]])]),
    ("one by one", [(0.05, [key]) for key in [H, *E[:6], *P[:4]]]),
    ("in pages", [(0.1, E[:3]), (0.1, [*E[3:6], H]), (0.1, P[:2]), (0.1, P[2:4])]),
]


@pytest.mark.parametrize("pieces", [case[1] for case in WIPES], ids=[case[0] for case in WIPES])
def test_a_wipe_is_held_back_before_half_of_it_has_passed(
    pieces: list[tuple[float, list[Key]]],
) -> None:
    cluster = Cluster(*E[:6], *P[:4], H, PROFILE, SET)
    for pause, keys in pieces:
        cluster.delete(*keys, after=pause)
    assert cluster.held
    assert sum(isinstance(key, WorkloadEndpointKey | HostEndpointKey) for key in cluster.force) >= 4
    assert sum(isinstance(key, PolicyKey) for key in cluster.force) >= 2
    cluster.wait(GRACE - 10.0)
    assert cluster.held
    assert {PROFILE, SET} <= cluster.force.keys()
    cluster.wait(10.0)
    assert not cluster.held
    assert cluster.force == cluster.there


def test_what_is_said_of_it() -> None:
    cluster = Cluster(*E[:3], *P[:1], PROFILE)
    cluster.delete(*E[:3], *P[:1], PROFILE)
    (hold,) = cluster.holds.current()
    assert hold.kind == "empty datastore"
    assert hold.changes == 5
    assert hold.text == (
        "the datastore has lost every endpoint and policy at once: the deletion of 3 endpoints and"
        " 1 policy waits, of 5 resources in all, at most for 600 s"
    )


def test_confirmed() -> None:
    cluster = Cluster(*E[:3], *P[:3])
    cluster.delete(*E[:3], *P[:3])
    cluster.holds.confirm([ID])
    cluster.wait(0.0)
    assert (cluster.held, cluster.force) == (False, {})


def test_restored_nothing_is_deleted() -> None:
    cluster = Cluster(*E[:4], *P[:4], PROFILE)
    cluster.delete(*E[:4], *P[:4], PROFILE)
    keys: list[Key] = [*E[:4], *P[:4]]
    for key in keys:
        cluster.now += 1.0
        cluster.put(key, version=2)
        assert PROFILE in cluster.force
    cluster.put(PROFILE)
    assert not cluster.held
    assert cluster.force == cluster.there


def test_restored_in_part_the_rest_is_deleted_once_no_more_comes() -> None:
    cluster = Cluster(*E[:4], *P[:4])
    cluster.delete(*E[:4], *P[:4])
    cluster.put(*E[:2], *P[:4])
    cluster.wait(RETURN / 2)
    cluster.put(E[2])
    cluster.wait(RETURN / 2)
    assert cluster.gone == {E[3]}
    cluster.wait(RETURN / 2)
    assert (cluster.held, cluster.gone) == (False, set())


def test_newcomers_do_not_make_it_full_and_come_and_go_as_they_like() -> None:
    cluster = Cluster(*E[:4], *P[:4])
    cluster.delete(*E[:4], *P[:4])
    cluster.put(E[10], *P[:4])
    cluster.wait(2 * RETURN)
    assert cluster.held
    assert E[10] in cluster.force
    cluster.delete(E[10])
    assert cluster.gone == set(E[:4])


def test_a_datastore_that_is_left_takes_its_hold_along() -> None:
    cluster = Cluster(*E[:3], *P[:3])
    cluster.delete(*E[:3], *P[:3])
    cluster.guard.close()
    assert not cluster.held


# ---------------------------------------------------------------- whatever comes


KEYS: list[Key] = [*E[:5], H, *P[:5], PROFILE, OTHER_PROFILE, SET]
CHANGES = st.dictionaries(st.sampled_from(KEYS), st.one_of(st.none(), st.integers(0, 2)))
PAUSES = st.sampled_from([0.0, 0.01, 0.2, 1.0, SETTLE, 3.0, RETURN, 30.0, GRACE / 2])


@given(st.lists(st.tuples(PAUSES, CHANGES), max_size=20))
def test_what_has_passed_in_the_end_is_what_came(
    steps: list[tuple[float, dict[Key, int | None]]],
) -> None:
    cluster = Cluster(*KEYS)
    for pause, changes in steps:
        cluster.now += pause
        cluster.take(
            {key: None if new is None else value_of(key, new) for key, new in changes.items()}
        )
        # at no time is anything but a deletion delayed
        assert {key: cluster.force[key] for key in cluster.there} == cluster.there
        assert cluster.held == (cluster.guard.empty_since > 0.0)
    cluster.wait(GRACE)
    cluster.wait(GRACE)
    assert cluster.force == cluster.there
    assert cluster.holds.current() == ()
    assert cluster.guard.due == float("inf")


@given(
    st.permutations(KEYS),
    st.lists(st.integers(1, 5), min_size=len(KEYS)),
    st.lists(st.floats(0.0, SETTLE_ONE * 0.9), min_size=len(KEYS)),
)
def test_no_way_to_wipe_it_within_moments_takes_more_than_half(
    order: list[Key], sizes: list[int], pauses: list[float]
) -> None:
    cluster = Cluster(*KEYS)
    while order:
        size = sizes.pop()
        cluster.delete(*order[:size], after=pauses.pop())
        order = order[size:]
    assert cluster.held
    for kinds in ((WorkloadEndpointKey, HostEndpointKey), (PolicyKey,)):
        before = sum(isinstance(key, kinds) for key in KEYS)
        assert 2 * sum(isinstance(key, kinds) for key in cluster.force) >= before
