"""Manifests -> what policy is about: endpoints, network sets, tiers, policies, profiles.

Fields that a client fills in at write are filled in: types of a policy, order and default action of
a tier, the tier of a policy, the namespace and the labels of an endpoint.  The tier `default` and
the profile `projectcalico-default-allow` are there though no one wrote them.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from tests.oracle.packet import Address
from tests.oracle.selectors import Labels, Selector, both, everything, has, no, selector

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
Manifest = Mapping[str, Any]
Rule = Mapping[str, Any]

NAMESPACE = "projectcalico.org/namespace"
ORCHESTRATOR = "projectcalico.org/orchestrator"
SERVICE_ACCOUNT = "projectcalico.org/serviceaccount"
OF_NAMESPACE, OF_SERVICE_ACCOUNT = "pcns.", "pcsa."
DEFAULT_ALLOW = "projectcalico-default-allow"
ANYTHING: tuple[Rule, ...] = ({"action": "Allow"},)
NOTHING: tuple[Rule, ...] = ({"action": "Deny"},)


class NamedPort(NamedTuple):
    name: str
    protocol: str
    number: int


class Holder(NamedTuple):
    """Who has addresses that a selector can mean: an endpoint, or a network set."""

    labels: Labels
    nets: tuple[Network, ...]
    ports: tuple[NamedPort, ...] = ()

    def has(self, address: Address) -> bool:
        return any(address in net for net in self.nets)


class Workload(NamedTuple):
    """A workload of this node."""

    interface: str
    holder: Holder
    profiles: tuple[str, ...]


@dataclass(frozen=True)
class Policy:
    kind: str
    namespace: str  # "" for a global one
    name: str
    tier: str
    order: float
    selects: Selector
    types: tuple[str, ...]
    rules: Mapping[str, Sequence[Rule]]  # by "ingress" and "egress"

    @property
    def staged(self) -> bool:
        return self.kind.startswith("Staged")

    @property
    def rank(self) -> tuple[float, bytes]:
        """Lowest order first, no order last; then by name."""
        return self.order, f"{self.name}/{self.namespace}/{self.kind}".encode()

    def __str__(self) -> str:
        return "/".join(part for part in (self.kind, self.namespace, self.name) if part)


class Tier(NamedTuple):
    name: str
    exists: bool
    order: float
    default_action: str

    @property
    def rank(self) -> tuple[bool, float, bytes]:
        """Tiers that exist come before those that are only spoken of."""
        return not self.exists, self.order, self.name.encode()


class Profile(NamedTuple):
    labels: Labels
    rules: Mapping[str, Sequence[Rule]]


@dataclass
class Cluster:
    workloads: list[Workload] = field(default_factory=list)  # of this node
    holders: list[Holder] = field(default_factory=list)  # of the whole cluster
    policies: list[Policy] = field(default_factory=list)
    tiers: dict[str, Tier] = field(default_factory=dict)
    profiles: dict[str, Profile] = field(default_factory=dict)

    def tier(self, name: str) -> Tier:
        """One that is missing is the last of all, and drops what its policies do not decide."""
        return self.tiers.get(name, Tier(name, False, float("inf"), "Deny"))

    def profile_rules(self, name: str, direction: str) -> Sequence[Rule]:
        """A profile that is missing denies."""
        profile = self.profiles.get(name)
        return NOTHING if profile is None else profile.rules[direction]

    def holders_of(self, address: Address) -> list[Holder]:
        return [holder for holder in self.holders if holder.has(address)]


def read_cluster(manifests: Iterable[Manifest], node: str) -> Cluster:
    manifests = list(manifests)
    cluster = Cluster()
    cluster.tiers["default"] = Tier("default", True, 1_000_000, "Deny")
    cluster.profiles[DEFAULT_ALLOW] = Profile({}, {"ingress": ANYTHING, "egress": ANYTHING})
    for manifest in manifests:  # profiles first: endpoints inherit labels from them
        if manifest["kind"] == "Profile":
            cluster.profiles[manifest["metadata"]["name"]] = _profile(_spec(manifest))
    for manifest in manifests:
        match manifest["kind"]:
            case "WorkloadEndpoint":
                workload = _workload(cluster, manifest)
                cluster.holders.append(workload.holder)
                if _spec(manifest)["node"] == node:
                    cluster.workloads.append(workload)
            case "HostEndpoint":
                cluster.holders.append(_host(cluster, manifest))
            case "NetworkSet" | "GlobalNetworkSet":
                cluster.holders.append(_network_set(cluster, manifest))
            case "Tier":
                tier = _tier(manifest)
                cluster.tiers[tier.name] = tier
            case kind if kind.endswith("NetworkPolicy"):
                cluster.policies.append(_policy(manifest))
    return cluster


def _spec(manifest: Manifest) -> Mapping[str, Any]:
    return manifest.get("spec") or {}


def _namespace(manifest: Manifest) -> str:
    return manifest["metadata"].get("namespace") or "default"


def _rules(spec: Mapping[str, Any]) -> dict[str, Sequence[Rule]]:
    return {"ingress": spec.get("ingress") or [], "egress": spec.get("egress") or []}


def _profile(spec: Mapping[str, Any]) -> Profile:
    return Profile(spec.get("labelsToApply") or {}, _rules(spec))


def _tier(manifest: Manifest) -> Tier:
    spec = _spec(manifest)
    order = spec.get("order")
    return Tier(
        manifest["metadata"]["name"],
        True,
        1_000_000 if order is None else order,
        spec.get("defaultAction") or "Deny",
    )


# ---------------------------------------------------------------- who has which addresses


def _inherit(cluster: Cluster, own: Labels, profiles: Iterable[str]) -> Labels:
    """An endpoint's own label wins, then that of the first profile that has it."""
    labels = dict(own)
    for name in profiles:
        if name in cluster.profiles:
            labels = {**cluster.profiles[name].labels, **labels}
    return labels


