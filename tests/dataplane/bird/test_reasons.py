from __future__ import annotations

import pytest

from calc_graph.bgp.resources import BgpFilter
from calc_graph.bgp.updates import BgpFilterUpdate
from dataplane.bird import reasons
from dataplane.bird.reasons import rule_text
from dataplane.bird.wanted import Wanted
from tests.dataplane.bird.golden_cases import tor

CASES = [
    ("Global_10_0_0_254", "import", 1, "cluster prefix announced from outside"),
    ("", "export", 21, "kernel: range of service addresses"),
    ("Global_10_0_0_254", "import", 999, "reason 999"),
    ("Global_10_0_0_254", "import", 1000, "BGPFilter first, importV4[0]"),
    ("Global_10_0_0_254", "export", 2003, "BGPFilter second, exportV4[3]"),
    ("Global_fd00__254", "export", 1012, "BGPFilter first, exportV6[12]"),
    ("Global_10_0_0_254", "import", 3001, "rule 1 of a BGPFilter"),
    ("gone", "import", 1001, "rule 1 of a BGPFilter"),
]


@pytest.mark.parametrize(("session", "direction", "code", "text"), CASES)
def test_a_reason_names_the_rule(session, direction, code, text):
    wanted = Wanted()
    wanted.apply(
        [
            tor(filters=("first", "second")),
            tor("fd00::254", filters=("first",)),
            BgpFilterUpdate("first", BgpFilter()),
        ]
    )
    assert rule_text(wanted, session, direction, code) == text


def test_every_guard_has_its_words():
    codes = {
        value
        for name, value in vars(reasons).items()
        if name.isupper() and isinstance(value, int) and value < reasons.FILTER
    }
    assert codes == set(reasons.TEXTS)
