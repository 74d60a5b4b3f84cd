"""Figures and metrics of BGP, from what BIRD answers."""

from __future__ import annotations

from pathlib import Path

import pytest
from msgspec import structs
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from dataplane.bird.credentials import Credential
from dataplane.bird.outcome import Outcome
from dataplane.bird.parse.routes import RouteStatus
from dataplane.bird.settings import BirdSettings
from dataplane.bird.version import Version
from dataplane.bird.wanted import Wanted
from felixpy.bgp.bringing import Brought
from felixpy.bgp.figures import BgpFigures, Rejection, read_figures, rejection
from felixpy.bgp.metrics import bgp_metrics
from tests.felixpy.bgp.bird_socket import NOEXPORT, USUAL, bird_at
from tests.felixpy.bgp.bird_values import MESH, REF, TOR

BROUGHT = Brought(
    Version("", "", {}),
    {MESH.name: MESH, TOR.name: TOR},
    {REF: Credential(None, "no such Secret")},
    outcome=Outcome("refused", "line 3"),
)
REJECTED = {
    Rejection(MESH.name, "in", "outside the cluster's pools"): 1,
    Rejection(TOR.name, "in", "BGPFilter wide, importV4[3]"): 1,
    Rejection("kernel", "kernel", "kernel: not a route to a local workload"): 1,
}


def test_a_daemon_that_is_away(tmp_path: Path) -> None:
    settings = BirdSettings(control_socket=tmp_path / "b.ctl")
    assert read_figures(settings, None) == BgpFigures()
    figures = read_figures(settings, BROUGHT)
    assert figures.daemon is None
    assert figures.config_refused
    assert figures.passwords_refused == {MESH.name: "no such Secret"}


def test_what_bird_answers(tmp_path: Path) -> None:
    settings = BirdSettings(control_socket=tmp_path / "b.ctl")
    with bird_at(settings.control_socket):
        figures = read_figures(settings, BROUGHT)
    assert figures.daemon is not None
    assert figures.daemon.version == "2.0.12"
    assert figures.rejected == REJECTED
    assert figures.sessions.keys() == {MESH.name, TOR.name}


def test_what_outside_peers_are_not_told_is_counted(tmp_path: Path) -> None:
    settings = BirdSettings(control_socket=tmp_path / "b.ctl")
    outside = structs.replace(MESH, trust="outside")
    with bird_at(settings.control_socket):
        figures = read_figures(settings, structs.replace(BROUGHT, sessions={MESH.name: outside}))
    assert figures.rejected[Rejection(MESH.name, "out", "not ours to announce")] == 1
    assert "10.65.2.0/26" in NOEXPORT  # BGP's own rule keeps it back, and no filter


DIRECTIONS = [
    (RouteStatus("192.0.2.0/24", TOR.name, why=1002), "", "in", "BGPFilter narrow, importV4[2]"),
    (RouteStatus("192.0.2.0/24", "own4", why=1002), TOR.name, "out", "BGPFilter narrow, exportV4"),
    (RouteStatus("192.0.2.0/24", "kernel6", why=22), "", "kernel", "kernel: route of a device"),
    (RouteStatus("192.0.2.0/24", MESH.name, why=9000), "", "in", "rule 0 of a BGPFilter"),
]


@pytest.mark.parametrize(("route", "told_to", "direction", "reason"), DIRECTIONS)
def test_a_refusal_is_named(route: RouteStatus, told_to: str, direction: str, reason: str) -> None:
    wanted = Wanted()
    wanted.apply((MESH, TOR))
    found = rejection(route, wanted, told_to)
    assert found.direction == direction
    assert found.reason.startswith(reason)


class Once(Collector):
    def __init__(self, figures: BgpFigures) -> None:
        self._figures = figures

    def collect(self) -> list[Metric]:
        return list(bgp_metrics(self._figures))


def page(figures: BgpFigures) -> list[str]:
    registry = CollectorRegistry()
    registry.register(Once(figures))
    return generate_latest(registry).decode().splitlines()


LINES = [
    "bird_daemon_up 1.0",
    'bird_daemon_info{router_id="10.0.0.1",version="2.0.12"} 1.0',
    'bird_bgp_state_count{name="Mesh_10_0_0_2",proto="BGP",state="Established"} 1.0',
    'bird_bgp_state_count{name="Global_10_0_0_254",proto="BGP",state="Active"} 1.0',
    "felixpy_bird_config_refused 1.0",
    "felixpy_bird_stale_routes_removed_total 3.0",
    'felixpy_bgp_password_refused{peer="Mesh_10_0_0_2",reason="no such Secret"} 1.0',
    'felixpy_bgp_rejected_routes{direction="in",peer="Mesh_10_0_0_2",'
    'reason="outside the cluster\'s pools"} 1.0',
]
MESH_LABELS = (
    '{export_filter="(unnamed)",import_filter="(unnamed)",ip_version="4",'
    'name="Mesh_10_0_0_2",proto="BGP"}'
)
OF_MESH = {
    "bird_protocol_up": 1,
    "bird_protocol_prefix_import_count": 2,
    "bird_protocol_prefix_export_count": 4,
    "bird_protocol_prefix_filter_count": 1,
    "bird_protocol_prefix_preferred_count": 1,
    "bird_protocol_changes_update_import_receive_count": 3,
    "bird_protocol_changes_update_import_filter_count": 1,
    "bird_protocol_changes_update_export_reject_count": 5,
    "bird_protocol_changes_withdraw_export_accept_count": 0,
}


def test_the_page(tmp_path: Path) -> None:
    settings = BirdSettings(control_socket=tmp_path / "b.ctl")
    with bird_at(settings.control_socket, USUAL):
        lines = page(read_figures(settings, BROUGHT, 3))
    for line in LINES:
        assert line in lines
    for name, value in OF_MESH.items():
        assert f"{name}{MESH_LABELS} {float(value)}" in lines
    assert any(line.startswith("bird_last_reboot_timestamp_seconds 1.79") for line in lines)
    assert not any("198.51.100" in line for line in lines)


def test_the_page_without_a_daemon() -> None:
    lines = page(BgpFigures())
    assert "bird_daemon_up 0.0" in lines
    assert not any(line.startswith("bird_daemon_info") for line in lines)
