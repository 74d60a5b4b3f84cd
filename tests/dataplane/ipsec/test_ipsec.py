"""IPsec of a node, on and off, against a kernel that only remembers; without table 200."""

from __future__ import annotations

import asyncio
import errno
from collections.abc import Coroutine
from typing import Any, Literal

import pytest
from msgspec import structs

from calc_graph.model import IpsecNode, IpsecPeering
from calc_graph.updates import (
    HostRemove,
    HostUpdate,
    IpsecPeer,
    IpsecPeerRemove,
    RouteRemove,
    RouteType,
    RouteUpdate,
)
from dataplane.errors import DataplaneError
from dataplane.families import Family
from dataplane.interfaces import Interface
from dataplane.ipsec.ipsec import Ipsec
from dataplane.ipsec.kernel import Expired, KernelPolicy, Xfrm
from dataplane.ipsec.keys import Algorithm, Key, KeyRing
from dataplane.ipsec.life import Life, new_life
from dataplane.ipsec.retire import IN_FLIGHT_SECONDS
from dataplane.ipsec.values import PolicyId, Selector, StateId
from dataplane.settings import IpsecSettings, Settings, WireguardSettings
from tests.fakes.xfrm import FakeXfrm

HERE, THERE = "192.168.77.1", "192.168.77.2"
NET = "10.60.2.0/26"
GCM = Algorithm(aead="rfc4106(gcm(aes))", icv_bits=128)
OUT = PolicyId("out", Selector("0.0.0.0/0", NET))
LIFE = new_life("n1", bytes(16))
SETTINGS = Settings(
    "n1",
    route_sync=False,
    ipsec=IpsecSettings(families=frozenset({4}), interface="eth0", key_grace=60.0),
)
OFF = structs.replace(SETTINGS, ipsec=IpsecSettings(interface="eth0"))
FOREIGN = KernelPolicy("out", Selector("0.0.0.0/0", "10.0.0.0/8"), 100000, "allow", index=8)


def ring(*ids: int) -> KeyRing:
    return KeyRing(Key(key, GCM, bytearray([40 + key] * 20)) for key in ids)


class Clock:
    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 1000.0
        monkeypatch.setattr(asyncio.get_running_loop(), "time", lambda: self.now)


class Node:
    def __init__(
        self,
        kernel: FakeXfrm,
        settings: Settings = SETTINGS,
        families: tuple[Family, ...] = (4,),
    ) -> None:
        self.kernel = kernel
        self.layout = settings.ipsec.layout
        self.families = families
        self.failures: dict[str, str] = {}
        self.ipsec = Ipsec(families, settings, self.opened)
        self.opened_times = 0
        interface = Interface("eth0", 2, up=True, addresses=frozenset({HERE}), mtu=1500)
        self.ipsec.interface_changed("eth0", interface)
        self.ipsec.update(HostUpdate("n1", HERE, ""))

    def opened(self) -> Xfrm:
        self.opened_times += 1
        return self.kernel

    def offer(self, *ids: int, life: Life = LIFE) -> None:
        self.ipsec.offer_life(life)
        self.ipsec.offer_keys(ring(*ids))

    def meet(self, *ids: int, sends: int = 0, tag: int = LIFE.tag) -> None:
        """Another node, that has taken us in."""
        self.ipsec.update(HostUpdate("n2", THERE, ""))
        route = RouteUpdate(NET, RouteType.REMOTE_WORKLOAD, "none", "n2", THERE)
        self.ipsec.update(route)
        end = IpsecNode(
            enabled=True,
            layout=self.layout,
            tag=0xBBBBBB,
            boot="b" * 32,
            receive=ring(*ids).checks,
            peers={"n1": IpsecPeering(tag, sends)},
            ipv4=THERE,
        )
        self.ipsec.update(IpsecPeer("n2", end))

    async def apply(self) -> list[str]:
        """What it has written."""
        self.failures.clear()
        for family in self.families:
            await self.ipsec.before(family, self.step)
            await self.ipsec.after(family, self.step)
        return self.kernel.take_journal()

    async def rest(self) -> list[str]:
        """What it writes until it has nothing more to do at this time."""
        written = await self.apply()
        while self.ipsec.checks()["IPsec"].next_check() <= asyncio.get_running_loop().time():
            await self.ipsec.checks()["IPsec"].check()
            written += await self.apply()
        return written

    async def step(self, name: str, work: Coroutine[Any, Any, None]) -> bool:
        try:
            await work
        except DataplaneError as error:
            self.failures[name] = str(error)
            return False
        return True

    def states(self) -> dict[tuple[str, int], str]:
        return {(n.destination, n.spi & 0xF): s.source for n, s in self.kernel.states.items()}

    def out(self) -> str:
        policy = self.kernel.policies[OUT]
        return f"key {policy.templates[0].spi & 0xF}" if policy.templates else policy.action


