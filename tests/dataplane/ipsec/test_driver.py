"""States and policies written, adopted and repaired, against a kernel that refuses."""

from __future__ import annotations

import errno
from collections.abc import Sequence

import pytest
from msgspec import structs

from dataplane.interfaces import Interface
from dataplane.ipsec.driver import IpsecDriver, IpsecError
from dataplane.ipsec.kernel import Change, KernelPolicy, StateAdd
from dataplane.ipsec.keys import Algorithm, Key, KeyRing, Material
from dataplane.ipsec.ours import number_of
from dataplane.ipsec.plan import REMOVALS_AFTER_ROUTES, REMOVALS_BEFORE_ROUTES
from dataplane.ipsec.values import (
    PolicyId,
    PolicyWish,
    Selector,
    StateId,
    StateWish,
    Template,
)
from tests.fakes.xfrm import FakeXfrm, kernel_policy, kernel_state

HERE, THERE = "192.168.77.1", "192.168.77.2"
GCM = Algorithm(aead="rfc4106(gcm(aes))", icv_bits=128)
TO = Selector("0.0.0.0/0", "10.60.2.0/26")
FROM = Selector("10.60.2.0/26", "0.0.0.0/0")
OUT, IN, FWD = PolicyId("out", TO), PolicyId("in", FROM), PolicyId("fwd", FROM)
BLOCK = PolicyWish(OUT, 1006, "block")
RECEIVING = StateWish(StateId(HERE, 0xBBBBBB3), THERE, 3, receives=True, peer="n2", life="b2a1")
SENDING = StateWish(StateId(THERE, 0xAAAAAA3), HERE, 3, receives=False, peer="n2", life="a1b2")
TUNNEL = PolicyWish(OUT, 1006, template=Template(HERE, THERE, 0xAAAAAA3))
INTO = PolicyWish(IN, 1006, template=Template(THERE, HERE))
THROUGH = PolicyWish(FWD, 1006, template=Template(THERE, HERE))
POLICIES = {wish.id: wish for wish in (TUNNEL, INTO, THROUGH)}
STATES = {wish.id: wish for wish in (RECEIVING, SENDING)}


def ring(*ids: int, octets: int = 7) -> KeyRing:
    return KeyRing(Key(key, GCM, bytearray([octets + key] * 20)) for key in ids)


def driver_of(kernel: FakeXfrm, keys: KeyRing | None = None) -> IpsecDriver:
    driver = IpsecDriver(4, 1, lambda: kernel)
    driver.interface_changed("eth0", Interface("eth0", 2, up=True, addresses=frozenset({HERE})))
    driver.offer_keys(ring(3) if keys is None else keys)
    return driver


async def settled(kernel: FakeXfrm) -> IpsecDriver:
    driver = driver_of(kernel)
    driver.desire(STATES, POLICIES)
    await driver.additions()
    kernel.take_journal()
    driver.take_observed()
    return driver


async def test_what_comes_is_written_in_the_order_of_writes_and_once() -> None:
    kernel = FakeXfrm()
    driver = driver_of(kernel)
    driver.desire(STATES, {OUT: BLOCK, IN: INTO, FWD: THROUGH})
    assert await driver.additions()
    driver.desire({}, {OUT: TUNNEL})
    assert await driver.additions()
    assert not await driver.additions()
    assert kernel.take_journal() == [
        "+ policy out 0.0.0.0/0 10.60.2.0/26 block",
        "+ policy in 10.60.2.0/26 0.0.0.0/0 tunnel",
        "+ policy fwd 10.60.2.0/26 0.0.0.0/0 tunnel",
        "+ state 192.168.77.1 0xbbbbbb3",
        "+ state 192.168.77.2 0xaaaaaa3",
        "= policy out 0.0.0.0/0 10.60.2.0/26 tunnel",
    ]
    assert driver.written == 6
    assert driver.settled


async def test_what_goes_is_removed_around_the_routes() -> None:
    kernel = FakeXfrm()
    driver = await settled(kernel)
    driver.desire(dict.fromkeys(STATES), dict.fromkeys(POLICIES))
    assert not await driver.additions()
    await driver.removals(*REMOVALS_BEFORE_ROUTES)
    assert kernel.take_journal() == [
        "- policy out 0.0.0.0/0 10.60.2.0/26",
        "- state 192.168.77.2 0xaaaaaa3",
    ]
    await driver.removals(*REMOVALS_AFTER_ROUTES)
    assert kernel.take_journal() == [
        "- policy in 10.60.2.0/26 0.0.0.0/0",
        "- policy fwd 10.60.2.0/26 0.0.0.0/0",
        "- state 192.168.77.1 0xbbbbbb3",
    ]
    assert (kernel.states, kernel.policies) == ({}, {})


