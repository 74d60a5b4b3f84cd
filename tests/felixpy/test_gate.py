"""The ready gate: what passes, and when."""

from __future__ import annotations

import pytest

from calc_graph.model import (
    ClusterInformation,
    ClusterInformationKey,
    Key,
    Profile,
    ProfileKey,
    Tier,
    TierKey,
    Value,
)
from felixpy.gate import ReadyGate

CLUSTER = ClusterInformationKey("default")
READY, NOT_READY = ClusterInformation({}, ready=True), ClusterInformation({})
P, T = ProfileKey("p"), TierKey("t")
ONE, OTHER = Profile(), Profile(labels={"a": "b"})

Changes = dict[Key, Value | None]
CASES: list[tuple[str, list[Changes], list[Changes]]] = [
    # case, what comes, what passes
    ("no cluster information", [{P: ONE}, {T: Tier()}], [{P: ONE}, {T: Tier()}]),
    ("ready", [{CLUSTER: READY, P: ONE}], [{CLUSTER: READY, P: ONE}]),
    ("not ready", [{P: ONE, CLUSTER: NOT_READY}, {T: Tier()}], [{}, {}]),
    (
        "ready later: all at once, the newest values",
        [{CLUSTER: NOT_READY, P: ONE, T: Tier()}, {P: OTHER}, {T: None}, {CLUSTER: READY}],
        [{}, {}, {}, {CLUSTER: READY, P: OTHER, T: None}],
    ),
    ("taken away", [{CLUSTER: NOT_READY, P: ONE}, {CLUSTER: None}], [{}, {CLUSTER: None, P: ONE}]),
    ("closed again", [{P: ONE}, {CLUSTER: NOT_READY}, {P: None}], [{P: ONE}, {}, {}]),
    ("of another name", [{ClusterInformationKey("x"): NOT_READY, P: ONE}], []),
]


@pytest.mark.parametrize(("comes", "passes"), [c[1:] for c in CASES], ids=[c[0] for c in CASES])
def test_what_passes(comes: list[Changes], passes: list[Changes]) -> None:
    gate = ReadyGate(open_without=True)
    assert [gate.pass_on(changes) for changes in comes] == (passes or comes)


def test_a_datastore_that_somebody_has_to_set_up_waits_for_its_record() -> None:
    gate = ReadyGate(open_without=False)
    assert gate.pass_on({P: ONE}) == {}
    assert gate.pass_on({CLUSTER: READY}) == {P: ONE, CLUSTER: READY}
    assert gate.pass_on({CLUSTER: None, P: OTHER}) == {}
    assert not gate.open
