"""The survey for people, and as JSON.

Workloads with the same exposures are one paragraph.  JSON has every workload by itself.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from felixpy.exposure.reading import Report
from felixpy.exposure.survey import Cause, Exposed, Exposure
from felixpy.exposure.targets import ANY_OTHER, SOURCE_PORT, TCP, Kind, Probe

_FEW = 6  # names in one line
_PROTOCOLS = {6: "TCP", 17: "UDP"}
_KINDS: dict[Kind, str] = {
    "host": "this host",
    "datastore": "the datastore",
    "metadata": "the metadata service",
    "node": "other nodes",
}


def render_text(report: Report) -> Iterator[str]:
    alike: dict[tuple[Exposure, ...], list[Exposed]] = {}
    for each in report.exposed:
        alike.setdefault(each.exposures, []).append(each)
    for exposures, workloads in alike.items():
        names = [f"{each.key.workload} ({each.interface})" for each in workloads]
        yield f"workload{'s' if len(names) > 1 else ''} {_few(names)}"
        for exposure in exposures:
            yield from _exposure(exposure)
        yield ""
    yield from _footer(report)


def _exposure(exposure: Exposure) -> Iterator[str]:
    names = [f"{name} {address}".strip() for name, address in exposure.targets]
    yield f"  may reach {_KINDS[exposure.kind]}: {_few(names)}"
    for cause, probes in exposure.opened:
        yield f"    {_ports(probes)}"
        yield f"      allowed by {'; then '.join(cause.places)}"
        if not cause.final:
            yield "      unless rules after felixpy's refuse it"


def _ports(probes: Iterable[Probe]) -> str:
    named: dict[str, list[str]] = {}
    others = []
    for probe in probes:
        protocol = _PROTOCOLS[probe.protocol]
        if probe.what:
            named.setdefault(protocol, []).append(f"{probe.port} ({probe.what.partition(':')[0]})")
        else:
            others.append(protocol)
    texts = [f"{protocol} {', '.join(ports)}" for protocol, ports in named.items()]
    if others:
        texts.append(f"any other port ({' and '.join(others)} {ANY_OTHER} asked)")
    return "; ".join(texts)


def _footer(report: Report) -> Iterator[str]:
    hosts = sum(target.kind == "host" for target in report.asked)
    nodes = len({target.name for target in report.asked if target.kind == "node"})
    etcds = len({target.name for target in report.asked if target.kind == "datastore"})
    for text in report.by_design:
        yield f"always allowed, whatever policy says: {text}"
    for text in report.unknown:
        yield f"warning: {text}"
    yield (
        f"{report.location}: {len(report.exposed)} of {report.workloads} local workloads exposed;"
        f" asked about {hosts} addresses of this host, {etcds} of etcd, the metadata service and"
        f" {nodes} other nodes, from port {SOURCE_PORT}"
    )


def _few(names: list[str]) -> str:
    if len(names) <= _FEW:
        return ", ".join(names)
    return f"{', '.join(names[:_FEW])} and {len(names) - _FEW} more"


def as_json(report: Report) -> dict[str, Any]:
    return {
        "datastore": report.location,
        "errors": [str(error) for error in report.errors],
        "warnings": list(report.unknown),
        "local_workloads": report.workloads,
        "always_allowed": list(report.by_design),
        "any_other_port": ANY_OTHER,
        "exposed": [
            {
                "workload": each.key.workload,
                "orchestrator": each.key.orchestrator,
                "endpoint": each.key.endpoint,
                "interface": each.interface,
                "exposures": [_json_of(exposure) for exposure in each.exposures],
            }
            for each in report.exposed
        ],
    }


def _json_of(exposure: Exposure) -> dict[str, Any]:
    return {
        "kind": exposure.kind,
        "targets": [{"name": name, "address": address} for name, address in exposure.targets],
        "open": [_json_of_cause(cause, probes) for cause, probes in exposure.opened],
    }


def _json_of_cause(cause: Cause, probes: Iterable[Probe]) -> dict[str, Any]:
    return {
        "ports": [
            {
                "protocol": "tcp" if probe.protocol == TCP else "udp",
                "port": probe.port,
                "what": probe.what,
                "any_other": not probe.what,
            }
            for probe in probes
        ],
        "allowed_by": list(cause.places),
        "final": cause.final,
    }
