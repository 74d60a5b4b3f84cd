from __future__ import annotations

import pytest
from msgspec import structs

from dataplane.families import Family
from dataplane.ipsec.kernel import KernelPolicy, KernelState, KernelTemplate
from dataplane.ipsec.ours import (
    NUMBERS,
    Claim,
    Numbers,
    claim_of_policy,
    claim_of_state,
    index_of,
    number_of,
)
from dataplane.ipsec.values import Direction, PolicyId, Selector, StateId

OWN = frozenset({"192.168.77.1"})
RECEIVING = KernelState(
    StateId("192.168.77.1", 0xABCDEF3),
    "192.168.77.2",
    reqid=1,
    set_mark=0xD00,
    set_mark_mask=0xF00,
    esn=True,
    replay_window=1024,
)
SENDING = KernelState(
    StateId("192.168.77.2", 0x1234563),
    "192.168.77.1",
    reqid=1,
    esn=True,
    replay_window=1024,
)
SHARED = structs.replace(
    RECEIVING, id=StateId("192.168.77.1", 3), source="0.0.0.0", esn=False, replay_window=0
)
SELECTOR = Selector("0.0.0.0/0", "10.60.2.0/26")
TEMPLATE = KernelTemplate("192.168.77.1", "192.168.77.2", 0x1234563, 50, 1, 1, optional=False)
TUNNEL = KernelPolicy(
    "out", SELECTOR, 1006, "allow", templates=(TEMPLATE,), index=index_of(7, 4, "out")
)
BLOCK = structs.replace(TUNNEL, action="block", templates=())


@pytest.mark.parametrize("direction", ["in", "out", "fwd"])
def test_a_number_is_found_again_in_its_index(direction: Direction) -> None:
    families: tuple[Family, ...] = (4, 6)
    for number in (0, 1, 4711, NUMBERS - 1):
        indices = {index_of(number, family, direction) for family in families}
        assert len(indices) == 2, "the kernel has one list for both families"
        assert {number_of(index) for index in indices} == {number}


def test_what_the_kernel_counts_itself_is_no_signature() -> None:
    assert [number_of(index) for index in (0, 1, 8, 2170, 0x65FFFFF9, 0x67000001)] == [None] * 6


@pytest.mark.parametrize(
    ("state", "claim"),
    [
        (RECEIVING, "ours"),
        (SENDING, "ours"),
        (SHARED, "ours"),
        (structs.replace(SENDING, id=StateId("192.168.77.2", 0xC0000013)), "foreign"),
        (structs.replace(SENDING, reqid=2), "foreign"),
        (structs.replace(SENDING, mode=0), "foreign"),
        (structs.replace(SENDING, protocol=51), "foreign"),
        (structs.replace(SENDING, source="192.168.77.9"), "foreign"),
        (structs.replace(SENDING, if_id=4), "doubtful"),
        (structs.replace(SENDING, mark=5, mark_mask=0xFF), "doubtful"),
        (structs.replace(SENDING, plain=False), "doubtful"),
        (structs.replace(SENDING, limited=True), "doubtful"),
        (structs.replace(SENDING, esn=False, replay_window=32), "doubtful"),
        (structs.replace(SENDING, selector=SELECTOR), "doubtful"),
        (structs.replace(SENDING, set_mark=0xE00, set_mark_mask=0xF00), "doubtful"),
        (structs.replace(RECEIVING, set_mark=0x5), "doubtful"),
        (structs.replace(RECEIVING, source="0.0.0.0"), "doubtful"),
        (structs.replace(SHARED, replay_window=32), "doubtful"),
        (structs.replace(RECEIVING, id=StateId("192.168.77.1", 0xABCDEF0)), "foreign"),
    ],
)
def test_a_state_is_ours_if_all_of_it_is(state: KernelState, claim: Claim) -> None:
    assert claim_of_state(state, 1, OWN) == claim


@pytest.mark.parametrize(
    ("policy", "claim"),
    [
        (TUNNEL, "ours"),
        (BLOCK, "ours"),
        (structs.replace(TUNNEL, mark=0xD00, mark_mask=0xF00), "ours"),
        (structs.replace(TUNNEL, templates=(TEMPLATE._replace(reqid=9),)), "ours"),
        (structs.replace(BLOCK, index=0), "foreign"),
        (structs.replace(TUNNEL, index=8, templates=(TEMPLATE._replace(reqid=9),)), "foreign"),
        (structs.replace(TUNNEL, index=8, priority=200000), "foreign"),
        (structs.replace(TUNNEL, index=8), "doubtful"),
        (structs.replace(TUNNEL, priority=200000), "doubtful"),
        (structs.replace(TUNNEL, templates=(TEMPLATE, TEMPLATE)), "doubtful"),
        (structs.replace(TUNNEL, templates=(TEMPLATE._replace(mode=0),)), "doubtful"),
        (structs.replace(TUNNEL, if_id=3), "doubtful"),
        (structs.replace(TUNNEL, plain=False), "doubtful"),
    ],
)
def test_a_policy_is_ours_by_its_number_and_its_form(policy: KernelPolicy, claim: Claim) -> None:
    assert claim_of_policy(policy, 1) == claim


def test_each_number_is_given_once_for_as_long_as_there_are_others() -> None:
    name = PolicyId("out", SELECTOR)
    numbers = Numbers([index_of(4, 4, "in"), index_of(7, 4, "out")])
    assert numbers.indices([name, name]) == [index_of(8, 4, "out"), index_of(9, 4, "out")]
    full = Numbers([index_of(number, 4, "in") for number in range(NUMBERS) if number != 5])
    assert full.indices([name]) == [index_of(5, 4, "out")]
    assert full.indices([name]) == [index_of(6, 4, "out")], "all are taken: from the beginning"


def test_numbers_that_come_round_pass_by_what_is_in_use() -> None:
    of_4, of_6 = PolicyId("fwd", SELECTOR), PolicyId("in", Selector("::/0", "fd00::/64"))
    numbers = Numbers([index_of(1, 4, "in"), index_of(NUMBERS - 2, 4, "in")])
    assert numbers.indices([of_4, of_6, of_4]) == [
        index_of(NUMBERS - 1, 4, "fwd"),
        index_of(0, 6, "in"),
        index_of(2, 4, "fwd"),
    ]
