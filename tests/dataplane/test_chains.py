"""What a chain refers to; the ids are held by the vectors of the renderers."""

from __future__ import annotations

import pytest

from dataplane.chains import Chain, rule_ids

_TARGETS = [
    # body                                                       target
    ("--jump cali-a", {"cali-a"}),
    ("-m mark --mark 0/0x30000 --goto cali-pi-np/fv/p1", {"cali-pi-np/fv/p1"}),
    ("-p tcp -j cali-a", {"cali-a"}),
    ("-p tcp -g cali-a", {"cali-a"}),
    ("--in-interface cali+ --jump ACCEPT", set()),
    ("--in-interface cali-", set()),
    ("", set()),
    ('-m comment --comment "x --jump cali-b"', set()),
    ('-m comment --comment "x --jump cali-b y" --jump cali-a', {"cali-a"}),
    ('-m comment --comment "--jump cali-b"', set()),
]


@pytest.mark.parametrize(("body", "targets"), _TARGETS)
def test_targets(body: str, targets: set[str]) -> None:
    assert Chain("cali-x", (body,)).targets() == targets


def test_an_id_pins_all_before_it() -> None:
    one, two = "--jump ACCEPT", "--jump DROP"
    assert rule_ids("c", (one, two))[0] == rule_ids("c", (one,))[0]
    assert rule_ids("c", (one, two))[1] != rule_ids("c", (two, two))[1]
    assert rule_ids("c", (one,)) != rule_ids("d", (one,))
    assert all(len(id_) == 16 for id_ in rule_ids("c", (one, "")))
