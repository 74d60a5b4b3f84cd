"""BGP's metrics: BIRD's by the names of czerwonk/bird_exporter, and our own.

Source of the names: czerwonk/bird_exporter metrics/generic_exporter.go, status_exporter.go,
bgp_state_exporter.go, in its new naming; section 8.3 of the BGP reference.
"""

from __future__ import annotations

import datetime
from collections.abc import Iterable, Iterator
from contextlib import suppress

from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric

from dataplane.bird.parse.daemon import DaemonStatus
from dataplane.bird.parse.sessions import SessionStatus
from felixpy.bgp.figures import BgpFigures

_LABELS = ("name", "proto", "ip_version", "import_filter", "export_filter")
_UNNAMED = "(unnamed)"  # as BIRD prints the filters that we give it
_COLUMNS = {
    "received": "receive",
    "rejected": "reject",
    "filtered": "filter",
    "ignored": "ignore",
    "accepted": "accept",
}
_ROUTES = {
    "import": "imported",
    "export": "exported",
    "filter": "filtered",
    "preferred": "preferred",
}


def bgp_metrics(figures: BgpFigures) -> Iterator[Metric]:
    yield _gauge("bird_daemon_up", "Whether BIRD answers", figures.daemon is not None)
    if figures.daemon is not None:
        yield from _of_daemon(figures.daemon)
    yield from _of_sessions(list(figures.sessions.values()))
    refused = GaugeMetricFamily(
        "felixpy_bgp_rejected_routes",
        "Routes that a filter refuses at the moment",
        labels=["peer", "direction", "reason"],
    )
    for rejection, count in figures.rejected.items():
        refused.add_metric(rejection, count)
    yield refused
    passwords = GaugeMetricFamily(
        "felixpy_bgp_password_refused",
        "Sessions that are kept down because they have no password",
        labels=["peer", "reason"],
    )
    for peer, reason in figures.passwords_refused.items():
        passwords.add_metric([peer, reason], 1)
    yield passwords
    yield _gauge(
        "felixpy_bird_config_refused",
        "Whether BIRD refuses the newest configuration",
        figures.config_refused,
    )
    yield CounterMetricFamily(
        "felixpy_bird_stale_routes_removed",
        "Routes in the kernel that BIRD had forgotten",
        value=figures.stale_routes_removed,
    )


def _of_daemon(daemon: DaemonStatus) -> Iterator[Metric]:
    info = GaugeMetricFamily("bird_daemon_info", "Always 1", labels=["router_id", "version"])
    info.add_metric([daemon.router_id, daemon.version], 1)
    yield info
    for name, text, moment in (
        ("bird_last_reboot", "When BIRD was started", daemon.booted),
        ("bird_last_reconfig", "When BIRD took its configuration", daemon.reconfigured),
        ("bird_server_time", "BIRD's clock", daemon.now),
    ):
        seconds = _seconds(moment)
        if seconds is not None:
            yield _gauge(f"{name}_timestamp_seconds", text, seconds)


def _of_sessions(sessions: Iterable[SessionStatus]) -> Iterator[Metric]:
    sessions = list(sessions)
    up = _family("bird_protocol_up", "Whether the session is up")
    uptime = _family("bird_protocol_uptime", "Seconds since it came up or went down")
    state = GaugeMetricFamily(
        "bird_bgp_state_count", "1 for the state of BGP", labels=["name", "proto", "state"]
    )
    now = datetime.datetime.now(datetime.UTC).timestamp()
    for session in sessions:
        up.add_metric(_labels(session), session.up)
        since = _seconds(session.since)
        if since is not None:
            uptime.add_metric(_labels(session), max(0.0, now - since))
        state.add_metric([session.name, "BGP", session.state], 1)
    yield from (up, uptime, state)
    for what, attribute in _ROUTES.items():
        family = _family(f"bird_protocol_prefix_{what}_count", f"Routes {attribute}")
        for session in sessions:
            family.add_metric(_labels(session), getattr(session, attribute))
        yield family
    yield from _of_changes(sessions)


def _of_changes(sessions: Iterable[SessionStatus]) -> Iterator[Metric]:
    for direction in ("import", "export"):
        for many, one in (("updates", "update"), ("withdraws", "withdraw")):
            for column, short in _COLUMNS.items():
                family = _family(
                    f"bird_protocol_changes_{one}_{direction}_{short}_count",
                    f"{direction.capitalize()} {many} {column}",
                )
                for session in sessions:
                    count = session.counters.get(f"{direction} {many} {column}")
                    if count is not None:
                        family.add_metric(_labels(session), count)
                yield family


def _family(name: str, text: str) -> GaugeMetricFamily:
    return GaugeMetricFamily(name, text, labels=_LABELS)


def _labels(session: SessionStatus) -> list[str]:
    family = "" if session.family is None else str(session.family)
    return [session.name, "BGP", family, _UNNAMED, _UNNAMED]


def _gauge(name: str, text: str, value: float) -> Metric:
    return GaugeMetricFamily(name, text, value=value)


def _seconds(moment: str) -> float | None:
    """BIRD prints local time."""
    with suppress(ValueError):
        return datetime.datetime.fromisoformat(moment).timestamp()
    return None
