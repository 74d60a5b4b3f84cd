"""Which rule is added and which go, so that there is no moment without."""

from __future__ import annotations

import pytest

from dataplane.drivers.rules import Difference, Rule, RuleDriver, difference
from dataplane.rtrules import KernelRule

WISH = Rule(99, 1, 0x200000)
OURS = KernelRule(99, 1, 0x200000, 0x200000, True, 80, True)
FELIXS = OURS._replace(protocol=0)
FORWARDED = WISH._replace(forwarded=True)
NOT_HOSTS = KernelRule(99, 1, 0, 0, True, 80, False, forwarded=True)
NOTHING = Difference(add=False, remove=())


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        pytest.param([], Difference(add=True, remove=()), id="none"),
        pytest.param([OURS], NOTHING, id="as wished"),
        pytest.param([FELIXS], Difference(add=True, remove=(FELIXS,)), id="Felix's"),
        pytest.param([FELIXS, OURS], Difference(add=False, remove=(FELIXS,)), id="Felix's first"),
        pytest.param(
            # A deletion of the second would take the first.
            [OURS, FELIXS],
            Difference(add=True, remove=(OURS, FELIXS)),
            id="Felix's last",
        ),
        pytest.param([OURS, OURS], Difference(add=False, remove=(OURS,)), id="twice"),
        pytest.param(
            [OURS._replace(priority=10), OURS, OURS._replace(priority=200)],
            Difference(add=False, remove=(OURS._replace(priority=10), OURS._replace(priority=200))),
            id="other priorities",
        ),
    ],
)
def test_the_difference(found: list[KernelRule], expected: Difference) -> None:
    assert difference(WISH, found) == expected


@pytest.mark.parametrize(
    "other",
    [
        OURS._replace(table=2),
        OURS._replace(mark=0x100000),
        OURS._replace(mask=0xFFFFFFFF),
        OURS._replace(inverted=False),
        OURS._replace(plain=False),
    ],
)
def test_every_part_counts(other: KernelRule) -> None:
    assert difference(WISH, [other]) == Difference(add=True, remove=(other,))


@pytest.mark.parametrize(
    ("wish", "found"), [(FORWARDED, OURS), (WISH, NOT_HOSTS)], ids=["narrower", "wider"]
)
def test_one_takes_the_place_of_the_other(wish: Rule, found: KernelRule) -> None:
    assert difference(wish, [found]) == Difference(add=True, remove=(found,))


def test_one_that_is_not_for_the_host_is_known_again() -> None:
    assert difference(FORWARDED, [NOT_HOSTS]) == NOTHING
    other = NOT_HOSTS._replace(protocol=0)
    assert difference(FORWARDED, [other]) == Difference(add=True, remove=(other,))


def test_without_a_wish_all_go() -> None:
    assert difference(None, [FELIXS, OURS]) == Difference(add=False, remove=(FELIXS, OURS))
    assert difference(None, []) == NOTHING


@pytest.mark.parametrize("table", [0, 253, 254, 255])
def test_tables_of_the_kernel_are_refused(table: int) -> None:
    with pytest.raises(ValueError, match="not ours to use"):
        RuleDriver(4, table)


def test_a_rule_to_another_table_is_refused() -> None:
    with pytest.raises(ValueError, match="a rule to table 2, where 1 is ours"):
        RuleDriver(4, 1).desire(WISH._replace(table=2))
