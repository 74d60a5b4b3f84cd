"""Metrics and health over HTTP: served, moved, refused, and tried again."""

from __future__ import annotations

import dataclasses
import socket
import urllib.error
import urllib.request
from collections.abc import Iterator

import pytest

from dataplane.bird.outcome import Outcome
from dataplane.dataplane import Applied
from dataplane.dropped import Dropped
from felixpy import services as module
from felixpy.config import Config
from felixpy.health import Health
from felixpy.http_server import Answer, HttpServer, Tls
from felixpy.metrics import Figures, Metrics
from felixpy.services import RETRY, Services

NOTHING = Config(felix_hostname="n1")
FIGURES = Figures(
    resync_state=3,
    problems=2,
    endpoints=4,
    policies=5,
    selectors=6,
    ipsets={4: 7},
    tables={(4, "filter"): (8, 9)},
    dropped=Dropped(
        {(6, "default/w1"): 10},
        {(4, "address of a local workload"): 11},
        {(6, "came in clear"): 12},
    ),
)


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def get(port: int, path: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=5) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return int(taken.getsockname()[1])


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def services(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> Iterator[Services]:
    monkeypatch.setattr(module, "set_up_logs", lambda _: "")
    health = Health(clock)
    health.register("graph", 30.0)
    made = Services(NOTHING, health, lambda: FIGURES, clock)
    yield made
    made.close()


def with_health(port: int) -> Config:
    return dataclasses.replace(
        NOTHING, health_enabled=True, health_host="127.0.0.1", health_port=port
    )


def with_metrics(port: int, **others: bool) -> Config:
    return dataclasses.replace(
        NOTHING,
        prometheus_metrics_enabled=True,
        prometheus_metrics_host="127.0.0.1",
        prometheus_metrics_port=port,
        **others,  # type: ignore[arg-type]
    )


def test_health_is_served_moved_and_ended(services: Services) -> None:
    first, other = free_port(), free_port()
    services.settle(with_health(first))
    assert get(first, "/readiness") == (503, "graph: not ready\n")
    assert get(first, "/liveness?verbose") == (200, "well\n")
    assert get(first, "/secrets") == (404, "only /readiness and /liveness can be had here\n")
    services.settle(with_health(other))
    assert get(other, "/liveness")[0] == 200
    for port in (first, other):
        services.settle(NOTHING)
        with pytest.raises(urllib.error.URLError):
            get(port, "/liveness")


def test_what_metrics_say(services: Services) -> None:
    port = free_port()
    services.count_resync()
    services.count_changes({"PolicyKey": 3}, 0.5)
    services.count_apply(Applied(0.25, {"step": "failed"}, {"chains": 1}))
    services.count_apply(Applied(0.25, {}, {"chains": 1}, {"asked": "cannot be had"}))
    services.settle(with_metrics(port))
    code, text = get(port, "/metrics")
    assert code == 200
    assert {line for line in text.splitlines() if line.startswith("felix")} == {
        "felix_resync_state 3.0",
        "felixpy_problems 2.0",
        "felix_active_local_endpoints 4.0",
        "felix_active_local_policies 5.0",
        "felix_active_local_selectors 6.0",
        'felix_ipsets_calico{ip_version="4"} 7.0',
        'felix_iptables_chains{ip_version="4",table="filter"} 8.0',
        'felix_iptables_rules{ip_version="4",table="filter"} 9.0',
        'felixpy_workload_to_host_limited_packets_total{ip_version="6",workload="default/w1"} 10.0',
        'felixpy_fabric_forged_packets_total{ip_version="4",reason="address of a local workload"}'
        " 11.0",
        "felixpy_encryption_required_dropped_packets_total"
        '{ip_version="6",way="came in clear"} 12.0',
        'felix_host{host="n1"} 1.0',
        "felix_resyncs_started_total 1.0",
        'felix_calc_graph_updates_processed_total{type="PolicyKey"} 3.0',
        "felix_calc_graph_output_events_total 0.0",
        "felix_calc_graph_update_time_seconds_count 1.0",
        "felix_calc_graph_update_time_seconds_sum 0.5",
        "felix_int_dataplane_apply_time_seconds_count 2.0",
        "felix_int_dataplane_apply_time_seconds_sum 0.5",
        "felix_int_dataplane_failures_total 1.0",
        'felixpy_dataplane_written_total{what="chains"} 2.0',
        "felixpy_flows_ended_total 0.0",
        "felixpy_wireguard_netlink_messages_total 0.0",
    }
    assert "python_info" in text
    services.settle(with_metrics(port, prometheus_go_metrics_enabled=False))
    assert "python_info" not in get(port, "/metrics")[1]


def test_what_becomes_of_bird_s_configurations_is_counted(services: Services) -> None:
    port = free_port()
    services.settle(
        dataclasses.replace(NOTHING, prometheus_metrics_enabled=True, prometheus_metrics_port=port)
    )
    for outcome in (
        Outcome("away", "no such file"),
        Outcome("confirmed", restarted=("Mesh_10_0_0_2",)),
        Outcome("unchanged"),
        Outcome("undone", "not back", restarted=("Mesh_10_0_0_2", "Mesh_10_0_0_3")),
    ):
        services.count_bird(outcome)
    lines = get(port, "/metrics")[1].splitlines()
    found = sorted(line for line in lines if line.startswith("felixpy_bird_"))
    assert found == [
        'felixpy_bird_reconfigurations_total{kind="confirmed"} 1.0',
        'felixpy_bird_reconfigurations_total{kind="undone"} 1.0',
        'felixpy_bird_session_restarts_total{peer="Mesh_10_0_0_2"} 2.0',
        'felixpy_bird_session_restarts_total{peer="Mesh_10_0_0_3"} 1.0',
    ]


def test_a_port_in_use_is_a_problem_until_it_is_free(services: Services, clock: Clock) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = int(taken.getsockname()[1])
        services.settle(with_metrics(port))
        services.tick()
        assert services.problems == {"metrics": "metrics is not served: Address already in use"}
        clock.now += RETRY
        services.tick()
        assert services.problems
    services.tick()
    assert services.problems
    clock.now += RETRY
    services.tick()
    assert services.problems == {}
    assert get(port, "/metrics")[0] == 200


def test_a_certificate_that_cannot_be_read_is_a_problem(services: Services) -> None:
    config = dataclasses.replace(with_metrics(0), prometheus_metrics_cert_file="/nonexistent")
    services.settle(config)
    assert services.problems == {"metrics": "metrics is not served: No such file or directory"}


def test_clients_whose_authority_is_unknown_are_never_let_in(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("ssl.SSLContext.load_cert_chain", lambda *_: None)
    with pytest.raises(OSError, match="no authority"):
        Tls("cert", "key", client_required=True).context()


def test_a_page_that_takes_its_time_holds_up_no_other() -> None:
    first = iter([True])

    def page(_: str) -> Answer:
        if next(first, False):
            return Answer(200, get(server.port, "/")[1].encode() + b" twice")
        return Answer(200, b"asked")

    server = HttpServer("127.0.0.1", 0, {"/": page})
    assert get(server.port, "/") == (200, "asked twice")
    server.close()


def test_metrics_in_the_format_that_is_asked_for() -> None:
    metrics = Metrics(Figures, "n1", runtime=False, process=False)
    assert "openmetrics" in metrics.page("application/openmetrics-text").content_type
    assert metrics.page("").content_type.startswith("text/plain")
