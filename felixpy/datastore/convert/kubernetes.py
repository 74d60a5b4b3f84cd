"""Kubernetes network policies, as StagedKubernetesNetworkPolicy holds them: first to Calico's own.

Each peer becomes a rule of its own, once for each protocol.
Source: projectcalico/calico libcalico-go/lib/backend/k8s/conversion/conversion.go.
"""

from __future__ import annotations

from calc_graph.model import PolicyKey, PortRange
from felixpy.datastore.convert.encryption import is_encrypted
from felixpy.datastore.convert.policy import policy_value
from felixpy.datastore.convert.subject import Changes, Subject, at
from felixpy.datastore.convert.values import to_net, to_nets
from felixpy.datastore.errors import InvalidResourceError
from felixpy.datastore.resources.kubernetes import (
    LabelSelector,
    PolicyPeer,
    PolicyPort,
    SelectorRequirement,
    StagedKubernetesNetworkPolicySpec,
)
from felixpy.datastore.resources.numbers import NumberOrText, parse_port
from felixpy.datastore.resources.policy import EntityRule, NetworkPolicySpec, Rule

ORDER = 1000.0
_PODS = "projectcalico.org/orchestrator == 'k8s'"
_ANYONE = EntityRule()


def convert_staged_kubernetes_policy(subject: Subject) -> Changes:
    spec: StagedKubernetesNetworkPolicySpec = subject.spec
    if spec.staged_action == "Delete":
        return ()
    key = PolicyKey(subject.kind, subject.namespace, subject.name)
    encrypted = is_encrypted(subject)
    return ((key, policy_value(_to_calico(spec), subject.namespace, encrypted=encrypted)),)


def _to_calico(spec: StagedKubernetesNetworkPolicySpec) -> NetworkPolicySpec:
    ingress: list[Rule] = []
    egress: list[Rule] = []
    for index, incoming in enumerate(spec.ingress):
        with at("spec", "ingress", index):
            for protocol, ports in _by_protocol(incoming.ports):
                ingress += [
                    _allow(protocol, source=entity, destination=EntityRule(ports=ports))
                    for entity in _entities(incoming.from_, "from", [])
                ]
    for index, outgoing in enumerate(spec.egress):
        with at("spec", "egress", index):
            for protocol, ports in _by_protocol(outgoing.ports):
                egress += [
                    _allow(protocol, source=_ANYONE, destination=entity)
                    for entity in _entities(outgoing.to, "to", ports)
                ]
    return NetworkPolicySpec(
        order=ORDER,
        selector=_pod_selector(spec.pod_selector),
        ingress=ingress,
        egress=egress,
        types=spec.policy_types or ["Ingress"],
    )


def _allow(protocol: str, source: EntityRule, destination: EntityRule) -> Rule:
    return Rule(action="Allow", protocol=protocol or None, source=source, destination=destination)


def _by_protocol(ports: list[PolicyPort]) -> list[tuple[str, list[NumberOrText]]]:
    """Protocols in order of their names, each with its ports; no ports: all of them.

    Without any entry every protocol is meant: "".
    """
    found: dict[str, list[NumberOrText]] = {}
    whole: set[str] = set()
    for index, port in enumerate(ports):
        protocol = port.protocol or "TCP"
        with at("ports", index):
            listed = found.setdefault(protocol, [])
            if port.port is None:
                whole.add(protocol)
            else:
                listed.append(_port(port, port.port))
    if not found:
        return [("", [])]
    return [(name, [] if name in whole else found[name]) for name in sorted(found)]


def _port(port: PolicyPort, first: NumberOrText) -> NumberOrText:
    if port.end_port is None:
        return first
    parsed = parse_port(first)
    if not isinstance(parsed, PortRange) or port.end_port < parsed.first:
        raise InvalidResourceError("needs a number as port, not greater than it", ("endPort",))
    return f"{parsed.first}:{port.end_port}"


def _entities(peers: list[PolicyPeer], name: str, ports: list[NumberOrText]) -> list[EntityRule]:
    """No peers: everyone."""
    if not peers:
        return [EntityRule(ports=ports)]
    entities = []
    for index, peer in enumerate(peers):
        with at(name, index):
            entities.append(_entity(peer, ports))
    return entities


def _entity(peer: PolicyPeer, ports: list[NumberOrText]) -> EntityRule:
    block = peer.ip_block
    if block is not None:
        return EntityRule(
            nets=[to_net(block.cidr, "ipBlock", "cidr")],
            not_nets=list(to_nets(block.except_, "ipBlock", "except")),
            ports=ports,
        )
    namespaces = peer.namespace_selector
    return EntityRule(
        selector=_pod_selector(peer.pod_selector),
        namespace_selector="" if namespaces is None else _terms(namespaces) or "all()",
        ports=ports,
    )


def _pod_selector(selector: LabelSelector | None) -> str:
    terms = "" if selector is None else _terms(selector)
    return f"{_PODS} && {terms}" if terms else _PODS


def _terms(selector: LabelSelector) -> str:
    terms = [f"{key} == '{value}'" for key, value in sorted(selector.match_labels.items())]
    terms += [_requirement(one) for one in selector.match_expressions]
    return " && ".join(terms)


def _requirement(one: SelectorRequirement) -> str:
    values = ", ".join(f"'{value}'" for value in one.values)
    match one.operator:
        case "In":
            return f"{one.key} in {{ {values} }}"
        case "NotIn":
            return f"{one.key} not in {{ {values} }}"
        case "Exists":
            return f"has({one.key})"
        case "DoesNotExist":
            return f"!has({one.key})"
    raise InvalidResourceError(f"unknown operator {one.operator!r}")
