"""What Prometheus can ask, by Felix's names where the meaning is the same (section 7.6 of the data
model reference).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Summary, start_http_server
from prometheus_client.platform_collector import PlatformCollector
from prometheus_client.process_collector import ProcessCollector


class Metrics:
    """One set for each agent, in a registry of its own."""

    def __init__(self, *, host: str, runtime: bool = True, process: bool = True) -> None:
        self.registry = registry = CollectorRegistry()
        if runtime:
            PlatformCollector(registry=registry)
        if process:
            ProcessCollector(registry=registry)
        Gauge("felix_host", "Always 1", ["host"], registry=registry).labels(host).set(1)
        self.resync_state = Gauge(
            "felix_resync_state", "1 waiting, 2 resync, 3 in sync", registry=registry
        )
        self.resyncs = Counter(
            "felix_resyncs_started", "Lists of the whole datastore begun", registry=registry
        )
        self.updates = Counter(
            "felix_calc_graph_updates_processed",
            "Changes from the datastore",
            ["type"],
            registry=registry,
        )
        self.output = Counter(
            "felix_calc_graph_output_events", "Updates for the dataplane", registry=registry
        )
        self.graph_seconds = Summary(
            "felix_calc_graph_update_time_seconds",
            "Time to work in a batch of changes",
            registry=registry,
        )
        self.apply_seconds = Summary(
            "felix_int_dataplane_apply_time_seconds", "Time of one apply", registry=registry
        )
        self.failures = Counter(
            "felix_int_dataplane_failures",
            "Applies that failed and were tried again",
            registry=registry,
        )
        self.messages = Counter(
            "felix_int_dataplane_messages", "Updates received", ["type"], registry=registry
        )
        self.problems = Gauge(
            "felixpy_problems",
            "Things that are wrong; felixpy status names them",
            registry=registry,
        )

    def gauge(
        self, name: str, text: str, ask: Callable[[], float], labels: dict[str, str] | None = None
    ) -> None:
        """A figure that is asked for when Prometheus asks; the latest `ask` of a name and its
        labels counts.
        """
        known: Any = self.registry._names_to_collectors.get(name)  # noqa: SLF001  no public look-up
        gauge = known or Gauge(name, text, list(labels or {}), registry=self.registry)
        (gauge.labels(**labels) if labels else gauge).set_function(ask)

    def serve(
        self,
        host: str,
        port: int,
        *,
        certificate: str = "",
        key: str = "",
        client_ca: str = "",
        client_required: bool = False,
    ) -> Callable[[], None]:
        """Answer at /metrics from a thread; returns what ends it.  Raises OSError when the address
        cannot be had.
        """
        server, thread = start_http_server(
            port,
            addr=host or "0.0.0.0",  # noqa: S104  Felix's meaning of an unset PrometheusMetricsHost
            registry=self.registry,
            certfile=certificate or None,
            keyfile=key or None,
            client_cafile=client_ca or None,
            client_auth_required=client_required,
        )

        def close() -> None:
            server.shutdown()
            server.server_close()
            thread.join()

        return close
