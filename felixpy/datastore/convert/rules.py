"""Rules of policies and profiles.

Namespaces and service accounts are folded into plain selectors here, as labels that every
endpoint carries.  A rule with `http` keeps its other matches: only an application-layer proxy
looks at that one.
Source: projectcalico/calico libcalico-go/lib/backend/syncersv1/updateprocessors/rules.go.
"""

from __future__ import annotations

from calc_graph.model import ANY_PEER, Action, Icmp, Peer, PortRange, Protocol, Rule
from calc_graph.selector import parse
from felixpy.datastore.convert.subject import at
from felixpy.datastore.convert.values import prefixed, to_nets, to_protocol, to_selector
from felixpy.datastore.errors import InvalidResourceError
from felixpy.datastore.resources import policy as v3
from felixpy.datastore.resources.names import is_port_name
from felixpy.datastore.resources.numbers import NumberOrText, parse_port, supports_ports

NAMESPACE = "projectcalico.org/namespace"
SERVICE_ACCOUNT = "projectcalico.org/serviceaccount"
NAMESPACE_PREFIX = "pcns."
SERVICE_ACCOUNT_PREFIX = "pcsa."

_ACTIONS: dict[str, Action] = {
    "allow": "allow",
    "deny": "deny",
    "log": "log",
    "pass": "pass",
    "next-tier": "pass",
}
_NO_ENTITY = v3.EntityRule()


def convert_rules(rules: list[v3.Rule], namespace: str, direction: str) -> tuple[Rule, ...]:
    """`namespace` is the policy's, "" for a global one or a profile; `direction` names the list."""
    converted = []
    for index, rule in enumerate(rules):
        try:
            converted.append(_convert_rule(rule, namespace))
        except InvalidResourceError as error:
            error.inside("spec", direction, index)
            raise
    return tuple(converted)


def _convert_rule(rule: v3.Rule, namespace: str) -> Rule:
    action = _ACTIONS.get(rule.action.lower())
    if action is None:
        raise InvalidResourceError(f"unknown action {rule.action!r}", ("action",))
    if rule.ip_version not in (None, 4, 6):
        raise InvalidResourceError("must be 4 or 6", ("ipVersion",))
    protocol = None if rule.protocol is None else to_protocol(rule.protocol, "protocol")
    without = None if rule.not_protocol is None else to_protocol(rule.not_protocol, "notProtocol")
    annotations = rule.metadata.annotations if rule.metadata else {}
    return Rule(
        action=action,
        ip_version=rule.ip_version,  # type: ignore[arg-type]  # 4, 6 or None: looked at above
        protocol=protocol,
        not_protocol=without,
        icmp=_convert_icmp(rule.icmp, "icmp"),
        not_icmp=_convert_icmp(rule.not_icmp, "notICMP"),
        source=_convert_entity(rule.source, namespace, protocol, "source"),
        destination=_convert_entity(rule.destination, namespace, protocol, "destination"),
        annotations=tuple(sorted(annotations.items())),
    )


def _convert_icmp(icmp: v3.IcmpFields | None, name: str) -> Icmp | None:
    if icmp is None or (icmp.type is None and icmp.code is None):
        return None
    if icmp.type is None:
        raise InvalidResourceError("a code needs a type", (name, "code"))
    if not 0 <= icmp.type <= 254:
        raise InvalidResourceError("must be from 0 to 254", (name, "type"))
    if icmp.code is not None and not 0 <= icmp.code <= 255:
        raise InvalidResourceError("must be from 0 to 255", (name, "code"))
    return Icmp(icmp.type, icmp.code)


def _convert_entity(
    entity: v3.EntityRule, namespace: str, protocol: Protocol | None, side: str
) -> Peer:
    if entity == _NO_ENTITY:
        return ANY_PEER
    with at(side):
        ports, named_ports = _convert_ports(entity.ports, protocol, "ports")
        not_ports, not_named_ports = _convert_ports(entity.not_ports, protocol, "notPorts")
        return Peer(
            nets=to_nets(entity.nets, "nets"),
            not_nets=to_nets(entity.not_nets, "notNets"),
            selector=_entity_selector(entity, namespace),
            not_selector=to_selector(entity.not_selector, "notSelector"),
            ports=ports,
            not_ports=not_ports,
            named_ports=named_ports,
            not_named_ports=not_named_ports,
            service=_convert_service(entity.services, namespace),
        )


def _convert_ports(
    ports: list[NumberOrText], protocol: Protocol | None, name: str
) -> tuple[tuple[PortRange, ...], tuple[str, ...]]:
    numeric: list[PortRange] = []
    named: list[str] = []
    for index, port in enumerate(ports):
        parsed = parse_port(port)
        if isinstance(parsed, PortRange):
            numeric.append(parsed)
        elif parsed is not None and is_port_name(parsed):
            named.append(parsed)
        else:
            raise InvalidResourceError(
                f"{port!r} is neither a port nor a port's name", (name, index)
            )
    if numeric and protocol is None:
        raise InvalidResourceError("numbers of ports need protocol TCP, UDP or SCTP", (name,))
    if ports and protocol is not None and not supports_ports(protocol):
        raise InvalidResourceError(f"protocol {protocol} has no ports", (name,))
    return tuple(numeric), tuple(named)


def _convert_service(service: v3.ServiceMatch | None, namespace: str) -> str:
    if service is None:
        return ""
    where = service.namespace or namespace
    if not service.name or not where:
        raise InvalidResourceError("must have a name and a namespace", ("services",))
    return f"{where}/{service.name}"


def _entity_selector(entity: v3.EntityRule, namespace: str) -> str:
    """The one selector that says all that namespaces, service accounts and labels ask for."""
    accounts = _service_account_selector(entity.service_accounts)
    own = to_selector(entity.selector, "selector")
    selector = f"({accounts}) && ({own})" if accounts and own else accounts or own
    scope = ""
    if entity.namespace_selector:
        text = prefixed(entity.namespace_selector, NAMESPACE_PREFIX, "namespaceSelector")
        scope = text.replace("all()", f"has({NAMESPACE})").replace("global()", f"!has({NAMESPACE})")
    elif namespace and (selector or entity.not_selector):
        scope = f"{NAMESPACE} == '{namespace}'"
    combined = f"({scope}) && ({selector})" if scope and selector else scope or selector
    # Each part may be well formed, and the whole still too deep.
    to_selector(combined, "selector")
    if entity.not_selector:
        to_selector(
            f"({combined}) && (!({entity.not_selector}))" if combined else entity.not_selector,
            "notSelector",
        )
    return combined


def _service_account_selector(accounts: v3.ServiceAccountMatch | None) -> str:
    if accounts is None:
        return ""
    path = ("serviceAccounts",)
    selector = ""
    if accounts.selector:
        selector = prefixed(accounts.selector, SERVICE_ACCOUNT_PREFIX, *path, "selector")
    names = ""
    if accounts.names:
        listed = ", ".join(_quoted(name, index) for index, name in enumerate(accounts.names))
        names = to_selector(f"{SERVICE_ACCOUNT} in {{{listed}}}", *path, "names")
        names = parse(names).canonical
    return f"({selector}) && ({names})" if selector and names else selector or names


def _quoted(name: str, index: int) -> str:
    for quote in "'\"":
        if quote not in name:
            return f"{quote}{name}{quote}"
    raise InvalidResourceError("holds quotes of both kinds", ("serviceAccounts", "names", index))
