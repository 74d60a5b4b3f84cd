"""Which rule is added and which go, so that there is no moment without."""

from __future__ import annotations

import pytest

from dataplane.drivers.rules import Difference, Rule, RuleDriver, difference, made_by
from dataplane.rtrules import KernelRule

WISH = Rule(99, 1, 0x200000)
OURS = KernelRule(99, 1, 0x200000, 0x200000, True, 80, True)
FELIXS = OURS._replace(protocol=0)
FORWARDED = WISH._replace(forwarded=True)
NOT_HOSTS = KernelRule(99, 1, 0, 0, True, 80, False, forwarded=True)
NOTHING = Difference()


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        pytest.param([], Difference(add=(WISH,), remove=()), id="none"),
        pytest.param([OURS], NOTHING, id="as wished"),
        pytest.param([FELIXS], Difference(add=(WISH,), remove=(FELIXS,)), id="Felix's"),
        pytest.param([FELIXS, OURS], Difference(add=(), remove=(FELIXS,)), id="Felix's first"),
        pytest.param(
            # A deletion of the second would take the first.
            [OURS, FELIXS],
            Difference(add=(WISH,), remove=(OURS, FELIXS)),
            id="Felix's last",
        ),
        pytest.param([OURS, OURS], Difference(add=(), remove=(OURS,)), id="twice"),
        pytest.param(
            [OURS._replace(priority=10), OURS, OURS._replace(priority=200)],
            Difference(add=(), remove=(OURS._replace(priority=10), OURS._replace(priority=200))),
            id="other priorities",
        ),
    ],
)
def test_the_difference(found: list[KernelRule], expected: Difference) -> None:
    assert difference([WISH], found) == expected


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
    assert difference([WISH], [other]) == Difference(add=(WISH,), remove=(other,))


@pytest.mark.parametrize(
    ("wish", "found"), [(FORWARDED, OURS), (WISH, NOT_HOSTS)], ids=["narrower", "wider"]
)
def test_one_takes_the_place_of_the_other(wish: Rule, found: KernelRule) -> None:
    assert difference([wish], [found]) == Difference(add=(wish,), remove=(found,))


def test_one_that_is_not_for_the_host_is_known_again() -> None:
    assert difference([FORWARDED], [NOT_HOSTS]) == NOTHING
    other = NOT_HOSTS._replace(protocol=0)
    assert difference([FORWARDED], [other]) == Difference(add=(FORWARDED,), remove=(other,))


def test_without_a_wish_all_go() -> None:
    assert difference([], [FELIXS, OURS]) == Difference(add=(), remove=(FELIXS, OURS))
    assert difference([], []) == NOTHING


@pytest.mark.parametrize("table", [0, 253, 254, 255])
def test_tables_of_the_kernel_are_refused(table: int) -> None:
    with pytest.raises(ValueError, match="not ours to use"):
        RuleDriver(4, table)


def test_a_rule_to_another_table_is_refused() -> None:
    with pytest.raises(ValueError, match="a rule to table 2, where 1 is ours"):
        RuleDriver(4, 1).desire(WISH._replace(table=2))


D00 = Rule(1, 200, 0xD00, 0xF00, inverted=False, protocol=50)
E00 = D00._replace(mark=0xE00)
THERE = KernelRule(1, 200, 0xD00, 0xF00, False, 50, True)
THERE_TOO = THERE._replace(mark=0xE00)
SURPLUS = THERE._replace(mark=0xE00, protocol=0)


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        pytest.param([], Difference((D00, E00)), id="none"),
        pytest.param([THERE], Difference((E00,)), id="one"),
        pytest.param([THERE_TOO, THERE], NOTHING, id="in any order"),
        pytest.param([SURPLUS, THERE, THERE_TOO], Difference((), (SURPLUS,)), id="before them"),
        pytest.param(
            [THERE, SURPLUS, THERE_TOO], Difference((D00,), (THERE, SURPLUS)), id="between them"
        ),
        pytest.param([THERE, THERE, THERE_TOO], Difference((), (THERE,)), id="one twice"),
    ],
)
def test_of_several_all_are_there_and_last(found: list[KernelRule], expected: Difference) -> None:
    assert difference([D00, E00], found) == expected


@pytest.mark.parametrize(
    ("rule", "ours"),
    [
        (THERE, True),
        (THERE_TOO, True),
        (THERE._replace(priority=7), True),
        (THERE._replace(protocol=0), False),
        (THERE._replace(table=201), False),
        (THERE._replace(mark=0xC00), False),
        (THERE._replace(mask=0xFFFF), False),
    ],
)
def test_in_a_table_that_others_use_only_what_we_made_is_ours(rule: KernelRule, ours: bool) -> None:
    owned = made_by(200, 50, {(0xD00, 0xF00), (0xE00, 0xF00)})
    assert [owned(rule, True), owned(rule, False)] == [ours, ours]


def test_a_rule_is_told_as_ip_tells_it() -> None:
    assert str(WISH) == "99: not from all fwmark 0x200000/0x200000 lookup 1"
    assert str(E00) == "1: from all fwmark 0xe00/0xf00 lookup 200"
