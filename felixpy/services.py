"""What follows the configuration besides the dataplane: logs, metrics, health over HTTP."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping

import structlog

from calc_graph.updates import Update
from felixpy import log as logs
from felixpy.config import Config
from felixpy.health_server import HealthServer
from felixpy.metrics import Metrics
from felixpy.reporter import Reporter

log = structlog.get_logger(__name__)


def set_up_logs(config: Config) -> None:
    style = config.log_format
    if style == "auto":
        style = "console" if logs.is_terminal() else "json"
    logs.set_up(
        style=style,
        screen=config.log_severity_screen,
        file=config.log_file_path,
        file_severity=config.log_severity_file,
        syslog=config.log_severity_sys,
    )


class Services:
    """Servers are restarted only when a parameter of theirs has changed."""

    def __init__(self, reporter: Reporter) -> None:
        self._reporter = reporter
        self._metrics: Metrics | None = None
        self._health: HealthServer | None = None
        self._close_metrics: Callable[[], None] | None = None
        self._metrics_parameters: tuple[object, ...] = ()
        self._health_parameters: tuple[object, ...] = ()

    def settle(self, config: Config) -> None:
        """Make everything as this configuration says."""
        set_up_logs(config)
        self._settle_metrics(config)
        self._settle_health(config)
        self._reporter.health.overrides = dict(config.health_timeout_overrides)
        self._reporter.watch(self._metrics, config.dataplane_watchdog_timeout)

    def count_changes(self, kinds: Mapping[str, int], seconds: float) -> None:
        if self._metrics is not None:
            for kind, count in kinds.items():
                self._metrics.updates.labels(kind).inc(count)
            self._metrics.graph_seconds.observe(seconds)

    def count_updates(self, updates: Iterable[Update], seconds: float) -> None:
        if self._metrics is not None:
            for kind, count in Counter(type(update).__name__ for update in updates).items():
                self._metrics.messages.labels(kind).inc(count)
                self._metrics.output.inc(count)
            self._metrics.graph_seconds.observe(seconds)

    def close(self) -> None:
        if self._close_metrics is not None:
            self._close_metrics()
            self._close_metrics = None
        if self._health is not None:
            self._health.close()
            self._health = None

    def _settle_metrics(self, config: Config) -> None:
        wanted = (
            config.prometheus_metrics_enabled,
            config.prometheus_metrics_host,
            config.prometheus_metrics_port,
            config.prometheus_metrics_cert_file,
            config.prometheus_metrics_key_file,
            config.prometheus_metrics_ca_file,
            config.prometheus_metrics_client_auth,
        )
        if wanted == self._metrics_parameters:
            return
        self._metrics_parameters = wanted
        if self._close_metrics is not None:
            self._close_metrics()
            self._close_metrics = self._metrics = None
        if not config.prometheus_metrics_enabled:
            return
        self._metrics = Metrics(
            host=config.felix_hostname,
            runtime=config.prometheus_go_metrics_enabled,
            process=config.prometheus_process_metrics_enabled,
        )
        try:
            self._close_metrics = self._metrics.serve(
                config.prometheus_metrics_host,
                config.prometheus_metrics_port,
                certificate=config.prometheus_metrics_cert_file,
                key=config.prometheus_metrics_key_file,
                client_ca=config.prometheus_metrics_ca_file,
                client_required=config.prometheus_metrics_client_auth.startswith("Require"),
            )
        except OSError as error:
            log.error("metrics.not_served", port=config.prometheus_metrics_port, reason=str(error))

    def _settle_health(self, config: Config) -> None:
        wanted = (config.health_enabled, config.health_host, config.health_port)
        if wanted == self._health_parameters:
            return
        self._health_parameters = wanted
        if self._health is not None:
            self._health.close()
            self._health = None
        if not config.health_enabled:
            return
        try:
            self._health = HealthServer(
                self._reporter.health, config.health_host, config.health_port
            )
        except OSError as error:
            log.error("health.not_served", port=config.health_port, reason=str(error))
