"""The pre-flight before the switch: what waits, until when, and who lets it go."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from dataplane.families import Family
from dataplane.settings import Settings, WireguardSettings
from felixpy.holds import Holds
from felixpy.wireguard import switch as module
from felixpy.wireguard.facts import Facts
from felixpy.wireguard.finding import Finding
from felixpy.wireguard.switch import RETRY, Switch

TAKEN = Finding("UDP port", "fail", "another program has 51820", 4, "stop it", holds=True)
TAKEN_V6 = Finding("UDP port", "fail", "another program has 51821", 6, "stop it", holds=True)
CLEAR = Finding("clear hosts", "fail", "etcd is on nodes", 0, "name them", holds=True)
WARNING = Finding("NTP", "warn", "nothing keeps the clock right", advice="run one")
NO_KERNEL = Finding("kernel", "fail", "this kernel has no WireGuard", advice="another")


class Lab:
    now = 0.0

    def __init__(self) -> None:
        self.found: list[Finding] = []
        self.there: set[str] = set()
        self.looked: list[list[Family]] = []
        self.holds = Holds(lambda: None)
        facts = Facts("n1", WireguardSettings())
        self.switch = Switch(lambda: facts, self.holds, Path(), lambda: self.now)

    async def machine(self, _: Facts, __: Path, devices: Mapping[Family, None]) -> list[Finding]:
        self.looked.append([*devices])
        return [each for each in self.found if each.family in (0, *devices)]

    async def peers(self, _: Facts, __: Mapping[Family, None]) -> list[Finding]:
        return [WARNING]

    def cluster(self, _: Facts, __: Iterable[Family]) -> list[Finding]:
        return []

    async def admit(self, *families: Family) -> frozenset[Family]:
        wireguard = WireguardSettings(families=frozenset(families), strict=True)
        admitted = (await self.switch.admit(Settings("n1", wireguard=wireguard))).wireguard
        assert (admitted.families, admitted.strict) == (wireguard.families, True)
        return admitted.held

    @property
    def held(self) -> dict[str, str]:
        return {hold.id: hold.text for hold in self.holds.current()}


@pytest.fixture
def lab(monkeypatch: pytest.MonkeyPatch) -> Lab:
    lab = Lab()
    monkeypatch.setattr(module, "check_machine", lab.machine)
    monkeypatch.setattr(module, "check_cluster", lab.cluster)
    monkeypatch.setattr(module, "check_peers", lab.peers)
    monkeypatch.setattr(module, "device_index", lambda name: 7 if name in lab.there else None)
    return lab


async def test_what_is_well_is_switched_on_at_once(lab: Lab) -> None:
    lab.found = [WARNING, NO_KERNEL]  # the dataplane says itself that this kernel has none
    assert await lab.admit(4) == frozenset()
    assert lab.held == {}
    assert lab.switch.seconds_to_next() == float("inf")
    assert not await lab.switch.review()
    await lab.switch.close()


async def test_what_fails_holds_its_family_back_with_the_reason(lab: Lab) -> None:
    lab.found = [TAKEN]
    assert await lab.admit(4, 6) == {4}
    (text,) = lab.held.values()
    assert "another program has 51820" in text
    assert "stop it" in text
    assert lab.holds.counts() == {"wireguard": 1}
    assert lab.switch.reasons == {4: "UDP port: another program has 51820"}
    lab.found = [TAKEN_V6, TAKEN]
    assert await lab.admit(4, 6) == {4, 6}
    assert sorted(lab.held) == ["wireguard", "wireguard-ipv6"]
    lab.found = [CLEAR]
    assert await lab.admit(4, 6) == {4, 6}
    lab.found = [CLEAR, TAKEN]
    assert await lab.admit(4, 6) == {4, 6}
    assert lab.switch.reasons == {
        4: "clear hosts: etcd is on nodes (and 1 more)",
        6: "clear hosts: etcd is on nodes",
    }
    await lab.switch.close()
    assert lab.held == {}
    assert lab.switch.reasons == {}


async def test_it_is_looked_at_again_and_lifted_by_itself(lab: Lab) -> None:
    lab.found = [TAKEN]
    await lab.admit(4)
    assert lab.switch.seconds_to_next() == RETRY
    assert not await lab.switch.review()
    assert len(lab.looked) == 1
    lab.now = RETRY
    assert not await lab.switch.review()  # it is as it was
    assert len(lab.looked) == 2
    lab.now, lab.found = 2 * RETRY, []
    assert await lab.switch.review()
    assert lab.held == {}
    assert await lab.admit(4) == frozenset()
    await lab.switch.close()


async def test_somebody_may_let_it_go(lab: Lab) -> None:
    lab.found = [TAKEN]
    await lab.admit(4)
    lab.holds.confirm(["wireguard"])
    assert await lab.switch.review()
    assert await lab.admit(4) == frozenset()
    assert lab.held == {}
    assert not await lab.switch.review()
    assert await lab.admit(4) == frozenset()  # for as long as it is on
    assert await lab.admit() == frozenset()
    assert await lab.admit(4) == {4}
    await lab.switch.close()


async def test_what_was_switched_on_before_waits_for_nothing(lab: Lab) -> None:
    lab.found, lab.there = [TAKEN, TAKEN_V6], {"wireguard.cali"}
    assert await lab.admit(4) == frozenset()
    assert lab.looked == []
    assert await lab.admit(4, 6) == {6}
    assert lab.looked == [[6]]
    await lab.switch.close()


async def test_switched_off_again_it_does_not_wait_any_more(lab: Lab) -> None:
    lab.found = [TAKEN]
    await lab.admit(4)
    assert await lab.admit() == frozenset()
    assert lab.held == {}
    await lab.switch.close()


async def test_what_is_the_same_of_many_nodes_is_one_line(lab: Lab) -> None:
    lab.found = [
        Finding(f"peer n{number}", "warn", f"UDP of {number}", 4, "see that it is open")
        for number in range(500)
    ]
    with capture_logs() as logs:
        await lab.admit(4)
    (said,) = [each for each in logs if each["event"] == "wireguard.preflight"]
    assert said["about"] == "IPv4 peer n0 and 499 more"
    assert said["advice"] == "see that it is open"
    await lab.switch.close()