async def test_each_policy_carries_our_signature_through_every_exchange() -> None:
    kernel = FakeXfrm()
    driver = await settled(kernel)
    numbers = {number_of(policy.index) for policy in kernel.policies.values()}
    assert numbers == {0, 1, 2}
    driver.desire({}, {OUT: BLOCK})
    await driver.additions()
    assert {number_of(policy.index) for policy in kernel.policies.values()} == numbers
    again = driver_of(kernel)
    other = PolicyId("out", Selector("0.0.0.0/0", "10.60.3.0/26"))
    again.desire(STATES, {**POLICIES, other: PolicyWish(other, 1006, "block")})
    await again.additions()
    assert number_of(kernel.policies[other].index) == 3


async def test_after_a_restart_nothing_is_written() -> None:
    kernel = FakeXfrm()
    await settled(kernel)
    driver = driver_of(kernel)
    assert await driver.adopt() == {RECEIVING.id: THERE, SENDING.id: HERE}
    driver.desire(STATES, POLICIES)
    assert driver.settled
    assert not await driver.additions()
    await driver.removals(*REMOVALS_BEFORE_ROUTES, *REMOVALS_AFTER_ROUTES)
    assert kernel.take_journal() == []
    assert driver.take_observed() == (STATES, POLICIES)
    assert driver.spent == ""


async def test_it_tells_what_is_there_as_wished_and_what_has_gone() -> None:
    kernel = FakeXfrm()
    driver = await settled(kernel)
    driver.desire({SENDING.id: None}, {OUT: None})
    await driver.removals(*REMOVALS_BEFORE_ROUTES)
    assert driver.take_observed() == ({SENDING.id: None}, {OUT: None})
    assert driver.take_observed() == ({}, {})


FOREIGN = KernelPolicy("out", Selector("0.0.0.0/0", "10.0.0.0/8"), 100000, "allow", index=8)


async def test_what_is_not_ours_stays_as_it_is() -> None:
    kernel = FakeXfrm()
    theirs = structs.replace(kernel_state(SENDING), id=StateId(THERE, 0xC1234567))
    kernel.put_state(theirs)
    kernel.put_policy(FOREIGN)
    driver = await settled(kernel)
    driver.desire(dict.fromkeys(STATES), dict.fromkeys(POLICIES))
    await driver.removals(*REMOVALS_BEFORE_ROUTES, *REMOVALS_AFTER_ROUTES)
    assert list(kernel.states.values()) == [theirs]
    assert list(kernel.policies.values()) == [FOREIGN]
    assert driver.doubtful == ()


async def test_what_is_doubtful_is_told_and_never_deleted() -> None:
    kernel = FakeXfrm()
    looks_like_ours = structs.replace(
        kernel_policy(TUNNEL, index=16), selector=Selector("0.0.0.0/0", "10.9.0.0/16")
    )
    kernel.put_policy(looks_like_ours)
    kernel.put_state(structs.replace(kernel_state(SENDING), id=StateId(THERE, 0x33), if_id=4))
    driver = await settled(kernel)
    assert driver.doubtful == (
        "policy out 0.0.0.0/0 to 10.9.0.0/16",
        "state to 192.168.77.2 SPI 0x33",
    )
    driver.desire(dict.fromkeys(STATES), dict.fromkeys(POLICIES))
    await driver.removals(*REMOVALS_BEFORE_ROUTES, *REMOVALS_AFTER_ROUTES)
    assert list(kernel.policies.values()) == [looks_like_ours]
    assert len(kernel.states) == 1


async def test_what_stands_in_the_place_of_ours_is_told_and_left_and_keeps_nobody_waiting() -> None:
    kernel = FakeXfrm()
    theirs = structs.replace(kernel_policy(TUNNEL, reqid=9, index=16), priority=287712)
    kernel.put_policy(theirs)
    driver = driver_of(kernel)
    driver.desire(STATES, POLICIES)
    await driver.additions()
    assert kernel.policies[OUT] == theirs
    assert len(kernel.policies) == 3
    assert driver.problems() == {
        "IPv4 IPsec policy out 0.0.0.0/0 to 10.60.2.0/26": "somebody else's is in its place"
    }
    observed = driver.take_observed()[1]
    assert observed == {IN: INTO, FWD: THROUGH}