@pytest.fixture
def kernel() -> FakeXfrm:
    return FakeXfrm()


async def encrypting(kernel: FakeXfrm) -> Node:
    node = Node(kernel)
    node.offer(3)
    node.meet(3)
    await node.rest()
    assert node.out() == "key 3"
    return node


async def test_a_peer_is_received_from_sent_to_and_opened_in_one_apply(kernel: FakeXfrm) -> None:
    node = Node(kernel)
    node.offer(3)
    node.meet(3)
    written = await node.apply()
    out = f"policy out 0.0.0.0/0 {NET}"
    state = "state 192.168.77.2"
    places = [
        next(n for n, line in enumerate(written) if line.startswith("+ state 192.168.77.1")),
        next(n for n, line in enumerate(written) if line.startswith(f"+ {state}")),
        written.index(f"+ {out} tunnel"),
    ]
    assert places == sorted(places)
    assert not any("block" in line for line in written if NET in line)
    assert node.failures == {}
    assert await node.rest() == []
    assert node.ipsec.settled
    record = node.ipsec.record()
    assert record is not None
    assert record.receive == ring(3).checks
    assert record.peers == {"n2": IpsecPeering(0xBBBBBB, 3)}


async def test_a_net_is_barred_in_the_same_apply_where_a_state_is_refused(kernel: FakeXfrm) -> None:
    node = Node(kernel)
    node.offer(3)
    node.meet(3)
    kernel.fails = ["+ state 192.168.77.2"]
    assert f"+ policy out 0.0.0.0/0 {NET} block" in await node.apply()
    assert list(node.failures) == ["IPv4 IPsec"]
    kernel.fails = []
    assert f"= policy out 0.0.0.0/0 {NET} tunnel" in await node.apply()


async def test_a_net_is_barred_in_the_same_apply_where_there_is_no_state_to_send_with(
    kernel: FakeXfrm,
) -> None:
    node = Node(kernel)
    node.offer(3)
    node.meet(4)
    assert f"+ policy out 0.0.0.0/0 {NET} block" in await node.apply()
    assert node.failures == {}


async def test_it_tells_how_far_it_has_come(kernel: FakeXfrm) -> None:
    node = await encrypting(kernel)
    status = await node.ipsec.status()
    assert status.families[0].phase == "on"
    assert status.families[0].address == HERE
    assert [peer.stage for peer in status.peers] == ["encrypted"]
    assert [(s.peer, s.key, s.receives) for s in status.states] == [
        ("n2", 3, True),
        ("n2", 3, False),
    ]
    assert status.tag == LIFE.tag
    assert node.ipsec.problems() == {}
    assert set(node.ipsec.alive()) == {3}


async def test_after_a_restart_nothing_is_written(kernel: FakeXfrm) -> None:
    await encrypting(kernel)
    node = Node(kernel)
    node.offer(3, life=structs.replace(LIFE, known=ring(3).checks))
    node.meet(3)
    assert await node.rest() == []
    assert node.ipsec.written == 0
    assert node.ipsec.renewal() == ""
    assert node.ipsec.settled


