"""What a laboratory's nodes read: manifests as text.

Node N has 172.31.0.N, fd31::N, and the blocks 10.65.N.0/26 and fd65:0:0:N::/122.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

NO_KEYS = ("", "")

_HEAD = "projectcalico.org/v3"


def resource(kind: str, name: str, spec: Mapping[str, Any], **more: Any) -> str:
    """`more`: annotations, labels, namespace, status."""
    metadata = {"name": name}
    metadata |= {key: more[key] for key in ("annotations", "labels", "namespace") if key in more}
    body = {"apiVersion": _HEAD, "kind": kind, "metadata": metadata, "spec": spec}
    if "status" in more:
        body["status"] = more["status"]
    return json.dumps(body)


def together(*resources: str) -> str:
    return "\n---\n".join(resources) + "\n"


PROFILE = resource(
    "Profile", "open", {"ingress": [{"action": "Allow"}], "egress": [{"action": "Allow"}]}
)


def pools(**annotations: str) -> str:
    """Straight from node to node in one subnet: what is not encrypted can be seen on the wire."""
    more = {"annotations": annotations} if annotations else {}
    return together(
        resource("IPPool", "p4", {"cidr": "10.65.0.0/16", "vxlanMode": "CrossSubnet"}, **more),
        resource("IPPool", "p6", {"cidr": "fd65::/48", "vxlanMode": "CrossSubnet"}, **more),
    )


def felix(**parameters: Any) -> str:
    return resource("FelixConfiguration", "default", parameters)


def node(n: int, keys: tuple[str, str] = NO_KEYS) -> str:
    """`keys` are those for IPv4 and IPv6."""
    spec = {
        "bgp": {"ipv4Address": f"172.31.0.{n}/24", "ipv6Address": f"fd31::{n}/64"},
        "wireguard": {
            "interfaceIPv4Address": f"10.65.{n}.60",
            "interfaceIPv6Address": f"fd65:0:0:{n}::3c",
        },
        "ipv4VXLANTunnelAddr": f"10.65.{n}.1",
        "ipv6VXLANTunnelAddr": f"fd65:0:0:{n}::1",
    }
    named = zip(("wireguardPublicKey", "wireguardPublicKeyV6"), keys, strict=True)
    status = {name: key for name, key in named if key}
    return resource("Node", f"n{n}", spec, status=status) + "\n"


def block(n: int, cidr: str, name: str) -> str:
    return resource(
        "IPAMBlock",
        name,
        {"cidr": cidr, "affinity": f"host:n{n}", "allocations": [], "attributes": []},
    )


def blocks(n: int) -> str:
    return together(
        block(n, f"10.65.{n}.0/26", f"b4-{n}"), block(n, f"fd65:0:0:{n}::/122", f"b6-{n}")
    )


def workload(n: int, name: str, *addresses: str, role: str = "") -> str:
    spec = {
        "node": f"n{n}",
        "orchestrator": "lab",
        "workload": name,
        "endpoint": "eth0",
        "interfaceName": f"cali{name}",
        "ipNetworks": [f"{a}/{128 if ':' in a else 32}" for a in addresses],
        "profiles": ["open"],
    }
    more = {"namespace": "default", "labels": {"role": role or name}}
    return resource("WorkloadEndpoint", f"n{n}-lab-{name}-eth0", spec, **more) + "\n"


def encrypted_policy(role: str) -> str:
    """All that workloads of a role say and hear is allowed, and goes encrypted or not at all."""
    rules = [{"action": "Allow"}]
    spec = {
        "selector": f"role == '{role}'",
        "types": ["Ingress", "Egress"],
        "ingress": rules,
        "egress": rules,
    }
    more = {"annotations": {"encryption": "required"}}
    return resource("GlobalNetworkPolicy", "encrypted", spec, **more) + "\n"