async def test_what_others_take_away_comes_back_and_what_closes_first() -> None:
    kernel = FakeXfrm()
    driver = await settled(kernel)
    driver.desire({}, {OUT: BLOCK})
    await driver.additions()
    kernel.take_journal()
    kernel.flush(policies=True)
    driver.drifted()
    assert await driver.additions()
    assert [line.split()[2:] for line in kernel.take_journal()] == [
        ["out", "0.0.0.0/0", "10.60.2.0/26", "block"],
        ["in", "10.60.2.0/26", "0.0.0.0/0", "tunnel"],
        ["fwd", "10.60.2.0/26", "0.0.0.0/0", "tunnel"],
    ]


async def test_a_look_finds_what_nobody_has_told() -> None:
    kernel = FakeXfrm()
    driver = await settled(kernel)
    assert not await driver.check()
    kernel.policies[IN] = structs.replace(kernel.policies[IN], priority=1007)
    assert await driver.check()
    await driver.additions()
    assert kernel.take_journal() == ["= policy in 10.60.2.0/26 0.0.0.0/0 tunnel"]


async def test_a_sending_key_is_never_used_from_the_start_again() -> None:
    kernel = FakeXfrm()
    driver = await settled(kernel)
    kernel.flush(states=True)
    driver.drifted()
    await driver.additions()
    assert kernel.take_journal() == ["+ state 192.168.77.1 0xbbbbbb3"]
    assert driver.take_observed()[0] == {SENDING.id: None}
    assert driver.spent == "1 sending states are not there as they were made"
    assert driver.lost_ways
    driver.begin_life()
    renewed = structs.replace(SENDING, id=StateId(THERE, 0xCCCCCC3), life="a2b2")
    driver.desire({SENDING.id: None, renewed.id: renewed}, {})
    assert driver.spent == ""
    await driver.additions()
    assert kernel.take_journal() == ["+ state 192.168.77.2 0xcccccc3"]


async def test_of_a_state_with_another_detail_the_key_is_not_used_again() -> None:
    kernel = FakeXfrm()
    await settled(kernel)
    kernel.states[SENDING.id] = structs.replace(kernel.states[SENDING.id], reqid=2)
    driver = driver_of(kernel)
    driver.desire(STATES, POLICIES)
    await driver.additions()
    assert kernel.take_journal() == []
    assert driver.spent


async def test_another_key_under_the_same_id_is_seen_and_exchanged() -> None:
    kernel = FakeXfrm()
    await settled(kernel)
    driver = driver_of(kernel, ring(3, octets=50))
    driver.desire(STATES, POLICIES)
    await driver.additions()
    assert kernel.take_journal() == [
        "- state 192.168.77.1 0xbbbbbb3",
        "+ state 192.168.77.1 0xbbbbbb3",
        "- state 192.168.77.2 0xaaaaaa3",
        "+ state 192.168.77.2 0xaaaaaa3",
    ]


async def test_a_key_that_becomes_another_is_seen_and_one_that_comes_changes_nothing() -> None:
    kernel = FakeXfrm()
    await settled(kernel)
    driver = driver_of(kernel)
    await driver.adopt()
    driver.desire(STATES, POLICIES)
    driver.take_observed()
    driver.offer_keys(ring(3, 4))
    assert driver.settled
    assert driver.take_observed() == ({}, {})
    driver.offer_keys(ring(3, 4, octets=50))
    assert not driver.settled
    assert driver.take_observed()[0] == dict.fromkeys(STATES)
    driver.offer_keys(ring(4))
    assert driver.settled, "it cannot be compared, and agrees in all the rest"


async def test_keys_of_states_are_overwritten_whatever_the_kernel_says() -> None:
    given: list[Material] = []

    class Keeping(FakeXfrm):
        async def change(self, changes: Sequence[Change]) -> list[int]:
            these = [one.material for one in changes if isinstance(one, StateAdd)]
            assert all(any(material.keys[0]) for material in these)
            given.extend(these)
            return await super().change(changes)

    kernel = Keeping()
    driver = driver_of(kernel)
    driver.desire(STATES, {})
    kernel.fails = ["+ state"]
    with pytest.raises(IpsecError):
        await driver.additions()
    assert len(given) == 2
    kernel.fails, kernel.silent = [], errno.ENOBUFS
    with pytest.raises(IpsecError):
        await driver.additions()
    kernel.silent = 0
    await driver.additions()
    assert len(given) == 4
    assert not any(any(material.keys[0]) for material in given)


