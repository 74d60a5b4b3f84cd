"""The driver of IPsec in a kernel that has ESP: run in the guest by test_ipsec_driver.py.

What needs no states is in tests/kernel/test_ipsec_policies.py.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable, Iterator

import pytest
from msgspec import structs

from dataplane.families import Family
from dataplane.interfaces import Interface
from dataplane.ipsec.driver import IpsecDriver
from dataplane.ipsec.kernel import Xfrm, open_xfrm
from dataplane.ipsec.keys import Algorithm, Key, KeyRing
from dataplane.ipsec.plan import (
    REMOVALS_AFTER_ROUTES,
    REMOVALS_BEFORE_MAIN,
    REMOVALS_BEFORE_ROUTES,
)
from dataplane.ipsec.values import (
    ANYBODY,
    EVERYWHERE,
    PolicyId,
    PolicyWish,
    Selector,
    StateId,
    StateWish,
    Template,
)
from tests.kernel.conftest import Namespace
from tests.kernel.conftest import inside as inside
from tests.kernel.conftest import netns as netns
from tests.kernel.conftest import veth as veth

GCM = Algorithm(aead="rfc4106(gcm(aes))", icv_bits=128)
CBC = Algorithm(auth="hmac(sha256)", trunc_bits=128, encryption="cbc(aes)")
HERE: dict[Family, str] = {4: "192.168.77.1", 6: "fd77::1"}
THERE: dict[Family, str] = {4: "192.168.77.2", 6: "fd77::2"}
NET: dict[Family, str] = {4: "10.60.2.0/26", 6: "fd60:0:0:2::/64"}
LIFE = "a1" * 16 + "b2" * 16
EVERYTHING = (*REMOVALS_BEFORE_MAIN, *REMOVALS_BEFORE_ROUTES, *REMOVALS_AFTER_ROUTES)


def key(number: int, algorithm: Algorithm = GCM) -> Key:
    if algorithm.aead:
        return Key(number, algorithm, bytearray([number + 1] * 20))
    return Key(number, algorithm, bytearray([number + 1] * 64), auth_bytes=32)


def pair(family: Family) -> dict[StateId, StateWish]:
    here, there = HERE[family], THERE[family]
    states = (
        StateWish(StateId(here, 0xBBBBBB3), there, 3, receives=True, peer="n2", life=LIFE),
        StateWish(StateId(there, 0xAAAAAA3), here, 3, receives=False, peer="n2", life=LIFE),
    )
    return {state.id: state for state in states}


def shared(family: Family) -> dict[StateId, StateWish]:
    here, there = HERE[family], THERE[family]
    states = (
        StateWish(StateId(here, 3), ANYBODY[family], 3, receives=True),
        StateWish(StateId(there, 3), here, 3, receives=False, peer="n2"),
    )
    return {state.id: state for state in states}


def policies(family: Family, spi: int) -> dict[PolicyId, PolicyWish]:
    here, there, everywhere = HERE[family], THERE[family], EVERYWHERE[family]
    out = PolicyId("out", Selector(everywhere, NET[family]))
    into = PolicyId("in", Selector(NET[family], everywhere))
    found = (
        PolicyWish(out, 1006, template=Template(here, there, spi)),
        PolicyWish(into, 1006, template=Template(there, here)),
        PolicyWish(structs.replace(into, direction="fwd"), 1006, template=Template(there, here)),
    )
    return {policy.id: policy for policy in found}


@pytest.fixture(params=[4, 6], ids=["IPv4", "IPv6"])
def family(request: pytest.FixtureRequest) -> Family:
    found: Family = request.param
    return found


@pytest.fixture
def kernel(inside: Namespace) -> Iterator[Xfrm]:
    made = open_xfrm(1)
    yield made
    made.close()


MakeDriver = Callable[..., IpsecDriver]


@pytest.fixture
def make_driver(family: Family, kernel: Xfrm) -> MakeDriver:
    def make(algorithm: Algorithm = GCM, ring: KeyRing | None = None) -> IpsecDriver:
        driver = IpsecDriver(family, 1, lambda: kernel)
        own = frozenset({HERE[family]})
        driver.interface_changed("eth0", Interface("eth0", 2, up=True, addresses=own))
        driver.offer_keys(KeyRing([key(3, algorithm)]) if ring is None else ring)
        return driver

    return make


def shown(inside: Namespace) -> list[str]:
    """States as ip shows them, without their keys, each in one line."""
    text = inside.run("ip xfrm state list nokeys")
    blocks = re.split(r"\n(?=src )", text.strip())
    return sorted(re.sub(r"\s+", " ", block).strip() for block in blocks if block)


def made_at(inside: Namespace) -> list[str]:
    """When each was made: a state that is made anew has another time, or counts from 0."""
    return re.findall(r"add (\S+ \S+)", inside.run("ip -s xfrm state"))


@pytest.mark.parametrize("layout", [pair, shared])
@pytest.mark.parametrize("algorithm", [GCM, CBC], ids=str)
async def test_after_a_restart_not_one_of_them_is_written(
    inside: Namespace,
    family: Family,
    make_driver: MakeDriver,
    layout: Callable[[Family], dict[StateId, StateWish]],
    algorithm: Algorithm,
) -> None:
    states = layout(family)
    wishes = policies(family, list(states)[1].spi)
    first = make_driver(algorithm)
    first.desire(states, wishes)
    assert await first.additions()
    before = shown(inside), made_at(inside)
    second = make_driver(algorithm)
    assert await second.adopt() == {name: state.source for name, state in states.items()}
    second.desire(states, wishes)
    assert not await second.additions()
    await second.removals(*EVERYTHING)
    assert second.written == 0
    assert second.take_observed() == (states, wishes)
    assert (second.spent, second.doubtful) == ("", ())
    assert (shown(inside), made_at(inside)) == before


async def test_another_key_under_the_same_id_is_seen(
    family: Family, make_driver: MakeDriver
) -> None:
    states = pair(family)
    first = make_driver()
    first.desire(states, {})
    await first.additions()
    other = Key(3, GCM, bytearray(secrets.token_bytes(20)))
    second = make_driver(ring=KeyRing([other]))
    second.desire(states, {})
    await second.additions()
    assert second.written == 2
    third = make_driver(ring=KeyRing([other]))
    third.desire(states, {})
    assert not await third.additions()


async def test_states_of_others_stay(
    inside: Namespace, family: Family, make_driver: MakeDriver
) -> None:
    here, there = HERE[family], THERE[family]
    inside.run(
        f"ip xfrm state add src {here} dst {there} proto esp spi 0xc1234567 reqid 1 mode tunnel "
        f"replay-window 32 aead 'rfc4106(gcm(aes))' 0x{'5a' * 20} 128"
    )
    theirs = shown(inside)
    driver = make_driver()
    driver.desire(pair(family), policies(family, 0xAAAAAA3))
    await driver.additions()
    assert set(theirs) < set(shown(inside))
    driver.desire(dict.fromkeys(pair(family)), dict.fromkeys(policies(family, 0)))
    await driver.removals(*EVERYTHING)
    assert shown(inside) == theirs
    assert driver.doubtful == ()


async def test_a_flush_ends_the_life_of_what_was_sent_with(
    inside: Namespace, family: Family, make_driver: MakeDriver
) -> None:
    states = pair(family)
    driver = make_driver()
    driver.desire(states, policies(family, 0xAAAAAA3))
    await driver.additions()
    inside.run("ip xfrm state flush")
    driver.drifted()
    await driver.additions()
    assert len(shown(inside)) == 1
    assert driver.spent
    driver.begin_life()
    sending = list(states.values())[1]
    other = structs.replace(
        sending, id=structs.replace(sending.id, spi=0xCCCCCC3), life="c3" * 16 + "b2" * 16
    )
    driver.desire({sending.id: None, other.id: other}, {})
    await driver.additions()
    assert (driver.spent, len(shown(inside))) == ("", 2)


async def test_a_state_is_kept_whose_key_is_gone(
    inside: Namespace, family: Family, make_driver: MakeDriver
) -> None:
    states = pair(family)
    first = make_driver()
    first.desire(states, {})
    await first.additions()
    before = shown(inside)
    second = make_driver(ring=KeyRing([key(4)]))
    await second.adopt()
    second.desire(states, {})
    assert not await second.additions()
    assert second.take_observed()[0] == states
    assert shown(inside) == before
