"""WireGuard's metrics: the names, and what is asked of the kernel for them."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from dataplane.clear_packets import ClearPackets
from dataplane.families import Family
from dataplane.netlink import NetlinkError
from dataplane.wireguard.state import DeviceState, PeerState, shown
from dataplane.wireguard.status import FamilyStatus, PeerStatus
from felixpy.metrics import Figures, Metrics
from felixpy.wireguard import figures as module
from felixpy.wireguard.figures import read_figures

OWN, B = bytes([4] * 32), bytes([8] * 32)
NET, LOST = "10.65.1.0/26", "10.65.1.64/26"
KNOWN = FamilyStatus(
    4,
    "wireguard.cali",
    "on",
    shown(OWN),
    51820,
    peers=(
        PeerStatus("", shown(OWN), "leaving"),
        PeerStatus("b", shown(B), "ready", None, (NET,), (LOST,)),
        PeerStatus("c", "", "no key"),
    ),
)
OFF = FamilyStatus(6, "wg-v6.cali", "off")
PEER = PeerState(("10.0.0.2", 51820), frozenset({NET}), 0, 99.5, 10, 20)


async def no_packets() -> ClearPackets:
    return {4: {NET: (1, 100), LOST: (2, 200), "10.65.9.0/26": (9, 900)}}


@pytest.fixture
def devices(monkeypatch: pytest.MonkeyPatch) -> dict[str, DeviceState]:
    devices = {"wireguard.cali": DeviceState(7, OWN, 51820, 0, {B: PEER})}

    async def read(name: str) -> DeviceState | None:
        return devices.get(name)

    monkeypatch.setattr(module, "read_device", read)
    return devices


def lines(statuses: tuple[FamilyStatus, ...]) -> list[str]:
    figures = Figures(wireguard=statuses)
    metrics = Metrics(lambda: figures, "n1", runtime=False, process=False)
    return metrics.page("").body.decode().splitlines()


def test_names_of_felix_and_our_own(devices: Mapping[str, DeviceState]) -> None:
    assert devices
    said = lines(read_figures((KNOWN, OFF), no_packets))
    device = f'hostname="n1",public_key="{shown(OWN)}"'
    meta = f'hostname="n1",iface="wireguard.cali",listen_port="51820",public_key="{shown(OWN)}"'
    peer = f'hostname="n1",peer_endpoint="10.0.0.2:51820",peer_key="{shown(B)}"'
    peer = f'{peer},public_key="{shown(OWN)}"'
    assert device.split(",")[0] in peer
    assert {
        f"wireguard_meta{{{meta}}} 1.0",
        f"wireguard_latest_handshake_seconds{{{peer}}} 99.0",
        f"wireguard_bytes_rcvd{{{peer}}} 10.0",
        f"wireguard_bytes_sent{{{peer}}} 20.0",
        'felixpy_wireguard_peers{family="4",stage="ready"} 1.0',
        'felixpy_wireguard_peers{family="4",stage="no key"} 1.0',
        'felixpy_wireguard_clear_packets_total{family="4",node="b"} 3.0',
        'felixpy_wireguard_clear_packets_total{family="4",node="c"} 0.0',
        'felixpy_wireguard_unavailable{family="4"} 0.0',
    } <= set(said)
    assert not any('family="6"' in line for line in said)


def test_where_it_is_off_nothing_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(module, "read_device")
    assert read_figures((OFF,), no_packets) == ()
    assert not any(line.startswith("wireguard") for line in lines(()))


def test_a_device_that_cannot_be_read_is_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    async def read(_: str) -> DeviceState | None:
        raise NetlinkError("reading", 1)

    monkeypatch.setattr(module, "read_device", read)
    assert read_figures((KNOWN,), no_packets) == (KNOWN,)


def test_a_kernel_without_wireguard(devices: dict[str, DeviceState]) -> None:
    devices.clear()
    family: Family = 4
    status = FamilyStatus(family, "wireguard.cali", "unavailable", reason="this kernel has none")
    said = lines(read_figures((status,), no_packets))
    assert 'felixpy_wireguard_unavailable{family="4"} 1.0' in said