async def test_a_state_whose_key_is_gone_is_kept_and_cannot_be_made() -> None:
    kernel = FakeXfrm()
    await settled(kernel)
    driver = driver_of(kernel, ring(4))
    await driver.adopt()
    driver.desire(STATES, POLICIES)
    assert driver.settled
    assert driver.take_observed()[0] == STATES
    kernel.flush(states=True)
    driver.drifted()
    assert not await driver.additions()
    assert driver.take_observed()[0] == dict.fromkeys(STATES)


async def test_a_refusal_keeps_nobody_else_waiting_and_is_tried_again() -> None:
    kernel = FakeXfrm()
    kernel.fails = ["+ state 192.168.77.1"]
    driver = driver_of(kernel)
    driver.desire(STATES, POLICIES)
    with pytest.raises(IpsecError, match="SPI 0xbbbbbb3: Cannot allocate memory"):
        await driver.additions()
    assert len(kernel.journal) == 4
    assert RECEIVING.id not in driver.take_observed()[0]
    kernel.fails = []
    await driver.additions()
    assert kernel.journal[4:] == ["+ state 192.168.77.1 0xbbbbbb3"]


async def test_a_state_of_another_source_under_the_same_spi_is_in_the_way() -> None:
    kernel = FakeXfrm()
    theirs = structs.replace(kernel_state(RECEIVING), source="192.168.77.9", if_id=3)
    kernel.put_state(theirs)
    driver = driver_of(kernel)
    driver.desire(STATES, POLICIES)
    await driver.additions()
    assert kernel.states[RECEIVING.id] == theirs
    assert "IPv4 IPsec state to 192.168.77.1 SPI 0xbbbbbb3" in driver.problems()


async def test_a_kernel_that_does_not_answer_is_told() -> None:
    kernel = FakeXfrm()
    kernel.silent = errno.EPROTONOSUPPORT
    driver = driver_of(kernel)
    with pytest.raises(IpsecError):
        await driver.adopt()
    assert driver.problems() == {"IPv4 IPsec": "this kernel has no IPsec (NETLINK_XFRM)"}
    kernel.silent = 0
    await driver.adopt()
    assert driver.problems() == {}


async def test_another_family_is_none_of_its_business() -> None:
    kernel = FakeXfrm()
    other = structs.replace(
        kernel_state(SENDING), id=StateId("fd00::2", 0xAAAAAA3), source="fd00::1"
    )
    kernel.put_state(other)
    driver = await settled(kernel)
    assert set(await driver.look()) == set(STATES)
    driver.desire(dict.fromkeys(STATES), dict.fromkeys(POLICIES))
    await driver.removals(*REMOVALS_BEFORE_ROUTES, *REMOVALS_AFTER_ROUTES)
    assert list(kernel.states.values()) == [other]


async def test_it_is_closed_when_nothing_goes_in_clear_that_is_to_be_blocked() -> None:
    kernel = FakeXfrm()
    kernel.fails = ["+ policy out"]
    driver = driver_of(kernel)
    assert driver.closed
    driver.desire({}, {OUT: BLOCK})
    with pytest.raises(IpsecError):
        await driver.additions()
    assert not driver.closed
    kernel.fails = []
    await driver.additions()
    assert driver.closed


async def test_a_tunnel_that_is_to_be_blocked_lets_nothing_out_in_clear() -> None:
    kernel = FakeXfrm()
    driver = await settled(kernel)
    driver.desire({}, {OUT: BLOCK})
    assert driver.closed
    kernel.policies[OUT] = kernel_policy(PolicyWish(OUT, 400), index=kernel.policies[OUT].index)
    await driver.check()
    assert not driver.closed


async def test_of_what_does_not_answer_nothing_is_known() -> None:
    kernel = FakeXfrm()
    driver = await settled(kernel)
    kernel.silent = errno.ENOBUFS
    driver.desire({}, {OUT: BLOCK})
    with pytest.raises(IpsecError):
        await driver.additions()
    with pytest.raises(IpsecError):
        await driver.check()
    kernel.silent = 0
    reads = kernel.reads
    await driver.additions()
    assert kernel.reads == reads + 1
