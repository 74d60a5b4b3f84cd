"""What the pipeline has of WireGuard: told, asked, and without a dataplane."""

from __future__ import annotations

import asyncio
import dataclasses
import json
from collections.abc import Awaitable, Callable, Iterable
from pathlib import Path
from typing import cast

import pytest

from calc_graph.model import Node, NodeKey
from dataplane.clear_packets import ClearPackets
from dataplane.dataplane import Dataplane
from dataplane.wireguard.status import FamilyStatus, PeerStatus
from felixpy.config import Config
from felixpy.holds import Holds
from felixpy.status import WireguardStatus
from felixpy.statusrep.directory import DirectoryStatusStore
from felixpy.wireguard import part as module
from felixpy.wireguard.facts import NodeEnd
from felixpy.wireguard.part import WireguardPart
from tests.fakes.wireguard import ToldWireguard

PEERS = (
    PeerStatus("n2", "B", "ready"),
    PeerStatus("n3", "C", "waiting"),
    PeerStatus("n4", "D", "ready"),
)
ON = FamilyStatus(4, "wireguard.cali", "on", key="A", peers=PEERS)
OFF = FamilyStatus(6, "wg-v6.cali", "off")
NONE = FamilyStatus(4, "wireguard.cali", "unavailable", reason="this kernel has no WireGuard")


class FakeDataplane:
    def __init__(self, *statuses: FamilyStatus) -> None:
        self.wireguard = ToldWireguard()
        self.wireguard.statuses = statuses

    async def clear_packets(self) -> ClearPackets:
        return {}


def dataplane(*statuses: FamilyStatus) -> Dataplane:
    return cast(Dataplane, FakeDataplane(*statuses))


@pytest.fixture
def config() -> list[Config]:
    """The last one is that of the moment."""
    return [Config(felix_hostname="n1")]


@pytest.fixture
def part(tmp_path: Path, config: list[Config]) -> WireguardPart:
    store, holds = DirectoryStatusStore(tmp_path), Holds(lambda: None)
    return WireguardPart(lambda: config[-1], store, holds, tmp_path)


STATUSES: list[tuple[tuple[FamilyStatus, ...], tuple[WireguardStatus, ...]]] = [
    ((), ()),
    ((OFF,), ()),
    ((ON, OFF), (WireguardStatus(4, {"ready": 2, "waiting": 1}),)),
    ((NONE,), (WireguardStatus(4, {}, "this kernel has no WireGuard"),)),
]


@pytest.mark.parametrize(("statuses", "told"), STATUSES)
async def test_the_status_is_that_of_the_last_apply(
    part: WireguardPart,
    statuses: tuple[FamilyStatus, ...],
    told: tuple[WireguardStatus, ...],
) -> None:
    part.attach(dataplane(*statuses))
    part.turn(applied=False)
    assert part.status == ()
    part.turn(applied=True)
    assert part.status == told
    part.attach(dataplane())
    part.turn(applied=False)
    assert part.status == told
    await part.close()


async def test_the_node_is_told_what_the_last_apply_has_found(
    part: WireguardPart, tmp_path: Path
) -> None:
    part.attach(dataplane(NONE, OFF))
    part.turn(applied=True)
    part.attach(dataplane(ON, OFF))
    part.turn(applied=False)
    file = tmp_path / "status/resources/v3/projectcalico.org/nodes/n1"
    async with asyncio.timeout(10):
        while not file.exists():  # noqa: ASYNC110
            await asyncio.sleep(0.001)
    (condition,) = json.loads(file.read_text())["status"]["conditions"]
    assert (condition["type"], condition["status"]) == ("WireguardReady", "False")
    assert condition["message"] == "this kernel has no WireGuard"
    await part.close()


async def test_facts_wait_for_the_datastore(part: WireguardPart) -> None:
    part.note(NodeKey("n2"), Node(ipv4="10.0.0.2/24"))
    assert part.facts() is None
    part.in_sync()
    facts = part.facts()
    assert facts is not None
    assert facts.nodes == (NodeEnd("n2", "10.0.0.2"),)
    await part.close()


async def test_without_a_dataplane_there_is_nothing_to_ask(part: WireguardPart) -> None:
    assert (await part.details(), part.figures(), part.keys()) == ((), (), ())
    part.attach(dataplane(ON))
    part.turn(applied=True)
    part.attach(None)
    part.turn(applied=False)
    assert (await part.details(), part.figures()) == ((), ())
    await part.close()


async def test_figures_can_be_switched_off(
    part: WireguardPart, config: list[Config], monkeypatch: pytest.MonkeyPatch
) -> None:
    def read(
        known: Iterable[FamilyStatus], _: Callable[[], Awaitable[ClearPackets]]
    ) -> tuple[FamilyStatus, ...]:
        return tuple(known)

    monkeypatch.setattr(module, "read_figures", read)
    part.attach(dataplane(ON))
    part.turn(applied=True)
    assert part.figures() == (ON,)
    config.append(dataclasses.replace(config[-1], prometheus_wireguard_metrics_enabled=False))
    assert part.figures() == ()
    await part.close()
