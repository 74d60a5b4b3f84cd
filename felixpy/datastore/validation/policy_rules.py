"""Rules between the fields of policies, their rules, profiles and tiers."""

from __future__ import annotations

from collections.abc import Iterable

from calc_graph.model import PortRange
from felixpy.datastore.resources.addresses import parse_net
from felixpy.datastore.resources.kubernetes import (
    StagedKubernetesNetworkPolicySpec,
)
from felixpy.datastore.resources.names import is_port_name
from felixpy.datastore.resources.numbers import (
    NumberOrText,
    parse_port,
    parse_protocol,
    supports_ports,
)
from felixpy.datastore.resources.policy import (
    EntityRule,
    GlobalNetworkPolicySpec,
    HttpMatch,
    HttpPath,
    IcmpFields,
    NetworkPolicySpec,
    Rule,
    RuleMetadata,
    Tier,
)
from felixpy.datastore.validation.fault import refuse
from felixpy.datastore.validation.metadata_rules import check_annotations

_GLOBAL = "global("
_EVERYTHING = frozenset({"0.0.0.0/0", "::/0"})
_ICMP: dict[NumberOrText, int] = {"ICMP": 4, 1: 4, "1": 4, "ICMPv6": 6, 58: 6, "58": 6}
_TCP: frozenset[NumberOrText] = frozenset({"TCP", 6, "6"})
_FIXED_TIERS = {
    "default": (1e6, "Deny"),
    "kube-admin": (1e3, "Pass"),
    "kube-baseline": (1e7, "Pass"),
}


def check_ports(rule: Rule) -> None:
    """Ports need a protocol that has some; names of ports alone may do without any protocol."""
    protocol = None if rule.protocol is None else parse_protocol(rule.protocol)
    for side, entity in (("source", rule.source), ("destination", rule.destination)):
        for name, ports in (("ports", entity.ports), ("notPorts", entity.not_ports)):
            for index, port in enumerate(ports):
                parsed = parse_port(port)
                if parsed is None:
                    refuse(
                        f"must be a port, a range such as '80:90', or a port's name, not {port!r}",
                        side,
                        name,
                        index,
                    )
                if isinstance(parsed, str) and not is_port_name(parsed):
                    refuse(f"{parsed!r} is no port's name", side, name, index)
                if protocol is None and isinstance(parsed, PortRange):
                    refuse("numbers of ports need protocol TCP, UDP or SCTP", side, name)
            if ports and rule.protocol is not None and not supports_ports(protocol):
                refuse(f"protocol {rule.protocol} has no ports; TCP, UDP and SCTP have", side, name)


def check_nets(rule: Rule) -> None:
    """All nets of a rule are of one family, and have a length."""
    family = rule.ip_version
    given = family is not None
    for side, entity in (("source", rule.source), ("destination", rule.destination)):
        for name, nets in (("nets", entity.nets), ("notNets", entity.not_nets)):
            for index, text in enumerate(nets):
                net = parse_net(text)
                if net is None or net.exact:
                    refuse(f"must be a CIDR with a length, not {text!r}", side, name, index)
                if family not in (None, net.version):
                    other = f"ipVersion {family}" if given else f"the rule's IPv{family} nets"
                    refuse(f"{text!r} does not go with {other}", side, name, index)
                family = net.version
                if name == "notNets" and net.network in _EVERYTHING:
                    refuse(f"{text!r} leaves nothing that could match", side, name, index)


def check_icmp(rule: Rule) -> None:
    if rule.icmp is not None and rule.protocol not in _ICMP:
        refuse("needs protocol ICMP or ICMPv6", "icmp")
    for name, protocol in (("protocol", rule.protocol), ("notProtocol", rule.not_protocol)):
        version = None if protocol is None else _ICMP.get(protocol)
        if version is not None and rule.ip_version not in (None, version):
            refuse(f"{protocol} goes with ipVersion {version} only", name)


def check_icmp_fields(icmp: IcmpFields) -> None:
    if icmp.code is not None and icmp.type is None:
        refuse("a code needs a type", "code")


def check_http_rule(rule: Rule) -> None:
    if rule.http is None:
        return
    if rule.protocol is not None and rule.protocol not in _TCP:
        refuse("goes with protocol TCP only", "http")
    if rule.action != "Allow":
        refuse("goes with action Allow only", "http")


def check_http(http: HttpMatch) -> None:
    if len(set(http.methods)) != len(http.methods):
        refuse("has a method twice", "methods")
    for index, path in enumerate(http.paths):
        if not _is_http_path(path):
            refuse(
                "must be either exact or prefix, starting with '/', without '?', '#' or spaces",
                "paths",
                index,
            )


def _is_http_path(path: HttpPath) -> bool:
    text = path.exact or path.prefix
    return (
        not (path.exact and path.prefix)
        and text.startswith("/")
        and not any(character in text for character in "? #")
    )