def _nets(texts: Iterable[str]) -> tuple[Network, ...]:
    return tuple(ipaddress.ip_network(text, strict=False) for text in texts)


def _ports(spec: Mapping[str, Any]) -> tuple[NamedPort, ...]:
    return tuple(
        NamedPort(port["name"], port["protocol"].lower(), port["port"])
        for port in spec.get("ports") or []
        if port.get("name")
    )


def _workload(cluster: Cluster, manifest: Manifest) -> Workload:
    spec = _spec(manifest)
    labels = {
        name: value
        for name, value in (manifest["metadata"].get("labels") or {}).items()
        if not name.startswith((OF_NAMESPACE, OF_SERVICE_ACCOUNT))
    }
    labels |= {NAMESPACE: _namespace(manifest), ORCHESTRATOR: spec["orchestrator"]}
    if spec.get("serviceAccountName"):
        labels[SERVICE_ACCOUNT] = spec["serviceAccountName"]
    profiles = tuple(spec.get("profiles") or ())
    # whatever length is written, an endpoint has single addresses
    nets = _nets(net.split("/")[0] for net in spec["ipNetworks"])
    holder = Holder(_inherit(cluster, labels, profiles), nets, _ports(spec))
    return Workload(spec["interfaceName"], holder, profiles)


def _host(cluster: Cluster, manifest: Manifest) -> Holder:
    spec = _spec(manifest)
    labels = _inherit(cluster, manifest["metadata"].get("labels") or {}, spec.get("profiles") or ())
    return Holder(labels, _nets(spec.get("expectedIPs") or ()), _ports(spec))


def _network_set(cluster: Cluster, manifest: Manifest) -> Holder:
    labels = dict(manifest["metadata"].get("labels") or {})
    profiles = []
    if manifest["kind"] == "NetworkSet":
        labels[NAMESPACE] = _namespace(manifest)
        profiles = [f"kns.{_namespace(manifest)}"]
    return Holder(_inherit(cluster, labels, profiles), _nets(_spec(manifest).get("nets") or ()))


# ---------------------------------------------------------------- policies


def _policy(manifest: Manifest) -> Policy:
    spec = _spec(manifest)
    namespace = "" if "Global" in manifest["kind"] else _namespace(manifest)
    order = spec.get("order")
    return Policy(
        kind=manifest["kind"],
        namespace=namespace,
        name=manifest["metadata"]["name"],
        tier=spec.get("tier") or "default",
        order=float("inf") if order is None else order,
        selects=_selects(spec, namespace),
        types=tuple(spec.get("types") or _types(spec)),
        rules=_rules(spec),
    )


def _types(spec: Mapping[str, Any]) -> list[str]:
    """Filled in at write: both if there are rules of both, Egress if only of that, else Ingress."""
    if not spec.get("egress"):
        return ["Ingress"]
    return ["Ingress", "Egress"] if spec.get("ingress") else ["Egress"]


def in_namespace(name: str) -> Selector:
    return lambda labels: labels.get(NAMESPACE) == name


def of_namespaces(text: str) -> Selector:
    """A namespaceSelector: labels of the namespace; all() is any, global() is none."""
    return selector(
        text, prefix=OF_NAMESPACE, all_means=has(NAMESPACE), global_means=no(has(NAMESPACE))
    )


def _selects(spec: Mapping[str, Any], namespace: str) -> Selector:
    """To which endpoints a policy applies."""
    of_namespace = spec.get("namespaceSelector") or ""
    of_account = spec.get("serviceAccountSelector") or ""
    if namespace:
        result = both(selector(spec.get("selector") or ""), in_namespace(namespace))
        account_all: Selector = everything
    else:
        # in a global policy all() stands for what the narrower selector beside it can be about
        account_all = has(SERVICE_ACCOUNT)
        if of_namespace:
            all_means = has(NAMESPACE)
        elif of_account:
            all_means = account_all
        else:
            all_means = everything
        text = spec.get("selector") or ""
        result = selector(text, all_means=all_means) if text else everything
        if of_namespace:
            result = both(result, of_namespaces(of_namespace))
    if of_account:
        result = both(
            result, selector(of_account, prefix=OF_SERVICE_ACCOUNT, all_means=account_all)
        )
    return result
