"""The names of workload endpoints: "<node>-<orchestrator>-<third>-<endpoint>".

A dash within a part is doubled, so a part can neither begin nor end with one.  The third part is
the pod for orchestrator k8s, the container for cni, "libnetwork" for libnetwork, and the workload
for all others.
Source: projectcalico/calico libcalico-go/lib/names/workloadendpoint.go.
"""

from __future__ import annotations

from functools import lru_cache
from sys import intern
from typing import NamedTuple

from felixpy.datastore.errors import InvalidResourceError
from felixpy.datastore.resources.endpoints import WorkloadEndpointSpec

PARTS = 4


class EndpointName(NamedTuple):
    node: str
    orchestrator: str
    third: str
    endpoint: str


@lru_cache(maxsize=256)  # defaults, labels and conversion ask for the same name in turn
def parse_endpoint_name(name: str) -> EndpointName:
    parts = name.split("-") if "--" not in name else _split(name)
    if len(parts) != PARTS or not all(parts):
        raise InvalidResourceError(
            "must be <node>-<orchestrator>-<workload>-<endpoint>, dashes within a part doubled, "
            f"not {name!r}",
            ("metadata", "name"),
        )
    node, orchestrator, third, endpoint = parts
    # All but the third come again with thousands of names, and the graph keeps them.
    return EndpointName(intern(node), intern(orchestrator), third, intern(endpoint))


def _split(name: str) -> list[str]:
    parts = [""]
    position = 0
    while position < len(name):
        if name.startswith("--", position):
            parts[-1] += "-"
            position += 2
        elif name[position] == "-":
            parts.append("")
            position += 1
        else:
            parts[-1] += name[position]
            position += 1
    return parts


def named_by_spec(spec: WorkloadEndpointSpec) -> EndpointName:
    """The parts as the spec gives them; "" where it says nothing."""
    third = {
        "k8s": spec.pod,
        "cni": spec.container_id,
        "libnetwork": spec.orchestrator,
    }.get(spec.orchestrator, spec.workload)
    return EndpointName(spec.node, spec.orchestrator, third, spec.endpoint)


def third_field(orchestrator: str) -> str:
    fields = {"k8s": "pod", "cni": "containerID", "libnetwork": "orchestrator"}
    return fields.get(orchestrator, "workload")


def render_endpoint_name(parts: EndpointName) -> str:
    return "-".join(part.replace("-", "--") for part in parts)
