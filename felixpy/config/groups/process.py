"""The process itself: logs, health, metrics, reports."""

# ruff: noqa: RUF009  `param` is a dataclasses.field that knows more
from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from felixpy.config.network_types import HOST_ADDRESS, PORT
from felixpy.config.parameter import param
from felixpy.config.types import (
    BOOL,
    DURATION_PAIRS,
    FILE,
    PAIRS,
    REGEXP,
    SECONDS,
    TEXT,
    DurationPairs,
    Pairs,
    Type,
    one_of,
)

Severity = Literal["TRACE", "DEBUG", "INFO", "WARNING", "ERROR", "FATAL", ""]
ClientAuth = Literal[
    "RequireAndVerifyClientCert",
    "RequireAnyClientCert",
    "VerifyClientCertIfGiven",
    "NoClientCert",
]
_SEVERITY: Type[Severity] = one_of(
    "TRACE", "DEBUG", "INFO", "WARNING", "ERROR", "FATAL", "", none=""
)
_CLIENT_AUTH: Type[ClientAuth] = one_of(
    "RequireAndVerifyClientCert",
    "RequireAnyClientCert",
    "VerifyClientCertIfGiven",
    "NoClientCert",
    none="NoClientCert",
)


@dataclass(frozen=True)
class Process:
    """Logs, health, metrics, reports"""

    # Felix's default is /var/log/calico/felix.log; under systemd and in a container standard
    # error is kept already, and a file that nobody rotates fills a disk.
    log_file_path: str = param(
        "LogFilePath", FILE, "", "File that the log is also written to.", flags="D", live=True
    )
    log_severity_file: Severity = param(
        "LogSeverityFile",
        _SEVERITY,
        "INFO",
        "Severity from which events go to LogFilePath; none: nothing does.",
        live=True,
    )
    log_severity_screen: Severity = param(
        "LogSeverityScreen",
        _SEVERITY,
        "INFO",
        "Severity from which events go to standard error; none: nothing does.",
        live=True,
    )
    log_severity_sys: Severity = param(
        "LogSeveritySys",
        _SEVERITY,
        "INFO",
        "Severity from which events go to syslog, unless the journal reads standard error already.",
        live=True,
    )
    log_format: Literal["console", "json"] = param(
        "LogFormat",
        one_of("console", "json", none="console"),
        "console",
        "How events are written: a line for people, in colours on a terminal, or one of JSON.",
        flags="L",
        live=True,
    )
    log_debug_filename_regex: str = param(
        "LogDebugFilenameRegex",
        REGEXP,
        "",
        "Debug events only from source files whose name matches.",
        live=True,
        effect="later",
    )
    health_enabled: bool = param(
        "HealthEnabled",
        BOOL,
        False,
        "Answer /liveness and /readiness over HTTP.",
        live=True,
    )
    health_host: str = param(
        "HealthHost",
        HOST_ADDRESS,
        "localhost",
        "Address on which health is served.",
        live=True,
    )
    health_port: int = param(
        "HealthPort",
        PORT,
        9099,
        "Port on which health is served.",
        live=True,
    )
    health_timeout_overrides: DurationPairs = param(
        "HealthTimeoutOverrides",
        DURATION_PAIRS,
        (),
        "Time limits of single health reporters by name; 0: never too late.",
        live=True,
    )
    dataplane_watchdog_timeout: float = param(
        "DataplaneWatchdogTimeout",
        SECONDS,
        90.0,
        "How long the dataplane may be silent before the agent counts as not live.",
        live=True,
    )
    prometheus_metrics_enabled: bool = param(
        "PrometheusMetricsEnabled",
        BOOL,
        False,
        "Serve metrics at /metrics.",
        live=True,
    )
    prometheus_metrics_host: str = param(
        "PrometheusMetricsHost",
        HOST_ADDRESS,
        "",
        "Address on which metrics are served; unset: every one.",
        live=True,
    )
    prometheus_metrics_port: int = param(
        "PrometheusMetricsPort",
        PORT,
        9091,
        "Port on which metrics are served.",
        live=True,
    )
    prometheus_go_metrics_enabled: bool = param(
        "PrometheusGoMetricsEnabled",
        BOOL,
        True,
        "Metrics of the language's runtime, which is Python's here.",
        live=True,
    )
    prometheus_process_metrics_enabled: bool = param(
        "PrometheusProcessMetricsEnabled",
        BOOL,
        True,
        "Metrics of the process: memory, CPU, files.",
        live=True,
    )
    prometheus_wireguard_metrics_enabled: bool = param(
        "PrometheusWireGuardMetricsEnabled",
        BOOL,
        True,
        "Metrics of WireGuard's peers.",
        live=True,
    )
    prometheus_metrics_ca_file: str = param(
        "PrometheusMetricsCAFile",
        TEXT,
        "",
        "Certificates of the authorities that may vouch for those who read metrics.",
        live=True,
    )
    prometheus_metrics_cert_file: str = param(
        "PrometheusMetricsCertFile",
        TEXT,
        "",
        "Certificate with which metrics are served over TLS.",
        live=True,
    )
    prometheus_metrics_key_file: str = param(
        "PrometheusMetricsKeyFile",
        TEXT,
        "",
        "Private key that belongs to PrometheusMetricsCertFile.",
        live=True,
    )
    prometheus_metrics_client_auth: ClientAuth = param(
        "PrometheusMetricsClientAuth",
        _CLIENT_AUTH,
        "NoClientCert",
        "Whether those who read metrics must show a certificate.",
        live=True,
    )
    # Long enough for somebody to be called and to mend or confirm it, and for a backup to be read
    # in; not so long that what was emptied on purpose goes by old policy for the rest of the day.
    empty_datastore_grace_secs: float = param(
        "EmptyDatastoreGraceSecs",
        SECONDS,
        600.0,
        "How long rules stay in force after every endpoint and policy has vanished from the "
        "datastore at once, unless felixpy confirm says that this is meant; 0: not at all.",
        live=True,
    )
    lockout_guard: Literal["Enforce", "Warn", "Off"] = param(
        "LockoutGuard",
        one_of("Enforce", "Warn", "Off", none="Off"),
        "Enforce",
        "Whether a change that would cut this machine off from those who manage it is held back "
        "until felixpy confirm lets it go, only said, or not looked for.",
        live=True,
    )
    reporting_interval_secs: float = param(
        "ReportingIntervalSecs",
        SECONDS,
        30.0,
        "Time between two reports of this node's status to the datastore; 0: none.",
        live=True,
    )
    reporting_ttl_secs: float = param(
        "ReportingTTLSecs",
        SECONDS,
        90.0,
        "How long a report of this node's status stays in the datastore.",
        live=True,
    )
    endpoint_reporting_enabled: bool = param(
        "EndpointReportingEnabled",
        BOOL,
        False,
        "Report the status of each local endpoint to the datastore.",
        live=True,
    )
    endpoint_reporting_delay_secs: float = param(
        "EndpointReportingDelaySecs",
        SECONDS,
        1.0,
        "Shortest time between two writes of endpoint status.",
        live=True,
    )
    endpoint_status_path_prefix: str = param(
        "EndpointStatusPathPrefix",
        FILE,
        "/var/run/calico",
        "Directory below which the CNI plugin finds the status of local endpoints; none: no files.",
        live=True,
    )
    policy_sync_path_prefix: str = param(
        "PolicySyncPathPrefix",
        FILE,
        "",
        "Directory of the sockets on which policy is handed to sidecars.",
        effect="later",
    )
    feature_detect_override: Pairs = param(
        "FeatureDetectOverride",
        PAIRS,
        (),
        "Features of kernel and tools, by Felix's names, taken as present (true) or missing "
        "(false): SNATFullyRandom and MASQFullyRandom.",
    )
    feature_gates: Pairs = param(
        "FeatureGates", PAIRS, (), "Experiments of Felix to switch on.", effect="later"
    )
    debug_port: int = param(
        "DebugPort", PORT, 0, "Port on which profiles are served; 0: none.", effect="later"
    )
    debug_host: str = param(
        "DebugHost",
        HOST_ADDRESS,
        "localhost",
        "Address on which profiles are served.",
        effect="later",
    )