async def test_before_the_keys_are_known_what_is_there_stays_and_what_is_new_is_closed(
    kernel: FakeXfrm,
) -> None:
    await encrypting(kernel)
    node = Node(kernel)
    node.meet(3)
    other = RouteUpdate("10.60.3.0/26", RouteType.REMOTE_WORKLOAD, "none", "n2", THERE)
    node.ipsec.update(other)
    written = await node.rest()
    assert "+ policy out 0.0.0.0/0 10.60.3.0/26 block" in written
    assert {line[0] for line in written} == {"+"}
    assert node.out() == "key 3"
    assert not node.ipsec.settled
    assert "IPsec keys" in node.ipsec.problems()
    node.offer(3)
    written = await node.rest()
    assert written == ["= policy out 0.0.0.0/0 10.60.3.0/26 tunnel"]


async def test_keys_are_exchanged_without_a_gap(kernel: FakeXfrm) -> None:
    node = await encrypting(kernel)
    node.offer(4)
    await node.rest()
    assert (node.out(), set(node.states())) == (
        "key 3",
        {(HERE, 3), (HERE, 4), (THERE, 3)},
    )
    record = node.ipsec.record()
    assert record is not None
    assert set(record.receive) == {3, 4}
    node.meet(3, 4)
    written = await node.rest()
    assert written[-1] == f"= policy out 0.0.0.0/0 {NET} tunnel" or "- state" in written[-1]
    assert node.out() == "key 4"
    assert not any(line.startswith("- policy") for line in written)


async def test_a_key_that_has_left_the_file_still_makes_states_for_who_has_no_other(
    kernel: FakeXfrm,
) -> None:
    node = await encrypting(kernel)
    node.offer(4)
    await node.rest()
    # it comes up anew, and has not heard of the other key
    end = IpsecNode(
        enabled=True,
        tag=0xCCCCCC,
        boot="c" * 32,
        receive=ring(3).checks,
        peers={"n1": IpsecPeering(LIFE.tag)},
        ipv4=THERE,
    )
    node.ipsec.update(IpsecPeer("n2", end))
    await node.rest()
    assert StateId(HERE, 0xCCCCCC3) in kernel.states
    assert StateId(HERE, 0xCCCCCC4) in kernel.states
    assert node.out() == "key 3"


async def test_an_address_that_comes_here_is_opened_after_the_main_table_and_closed_before(
    kernel: FakeXfrm,
) -> None:
    node = await encrypting(kernel)
    borrowed = RouteUpdate(
        "10.60.2.9/32", RouteType.LOCAL_WORKLOAD, "none", "n1", HERE, local_workload=True
    )
    node.ipsec.update(borrowed)
    stays = "policy out 0.0.0.0/0 10.60.2.9/32"
    await node.ipsec.before(4, node.step)
    assert f"+ {stays} allow" not in kernel.take_journal()
    await node.ipsec.after(4, node.step)
    assert f"+ {stays} allow" in kernel.take_journal()
    node.ipsec.update(RouteRemove("10.60.2.9/32"))
    await node.ipsec.before(4, node.step)
    assert f"- {stays}" in kernel.take_journal()


async def test_a_peer_that_goes_takes_everything_of_its_own_along(
    kernel: FakeXfrm, monkeypatch: pytest.MonkeyPatch
) -> None:
    node = await encrypting(kernel)
    clock = Clock(monkeypatch)
    before = dict(kernel.policies)
    node.ipsec.update(RouteRemove(NET))
    node.ipsec.update(IpsecPeerRemove("n2"))
    node.ipsec.update(HostRemove("n2"))
    await node.rest()
    assert kernel.policies.keys() < before.keys()
    assert not [p for p in kernel.policies if NET in (p.selector.source, p.selector.destination)]
    # it may come again: what was sent with is not made twice
    assert kernel.states
    clock.now += SETTINGS.ipsec.key_grace
    assert node.ipsec.checks()["IPsec"].next_check() <= clock.now
    await node.rest()
    assert kernel.states == {}


