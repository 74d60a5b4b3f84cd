"""Random small clusters, valid and full of cases that lie close to each other, and changes to them.

    cluster = random_cluster(rng)    resources by key, as a directory of manifests would hold them
    what = change(cluster, rng)      one of them changed, gone or added, and what was done in words

All vocabularies are small, so that labels, nets, ports and orders meet again and again.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

from tests.kernel.packets_lab import HOST_ADDRESSES, MARKER, NODE, PLUGS, Key
from tests.kernel.packets_rules import random_rules, random_selector

Manifest = dict[str, Any]
Resources = dict[Key, Manifest]

NAMESPACES = ("default", "prod", "dev")
ACCOUNTS = ("web", "batch")
LABELS = {"role": ("client", "server", "db"), "env": ("prod", "dev", ""), "app": ("a", "ab", "b")}
REMOTE = {4: "10.66.0.{}", 6: "fd66::{}"}  # workloads and hosts of another node, behind outside
NETS = {
    4: (
        "192.0.2.0/24",
        "192.0.2.128/25",
        "198.51.100.0/25",
        "203.0.113.5",
        "203.0.113.4/30",
        "10.66.0.0/16",
        "10.65.0.8/29",
        "10.65.0.13/29",  # host bits are allowed here
        "0.0.0.0/0",
    ),
    6: (
        "fd99::/32",
        "fd99:0:0:1::/64",
        "fd98::7",
        "fd66::/64",
        "fd65::10/126",
        "fd65::/64",
        "::/0",
    ),
}
PORTS = (("http", (80, 8080)), ("dns", (53, 1000)), ("alt", (8055, 80)))
PROFILES = ("open", "narrow", "strict", "projectcalico-default-allow", "absent")
TIERS = ("gate", "gate", "aaa")
POLICY_KINDS = (
    ("GlobalNetworkPolicy",) * 4
    + ("NetworkPolicy",) * 4
    + (
        "StagedGlobalNetworkPolicy",
        "StagedNetworkPolicy",
    )
)
POLICY_NAMES = ("a", "b", "b-x", "b.x", "aa")  # '-' and '.' sort before the '/' that follows
ORDERS = (None, None, 1, 1, 1, 2.5, -3)


def resource(kind: str, namespace: str, name: str, spec: Manifest, **metadata: Any) -> Manifest:
    meta: Manifest = {"name": name, **metadata}
    if namespace:
        meta["namespace"] = namespace
    return {
        "apiVersion": "projectcalico.org/v3",
        "kind": kind,
        "metadata": meta,
        "spec": spec,
    }


def random_cluster(rng: random.Random) -> Resources:
    cluster = _fixed(rng)
    for make, fewest, most in (
        (add_tier, 1, 3),
        (add_profile, 2, 4),
        (add_network_set, 0, 3),
        (add_policy, 3, 9),
        (add_host_endpoint, 0, 2),
        (add_remote, 0, 3),
    ):
        for _ in range(rng.randint(fewest, most)):
            make(cluster, rng)
    for name in PLUGS:
        if rng.random() < 0.95:
            put_workload(cluster, rng, name)
    return cluster


def _fixed(rng: random.Random) -> Resources:
    """The node, and the profiles that bear the labels of namespaces and service accounts."""
    everything = [{"action": "Allow"}]
    resources: Resources = {}
    bgp = {"ipv4Address": f"{HOST_ADDRESSES[4]}/24", "ipv6Address": f"{HOST_ADDRESSES[6]}/64"}
    resources["Node", "", NODE] = resource("Node", "", NODE, {"bgp": bgp})
    for namespace in NAMESPACES:
        labels = {f"pcns.{name}": value for name, value in _labels(rng).items()} | _labels(rng)
        labels["pcns.projectcalico.org/name"] = namespace
        spec = {"ingress": everything, "egress": everything, "labelsToApply": labels}
        resources["Profile", "", f"kns.{namespace}"] = resource(
            "Profile", "", f"kns.{namespace}", spec
        )
        for account in ACCOUNTS:
            name = f"ksa.{namespace}.{account}"
            labels = {f"pcsa.{name}": value for name, value in _labels(rng).items()}
            resources["Profile", "", name] = resource(
                "Profile", "", name, {"labelsToApply": labels | _labels(rng)}
            )
    return resources


def _labels(rng: random.Random) -> dict[str, str]:
    return {name: rng.choice(values) for name, values in LABELS.items() if rng.random() < 0.6}


def _named_ports(rng: random.Random) -> list[Manifest]:
    return [
        {"name": name, "protocol": rng.choice(("TCP", "UDP", "SCTP")), "port": rng.choice(numbers)}
        for name, numbers in PORTS
        if rng.random() < 0.5
    ]


# ---------------------------------------------------------------- endpoints


def put_workload(cluster: Resources, rng: random.Random, name: str) -> None:
    """Register what is plugged in, or register it differently."""
    plug = PLUGS[name]
    addresses = [f"{plug.addresses[4]}/32", f"{plug.addresses[6]}/128"]
    spec = {"node": NODE, "interfaceName": plug.interface, "mac": plug.mac}
    cluster["WorkloadEndpoint", "", name] = _workload(
        rng, name, {**spec, "ipNetworks": addresses}, last=MARKER[2]
    )


def add_remote(cluster: Resources, rng: random.Random) -> None:
    number = rng.randint(1, 3)
    spec = {"node": "n2", "interfaceName": f"calir{number}"}
    nets = [f"{REMOTE[4].format(number)}/32", f"{REMOTE[6].format(number)}/128"]
    cluster["WorkloadEndpoint", "", f"r{number}"] = _workload(
        rng, f"r{number}", {**spec, "ipNetworks": nets}
    )


def _workload(rng: random.Random, name: str, place: Manifest, last: str = "") -> Manifest:
    namespace = rng.choice(NAMESPACES)
    profiles = rng.choices(PROFILES, (7, 3, 2, 2, 1), k=rng.choice((0, 1, 1, 1, 2)))
    spec: Manifest = {"orchestrator": "lab", "workload": name, "endpoint": "eth0", **place}
    if rng.random() < 0.4:
        spec["serviceAccountName"] = rng.choice(ACCOUNTS)
        profiles.insert(0, f"ksa.{namespace}.{spec['serviceAccountName']}")
    if rng.random() < 0.5:
        profiles.insert(0, f"kns.{namespace}")
    if rng.random() < 0.3:
        rng.shuffle(profiles)
    spec["profiles"] = list(dict.fromkeys(profiles)) + ([last] if last else [])
    spec["ports"] = _named_ports(rng)
    return resource(
        "WorkloadEndpoint", namespace, f"{place['node']}-lab-{name}-eth0", spec, labels=_labels(rng)
    )


def add_host_endpoint(cluster: Resources, rng: random.Random) -> None:
    """Of another node, so that only its addresses count."""
    number = rng.randint(1, 2)
    spec = {
        "node": "n2",
        "interfaceName": f"eth{number}",
        "expectedIPs": [REMOTE[4].format(number), REMOTE[6].format(number), "203.0.113.5"],
        "ports": _named_ports(rng),
    }
    name = f"h{number}"
    cluster["HostEndpoint", "", name] = resource(
        "HostEndpoint", "", name, spec, labels=_labels(rng)
    )


def add_network_set(cluster: Resources, rng: random.Random) -> None:
    namespace = rng.choice(("", *NAMESPACES))
    kind = "NetworkSet" if namespace else "GlobalNetworkSet"
    name = f"s{rng.randint(1, 2)}"
    nets = rng.sample([*NETS[4], *NETS[6]], rng.randint(0, 5))
    cluster[kind, namespace, name] = resource(
        kind, namespace, name, {"nets": nets}, labels=_labels(rng)
    )


# ---------------------------------------------------------------- policy


def add_tier(cluster: Resources, rng: random.Random) -> None:
    spec: Manifest = {"order": rng.choice((5, 5, 10, None, -1, 2_000_000))}
    if rng.random() < 0.7:
        spec["defaultAction"] = rng.choice(("Deny", "Pass"))
    name = rng.choice(TIERS)
    cluster["Tier", "", name] = resource("Tier", "", name, spec)


def add_profile(cluster: Resources, rng: random.Random) -> None:
    name = rng.choice(("open", "narrow", "strict"))
    spec: Manifest = {"labelsToApply": _labels(rng)}
    for direction in ("ingress", "egress"):
        rules = [] if name == "open" else random_rules(rng, direction, actions=_PROFILE_ACTIONS)
        if name == "open":
            rules.append({"action": "Allow"})
        spec[direction] = rules
    cluster["Profile", "", name] = resource("Profile", "", name, spec)


_POLICY_ACTIONS = {"Allow": 8, "Deny": 6, "Pass": 4, "Log": 2}
_PROFILE_ACTIONS = {"Allow": 8, "Deny": 4, "Pass": 1, "Log": 2}


def add_policy(cluster: Resources, rng: random.Random) -> None:
    kind = rng.choice(POLICY_KINDS)
    namespace = "" if "Global" in kind else rng.choice(NAMESPACES)
    name = rng.choice(POLICY_NAMES)
    cluster[kind, namespace, name] = resource(kind, namespace, name, _policy(rng, namespace))


def _policy(rng: random.Random, namespace: str) -> Manifest:
    """Mostly about one direction: what may not leave will tell nothing of where it goes."""
    spec: Manifest = {}
    if rng.random() < 0.5:
        spec["tier"] = rng.choice(("gate", "gate", "aaa", "default", "ghost"))
    order = rng.choice(ORDERS)
    if order is not None:
        spec["order"] = order
    if rng.random() < 0.6:
        spec["selector"] = rng.choice(("all()", *(random_selector(rng) for _ in range(4))))
    if rng.random() < 0.15:
        spec["serviceAccountSelector"] = random_selector(rng)
    if not namespace and rng.random() < 0.25:
        spec["namespaceSelector"] = random_selector(rng)
    directions = rng.choices((("ingress",), ("egress",), ("ingress", "egress"), ()), (6, 2, 2, 1))[
        0
    ]
    for direction in directions:
        spec[direction] = random_rules(rng, direction, actions=_POLICY_ACTIONS)
    if rng.random() < 0.4:
        spec["types"] = [direction.capitalize() for direction in directions] or ["Egress"]
    elif rng.random() < 0.1:
        spec["types"] = rng.choice((["Ingress"], ["Egress"], ["Ingress", "Egress"]))
    return spec


# ---------------------------------------------------------------- changes


def change(cluster: Resources, rng: random.Random) -> str:
    """Do one thing to the cluster, as a user might; what was done."""
    kinds = {
        "policy": lambda key: key[0].endswith("NetworkPolicy"),
        "set": lambda key: key[0].endswith("NetworkSet"),
        "tier": lambda key: key[0] == "Tier",
        "profile": lambda key: key[0] == "Profile" and "." not in key[2],
        "endpoint": lambda key: key[0].endswith("Endpoint"),
    }
    makers: dict[str, Callable[[Resources, random.Random], None]] = {
        "policy": add_policy,
        "set": add_network_set,
        "tier": add_tier,
        "profile": add_profile,
        "endpoint": add_remote,
    }
    kind = rng.choices(list(kinds), (5, 2, 2, 2, 4))[0]
    there = sorted(key for key in cluster if kinds[kind](key))
    if not there or rng.random() < 0.3:
        makers[kind](cluster, rng)
        return f"a {kind} written"
    key = rng.choice(there)
    if key[2] in PLUGS and rng.random() < 0.85:
        put_workload(cluster, rng, key[2])
        return f"{key[2]} registered anew"
    if kind == "policy" and rng.random() < 0.5:
        cluster[key] = resource(*key, _policy(rng, key[1]))
        return f"{key} rewritten"
    del cluster[key]
    return f"{key} gone"