def check_services_without_ports(rule: Rule) -> None:
    destination = rule.destination
    if destination.services is not None and (destination.ports or destination.not_ports):
        refuse("go not together with services", "destination", "ports")


def check_entity(entity: EntityRule) -> None:
    if _GLOBAL in entity.selector:
        refuse("global() belongs in a rule's namespaceSelector", "selector")
    services = entity.services
    if services is None:
        return
    if not services.name:
        refuse("must name a service", "services")
    others = {
        "namespaceSelector": entity.namespace_selector,
        "serviceAccounts": entity.service_accounts is not None,
        "selector": entity.selector,
        "notSelector": entity.not_selector,
        "nets": entity.nets,
        "notNets": entity.not_nets,
    }
    for name, used in others.items():
        if used:
            refuse("goes not together with services", name)


def check_namespace_selector(entity: EntityRule) -> None:
    text = entity.namespace_selector
    if _GLOBAL in text and "".join(text.split()) != "global()":
        refuse("global() stands alone", "namespaceSelector")


def check_rule_metadata(metadata: RuleMetadata) -> None:
    check_annotations(metadata.annotations)


def check_policy(spec: NetworkPolicySpec) -> None:
    _check_unique(spec.types, "types")
    _check_unique(spec.performance_hints, "performanceHints")
    for index, rule in enumerate(spec.egress):
        if rule.source.services is not None:
            refuse(
                "services belong in the destination of an egress rule",
                "egress",
                index,
                "source",
                "services",
            )
        if rule.http is not None:
            refuse("belongs in ingress rules only", "egress", index, "http")
    for index, rule in enumerate(spec.ingress):
        if rule.destination.services is not None:
            refuse(
                "services belong in the source of an ingress rule",
                "ingress",
                index,
                "destination",
                "services",
            )
    _check_not_global(spec.selector, "selector")
    _check_not_global(spec.service_account_selector, "serviceAccountSelector")


def check_global_policy(spec: GlobalNetworkPolicySpec) -> None:
    for name, rules, side in (
        ("ingress", spec.ingress, "source"),
        ("egress", spec.egress, "destination"),
    ):
        for index, rule in enumerate(rules):
            entity = rule.source if side == "source" else rule.destination
            if entity.services is not None and not entity.services.namespace:
                refuse(
                    "a global policy must say in which namespace",
                    name,
                    index,
                    side,
                    "services",
                    "namespace",
                )
    _check_not_global(spec.namespace_selector, "namespaceSelector")


def check_hooks(spec: GlobalNetworkPolicySpec) -> None:
    """Where a host policy stands: untracked, before DNAT, or in the ordinary place."""
    if spec.pre_dnat and spec.do_not_track:
        refuse("preDNAT and doNotTrack exclude each other", "preDNAT")
    if spec.pre_dnat and spec.egress:
        refuse("a preDNAT policy has no egress rules", "egress")
    if spec.pre_dnat and "Egress" in spec.types:
        refuse("a preDNAT policy has no type Egress", "types")
    if (spec.pre_dnat or spec.do_not_track) and not spec.apply_on_forward:
        refuse("must be true where preDNAT or doNotTrack is", "applyOnForward")


def check_staged(spec: NetworkPolicySpec) -> None:
    """A staged deletion says nothing but its tier."""
    if getattr(spec, "staged_action", "") != "Delete":
        return
    empty = type(spec)(tier=spec.tier, staged_action="Delete")  # type: ignore[call-arg]
    if spec != empty:
        refuse("must hold nothing but stagedAction and tier where the action is Delete")


def check_staged_kubernetes(spec: StagedKubernetesNetworkPolicySpec) -> None:
    delete = StagedKubernetesNetworkPolicySpec(staged_action="Delete")
    if spec.staged_action == "Delete" and spec != delete:
        refuse("must hold nothing but stagedAction where the action is Delete")


def check_tier(tier: Tier) -> None:
    fixed = _FIXED_TIERS.get(tier.metadata.name)
    if fixed is None:
        return
    order, action = fixed
    if tier.spec.order != order:
        refuse(f"of tier {tier.metadata.name!r} is always {int(order)}", "spec", "order")
    if tier.spec.default_action != action:
        refuse(f"of tier {tier.metadata.name!r} is always {action}", "spec", "defaultAction")


def _check_not_global(selector: str, name: str) -> None:
    if _GLOBAL in selector:
        refuse("global() belongs in a rule's namespaceSelector", name)


def _check_unique(values: Iterable[str], name: str) -> None:
    seen: set[str] = set()
    for index, value in enumerate(values):
        if value in seen:
            refuse(f"has {value!r} twice", name, index)
        seen.add(value)