async def test_states_that_somebody_takes_away_end_this_life(kernel: FakeXfrm) -> None:
    node = await encrypting(kernel)
    kernel.flush(states=True)
    assert await node.ipsec.checks()["IPsec notices"].check()
    await node.rest()
    assert node.ipsec.renewal() == "1 sending states are not there as they were made"
    assert node.out() == "block"
    other = new_life("n1", bytes([1] * 16))
    node.ipsec.offer_life(other)
    node.meet(3, tag=other.tag)
    await node.rest()
    assert node.ipsec.renewal() == ""
    assert node.out() == "key 3"
    assert kernel.policies[OUT].templates[0].spi >> 4 == other.tag


async def test_an_agent_that_finds_none_of_its_states_begins_another_life(
    kernel: FakeXfrm,
) -> None:
    await encrypting(kernel)
    kernel.states.clear()
    node = Node(kernel)
    node.offer(3, life=structs.replace(LIFE, known=ring(3).checks))
    node.meet(3)
    await node.apply()
    assert node.ipsec.renewal() == "sending states were taken away while no agent ran"


async def test_policies_that_somebody_takes_away_come_back(kernel: FakeXfrm) -> None:
    node = await encrypting(kernel)
    before = dict(kernel.policies)
    kernel.put_policy(FOREIGN)
    kernel.flush(policies=True)
    assert await node.ipsec.checks()["IPsec notices"].check()
    written = await node.rest()
    assert kernel.policies.keys() == before.keys()
    assert node.out() == "key 3"
    assert not any("state" in line for line in written)


async def test_a_state_that_is_used_up_is_told(kernel: FakeXfrm) -> None:
    node = await encrypting(kernel)
    sending = next(name for name in kernel.states if name.destination == THERE)
    kernel.notices.put_nowait([Expired(sending, hard=False)])
    assert await node.ipsec.checks()["IPsec notices"].check()
    assert node.ipsec.problems() == {"IPsec key 3": "has encrypted so much that another one is due"}
    status = await node.ipsec.status()
    assert [state.used_up for state in status.states] == [False, True]


async def test_a_kernel_without_ipsec_is_a_problem_and_no_failure(kernel: FakeXfrm) -> None:
    kernel.silent = errno.EPROTONOSUPPORT
    node = Node(kernel)
    node.offer(3)
    node.meet(3)
    assert await node.apply() == []
    assert node.failures == {}
    assert node.ipsec.problems()["IPv4 IPsec"] == "this kernel has no IPsec (NETLINK_XFRM)"
    assert node.ipsec.known().families[0].phase == "unavailable"
    assert node.ipsec.settled
    assert node.ipsec.record() is None


async def test_where_wireguard_is_on_it_does_not_begin(
    kernel: FakeXfrm, monkeypatch: pytest.MonkeyPatch
) -> None:
    nothing_there(monkeypatch)
    settings = structs.replace(SETTINGS, wireguard=WireguardSettings(families=frozenset({4})))
    node = Node(kernel, settings)
    node.offer(3)
    node.meet(3)
    assert await node.apply() == []
    assert list(node.ipsec.problems()) == ["IPv4 IPsec"]
    assert "WireGuard" in node.ipsec.problems()["IPv4 IPsec"]
    assert node.ipsec.record() is None


async def test_a_family_that_this_node_does_without_is_told(kernel: FakeXfrm) -> None:
    asked = structs.replace(SETTINGS.ipsec, families=frozenset[Family]({4, 6}))
    node = Node(kernel, structs.replace(SETTINGS, ipsec=asked))
    assert node.ipsec.problems()["IPv6 IPsec"] == "this node does without this family"


