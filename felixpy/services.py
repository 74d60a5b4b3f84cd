"""What follows the configuration besides the dataplane: logs, metrics, health over HTTP.

A port that cannot be had is a problem that is said, and tried again; it is no reason to stop
guarding the node.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping

import structlog

from calc_graph.updates import Update
from dataplane.bird.outcome import Outcome
from dataplane.dataplane import Applied
from felixpy import log as logs
from felixpy.config import Config
from felixpy.health import Health
from felixpy.http_server import Answer, HttpServer, Page, Tls
from felixpy.metrics import Figures, Metrics

log = structlog.get_logger(__name__)

RETRY = 10.0  # seconds


def set_up_logs(config: Config) -> str:
    """What is wrong with the log file, or ""; the screen is written to in any case."""
    try:
        logs.set_up(
            style=config.log_format,
            screen=config.log_severity_screen,
            file=config.log_file_path,
            file_severity=config.log_severity_file,
            syslog=config.log_severity_sys,
        )
    except OSError as error:
        logs.set_up(style=config.log_format, screen=config.log_severity_screen)
        return f"the log file {config.log_file_path} cannot be written: {error}"
    return ""


class _Served:
    """One server, there or not: made anew when what it should be has changed, or after RETRY."""

    def __init__(self, name: str, clock: Callable[[], float]) -> None:
        self.problem = ""
        self._name = name
        self._clock = clock
        self._wanted: tuple[object, ...] = ()
        self._serve: Callable[[], HttpServer] | None = None
        self._server: HttpServer | None = None
        self._retry_at = 0.0

    def settle(self, wanted: tuple[object, ...], serve: Callable[[], HttpServer] | None) -> None:
        """`serve` makes the server that `wanted` describes, None for none; may raise OSError."""
        if wanted == self._wanted:
            return
        self.close()
        self._wanted, self._serve = wanted, serve
        self.problem = ""
        self._try()

    def tick(self) -> None:
        if self.problem and self._clock() >= self._retry_at:
            self._try()

    def close(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None

    def _try(self) -> None:
        if self._serve is None:
            return
        try:
            self._server = self._serve()
        except OSError as error:
            problem = f"{self._name} is not served: {error.strerror or error}"
            if problem != self.problem:
                log.error("service.failed", service=self._name, reason=str(error))
            self.problem, self._retry_at = problem, self._clock() + RETRY
        else:
            log.info("service.started", service=self._name, port=self._server.port)
            self.problem = ""


class Services:
    """`figures` is asked for metrics; `clock` gives seconds that only grow."""

    def __init__(
        self,
        config: Config,
        health: Health,
        figures: Callable[[], Figures],
        clock: Callable[[], float],
    ) -> None:
        self._health = health
        self._figures = figures
        self._metrics_about = _about(config)
        self._metrics = Metrics(figures, *self._metrics_about)
        self._logs_wanted: tuple[object, ...] = ()
        self._log_problem = ""
        self._served = {name: _Served(name, clock) for name in ("metrics", "health")}

    @property
    def problems(self) -> dict[str, str]:
        found = {name: served.problem for name, served in self._served.items()}
        return {name: text for name, text in {**found, "log": self._log_problem}.items() if text}

    def settle(self, config: Config) -> None:
        """Make everything as this configuration says."""
        self._settle_logs(config)
        self._settle_metrics(config)
        host, port = config.health_host, config.health_port
        pages: dict[str, Page] = {"/readiness": self._readiness, "/liveness": self._liveness}
        self._served["health"].settle(
            (config.health_enabled, host, port),
            (lambda: HttpServer(host, port, pages)) if config.health_enabled else None,
        )
        self._health.overrides = dict(config.health_timeout_overrides)

    def tick(self) -> None:
        """From time to time: try again what failed."""
        for served in self._served.values():
            served.tick()

    def close(self) -> None:
        for served in self._served.values():
            served.close()

    # ---------------------------------------------------------------- what is counted

    def count_resync(self) -> None:
        self._metrics.resyncs.inc()

    def count_changes(self, kinds: Mapping[str, int], seconds: float) -> None:
        for kind, count in kinds.items():
            self._metrics.updates.labels(kind).inc(count)
        self._metrics.graph_seconds.observe(seconds)

    def count_updates(self, updates: Iterable[Update]) -> None:
        for kind, count in Counter(type(update).__name__ for update in updates).items():
            self._metrics.messages.labels(kind).inc(count)
            self._metrics.output.inc(count)

    def count_lockout(self, outcome: str) -> None:
        self._metrics.lockouts.labels(outcome).inc()

    def count_apply(self, applied: Applied) -> None:
        self._metrics.apply_seconds.observe(applied.seconds)
        if not applied.complete:
            self._metrics.failures.inc()
        for what, count in applied.written.items():
            self._metrics.written.labels(what).inc(count)
        self._metrics.wireguard_messages.inc(applied.written.get("wireguard", 0))

    def count_bird(self, outcome: Outcome) -> None:
        """What is unchanged, or waits for a daemon, is no reconfiguration."""
        if outcome.state not in ("unchanged", "away"):
            self._metrics.bird_reconfigurations.labels(outcome.state).inc()
        for session in outcome.restarted:
            self._metrics.bird_session_restarts.labels(session).inc()

    def count_flows_ended(self, count: int) -> None:
        self._metrics.flows_ended.inc(count)

    # ---------------------------------------------------------------- steps

    def _settle_logs(self, config: Config) -> None:
        wanted = (
            config.log_format,
            config.log_severity_screen,
            config.log_file_path,
            config.log_severity_file,
            config.log_severity_sys,
        )
        if wanted == self._logs_wanted:
            return
        self._logs_wanted = wanted
        self._log_problem = set_up_logs(config)
        if self._log_problem:
            log.error("log.not_written", reason=self._log_problem)

    def _settle_metrics(self, config: Config) -> None:
        """The counters stay when only the way to them changes."""
        about = _about(config)
        if about != self._metrics_about:
            self._metrics_about = about
            self._metrics = Metrics(self._figures, *about)
        if not config.prometheus_metrics_enabled:
            self._served["metrics"].settle((), None)
            return
        page = self._metrics.page
        host, port = config.prometheus_metrics_host, config.prometheus_metrics_port
        tls = _tls(config)
        self._served["metrics"].settle(
            (*about, host, port, tls), lambda: HttpServer(host, port, {"/metrics": page}, tls)
        )

    def _readiness(self, _: str) -> Answer:
        return _well(self._health.unready())

    def _liveness(self, _: str) -> Answer:
        return _well(self._health.dead())


def _about(config: Config) -> tuple[str, bool, bool]:
    return (
        config.felix_hostname,
        config.prometheus_go_metrics_enabled,
        config.prometheus_process_metrics_enabled,
    )


def _well(complaints: list[str]) -> Answer:
    if not complaints:
        return Answer(200, b"well\n")
    return Answer(503, "".join(f"{line}\n" for line in complaints).encode())


def _tls(config: Config) -> Tls | None:
    """A certificate that must be shown is always verified, even where Felix would not."""
    if not config.prometheus_metrics_cert_file:
        return None
    wish = config.prometheus_metrics_client_auth
    return Tls(
        certificate=config.prometheus_metrics_cert_file,
        key=config.prometheus_metrics_key_file,
        client_ca="" if wish == "NoClientCert" else config.prometheus_metrics_ca_file,
        client_required=wish.startswith("Require"),
    )
