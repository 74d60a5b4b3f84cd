"""How WireGuard goes: nothing that still arrives is lost, and no wait is for ever."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

import pytest

from calc_graph.updates import WireguardEndpointRemove
from dataplane.interfaces import Interface
from dataplane.settings import Settings, WireguardSettings
from dataplane.wireguard.driver import WireguardDriver
from dataplane.wireguard.off import (
    DRAIN_SECONDS,
    LOOK_SECONDS,
    QUIET_SECONDS,
    WITHDRAW_SECONDS,
    Leaving,
    Off,
)
from dataplane.wireguard.status import FamilyStatus
from tests.dataplane.wireguard.builders import HERE, OWN_KEY, behind, end, key
from tests.fakes.wireguard import FakeFormer, FakeKernel, FakePeer, FakeTable

A = "10.0.1.0/26"

# ---------------------------------------------------------------- the clock of it

CLOCK: list[tuple[str, list[tuple[float, bool, int, str]]]] = [
    # case; then: seconds, whether a key is published, bytes received so far, the phase
    (
        "withdrawn, silent",
        [
            (0, True, 5, "withdrawing"),
            (1, False, 5, "draining"),
            (1 + QUIET_SECONDS - 0.1, False, 5, "draining"),
            (1 + QUIET_SECONDS, False, 5, "removing"),
        ],
    ),
    (
        "somebody still sends",
        [
            (0, False, 5, "draining"),
            (4, False, 6, "draining"),
            (8, False, 7, "draining"),
            (8 + QUIET_SECONDS, False, 7, "removing"),
        ],
    ),
    (
        "nobody reads that it was withdrawn",
        [
            (0, True, 0, "withdrawing"),
            (WITHDRAW_SECONDS - 1, True, 0, "withdrawing"),
            (WITHDRAW_SECONDS, True, 0, "draining"),
        ],
    ),
    (
        "somebody never stops",
        [
            (0, False, 0, "draining"),
            *((float(n), False, n, "draining") for n in range(2, int(DRAIN_SECONDS), 2)),
            (DRAIN_SECONDS, False, 1000, "removing"),
        ],
    ),
    (
        "a silence before it was known does not count",
        [(0, True, 0, "withdrawing"), (9, False, 0, "draining")],
    ),
    (
        "it does not turn back",
        [(0, False, 0, "draining"), (6, True, 0, "removing"), (9, True, 9, "removing")],
    ),
]


@pytest.mark.parametrize(("case", "steps"), CLOCK)
def test_phases(case, steps) -> None:
    leaving = Leaving(0.0)
    for now, published, received, phase in steps:
        assert leaving.advance(now, published=published, received=received) == phase, case


# ---------------------------------------------------------------- what is written


class Node:
    def __init__(self, kernel: FakeKernel, monkeypatch: pytest.MonkeyPatch, **given: Any) -> None:
        self.kernel = kernel
        settings = WireguardSettings(**given)
        self.peers = WireguardDriver(4, settings, kernel=kernel)
        self.table = FakeTable(kernel)
        self.off = Off(
            4, Settings(HERE, wireguard=settings), self.peers, self.table, FakeFormer(kernel)
        )
        self.name = settings.devices[0]
        self.now = 1000.0
        monkeypatch.setattr(asyncio.get_running_loop(), "time", lambda: self.now)

    def has_device(self) -> None:
        self.off.interface_changed(self.name, Interface(self.name, 7, up=True, generation=1))

    async def step(self, name: str, work: Coroutine[Any, Any, None]) -> bool:
        await work
        return True

    async def apply(self) -> list[str]:
        await self.off.before(self.step)
        await self.off.after(self.step)
        return self.kernel.take()


@pytest.fixture
def kernel() -> FakeKernel:
    """What an agent has left that had it on."""
    kernel = FakeKernel()
    kernel.key, kernel.mark, kernel.port, kernel.asking = OWN_KEY, 0x200000, 51820, "everything"
    kernel.peers[key("a")] = FakePeer()
    kernel.peers[key("a")].nets = {A}
    kernel.answers(key("a"))
    kernel.routes[A] = "device"
    kernel.may_be_clear = {A}
    kernel.check()
    return kernel


async def test_key_then_rule_then_silence_then_routes_then_device(kernel, monkeypatch) -> None:
    n = Node(kernel, monkeypatch)
    n.has_device()
    n.off.update(end(HERE, OWN_KEY))
    assert n.off.key == ""  # the first thing: it is withdrawn
    assert await n.apply() == []
    assert await n.off.status({}) == FamilyStatus(4, "wireguard.cali", "withdrawing")
    n.now += 2
    assert await n.off.check() is False
    n.off.update(end(HERE, ""))
    n.now += 1
    assert await n.off.check() is True
    assert await n.apply() == ["no rule"]
    n.kernel.receives(key("a"), 100)
    n.now += QUIET_SECONDS - 1
    assert await n.off.check() is False
    assert await n.apply() == []
    assert key("a") in n.kernel.peers  # what comes is decrypted
    n.now += QUIET_SECONDS
    assert n.off.next_check() <= n.now
    assert await n.off.check() is True
    assert not n.off.device_goes
    assert await n.apply() == [f"{A} gone"]
    assert n.off.device_goes
    assert n.off.next_check() == 0.0  # whoever removes devices is to be asked again
    assert await n.off.check() is True
    n.off.interface_changed("wireguard.cali", None)
    assert await n.apply() == []
    assert not n.off.device_goes
    assert await n.off.status({}) == FamilyStatus(4, "wireguard.cali", "off")
    assert await n.off.check() is True
    assert n.off.next_check() == float("inf")


async def test_a_key_that_nobody_publishes_needs_no_proof(kernel, monkeypatch) -> None:
    n = Node(kernel, monkeypatch)
    n.has_device()
    assert await n.apply() == ["no rule"]


async def test_an_end_that_is_gone_is_as_good_as_one_without_a_key(kernel, monkeypatch) -> None:
    n = Node(kernel, monkeypatch)
    n.has_device()
    n.off.update(end(HERE))
    n.off.update(end("other"))
    n.off.update(*behind("a", A))
    assert await n.apply() == []
    n.off.update(WireguardEndpointRemove(HERE))
    assert await n.apply() == ["no rule"]


async def test_a_key_that_cannot_be_withdrawn_does_not_keep_it_on(kernel, monkeypatch) -> None:
    n = Node(kernel, monkeypatch)
    n.has_device()
    n.off.update(end(HERE, OWN_KEY))
    await n.apply()
    n.now += WITHDRAW_SECONDS
    assert await n.apply() == ["no rule"]


async def test_an_agent_that_starts_again_in_the_middle_goes_on(kernel, monkeypatch) -> None:
    kernel.asking = "nobody"
    n = Node(kernel, monkeypatch)
    n.has_device()
    assert await n.apply() == []
    n.now += QUIET_SECONDS
    assert await n.apply() == [f"{A} gone"]
    assert n.off.device_goes


async def test_a_device_that_had_another_name_goes_after_the_routes(monkeypatch) -> None:
    kernel = FakeKernel()
    kernel.asking, kernel.former = "everything", True
    kernel.routes[A] = "throw"
    n = Node(kernel, monkeypatch)
    assert await n.apply() == ["no rule", f"{A} gone", "former gone"]


async def test_a_rule_without_a_device_goes_with_its_routes_at_once(monkeypatch) -> None:
    """Strictness on a kernel without WireGuard leaves that."""
    kernel = FakeKernel()
    kernel.asking = "everything"
    kernel.routes = {A: "unreachable"}
    n = Node(kernel, monkeypatch)
    assert await n.apply() == ["no rule", f"{A} gone"]
    assert await n.apply() == []
    assert n.off.next_check() == float("inf")


async def test_where_there_is_nothing_the_table_is_not_ours(monkeypatch) -> None:
    kernel = FakeKernel()
    kernel.routes = {A: "unreachable"}
    n = Node(kernel, monkeypatch)
    assert await n.apply() == []
    assert (kernel.routes, n.off.next_check()) == ({A: "unreachable"}, float("inf"))


async def test_a_device_that_comes_later_is_looked_at(kernel, monkeypatch) -> None:
    kernel.asking = "nobody"
    n = Node(kernel, monkeypatch)
    assert await n.apply() == []
    n.has_device()
    await n.apply()
    n.now += QUIET_SECONDS
    assert await n.apply() == [f"{A} gone"]


NAMES = [
    # name, its mark, whether it is ours
    ("wireguard.cali", 0x100000, True),
    ("wg0", 0x200000, True),
    ("wg0", 0, False),
]


@pytest.mark.parametrize(("name", "mark", "ours"), NAMES)
async def test_a_device_by_a_chosen_name_may_be_the_operators(
    kernel, monkeypatch, name, mark, ours
) -> None:
    kernel.asking = "nobody"
    kernel.mark = mark
    n = Node(kernel, monkeypatch, devices=(name, "wg-v6.cali"))
    n.has_device()
    await n.apply()
    n.now += QUIET_SECONDS
    await n.apply()
    assert n.off.device_goes == ours


async def test_it_looks_often_while_it_waits(kernel, monkeypatch) -> None:
    n = Node(kernel, monkeypatch)
    n.has_device()
    await n.apply()
    assert n.off.next_check() == n.now + LOOK_SECONDS
    assert (n.off.problems(), n.off.unavailable, n.off.written) == ({}, "", 1)