@pytest.mark.parametrize(("ids", "expected"), [((), 1500), ((3,), 1446)])
async def test_workloads_get_what_fits_into_esp(
    kernel: FakeXfrm, ids: tuple[int, ...], expected: int
) -> None:
    node = Node(kernel)
    if ids:
        node.offer(*ids)
    assert node.ipsec.workload_mtu(1500) == expected


# ---------------------------------------------------------------- off


def nothing_there(monkeypatch: pytest.MonkeyPatch, count: int = 0) -> None:
    async def counted() -> int:
        return count

    monkeypatch.setattr("dataplane.ipsec.off.count_states_and_policies", counted)


async def test_a_node_that_never_had_it_needs_nothing_of_it(
    kernel: FakeXfrm, monkeypatch: pytest.MonkeyPatch
) -> None:
    nothing_there(monkeypatch)
    node = Node(kernel, OFF)
    node.meet(3)
    assert await node.apply() == []
    assert (node.opened_times, kernel.reads) == (0, 0)
    assert node.ipsec.settled
    assert node.ipsec.record() is None
    assert [family.phase for family in (await node.ipsec.status()).families] == ["off"]


async def test_what_others_have_made_is_no_reason_to_leave(
    kernel: FakeXfrm, monkeypatch: pytest.MonkeyPatch
) -> None:
    nothing_there(monkeypatch, 3)
    kernel.put_policy(FOREIGN)
    node = Node(kernel, OFF)
    assert await node.apply() == []
    assert node.ipsec.known().families[0].phase == "off"
    assert list(kernel.policies.values()) == [FOREIGN]


Layout = Literal["pair", "shared"]


@pytest.mark.parametrize("layout", ["pair", "shared"])
async def test_it_goes_so_that_nothing_that_is_on_its_way_is_lost(
    kernel: FakeXfrm, monkeypatch: pytest.MonkeyPatch, layout: Layout
) -> None:
    settings = structs.replace(SETTINGS, ipsec=structs.replace(SETTINGS.ipsec, layout=layout))
    before = Node(kernel, settings)
    before.offer(3)
    before.meet(3)
    await before.rest()
    assert before.out() == "key 3"
    nothing_there(monkeypatch, 9)
    clock = Clock(monkeypatch)
    kernel.put_policy(FOREIGN)
    node = Node(kernel, OFF)
    node.ipsec.update(IpsecPeer("n1", IpsecNode(enabled=True)))
    node.meet(3, sends=3)
    written = await node.apply()
    assert node.ipsec.settled
    assert node.ipsec.known().families[0].phase == "going"
    record = node.ipsec.record()
    assert record is not None
    assert not record.enabled
    # what comes in clear is taken, and the way out is still a tunnel
    assert written
    assert node.out().startswith("key")
    assert ("in", 0) not in {(p.direction, p.mark) for p in kernel.policies}
    node.ipsec.update(IpsecPeer("n1", IpsecNode(enabled=False)))
    await node.apply()
    receiving = {name for name in kernel.states if name.destination == HERE}
    assert kernel.states.keys() == receiving
    assert receiving
    assert {p.mark for p in kernel.policies if p != FOREIGN.id} == {0xD00}
    clock.now += IN_FLIGHT_SECONDS + 1
    assert await node.apply() == []
    node.meet(3, sends=0)
    assert await node.apply() == []
    assert node.ipsec.checks()["IPv4 IPsec"].next_check() == clock.now + IN_FLIGHT_SECONDS
    clock.now += IN_FLIGHT_SECONDS
    assert await node.ipsec.checks()["IPv4 IPsec"].check()
    await node.apply()
    assert kernel.states == {}
    assert list(kernel.policies.values()) == [FOREIGN]
    assert node.ipsec.known().families[0].phase == "off"
    assert node.ipsec.record() is None
    assert node.failures == {}
