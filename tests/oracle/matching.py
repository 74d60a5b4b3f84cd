"""Does a rule match a packet?

All fields that a rule has must match; of the entries of a list one must, of a negated list none
may.  A selector means the addresses of the endpoints and network sets whose labels it matches.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from tests.oracle.cluster import (
    OF_SERVICE_ACCOUNT,
    SERVICE_ACCOUNT,
    Cluster,
    Rule,
    in_namespace,
    of_namespaces,
)
from tests.oracle.packet import SCTP, TCP, UDP, Address, Packet
from tests.oracle.selectors import Selector, both, everything, no, selector

NUMBERS = {"tcp": TCP, "udp": UDP, "icmp": 1, "icmpv6": 58, "sctp": SCTP, "udplite": 136}
PORT_PROTOCOLS = {TCP: "tcp", UDP: "udp", SCTP: "sctp"}
Entity = Mapping[str, Any]


def matches(rule: Rule, packet: Packet, cluster: Cluster, namespace: str) -> bool:
    """`namespace` is that of the rule's policy; "" for global policies and for profiles."""
    source = _Side(packet.source, packet.source_port, rule.get("source") or {}, namespace)
    destination = _Side(
        packet.destination, packet.destination_port, rule.get("destination") or {}, namespace
    )
    return (
        _family_matches(rule, packet)
        and _protocol_matches(rule, packet)
        and _icmp_matches(rule, packet)
        and all(
            _nets_match(side, packet)
            and _selectors_match(side, cluster)
            and _ports_match(side, packet, cluster)
            and "services" not in side.entity  # the endpoints of services are known to Kubernetes
            for side in (source, destination)
        )
    )


class _Side(NamedTuple):
    """The source or the destination, of the packet and of the rule."""

    address: Address
    port: int
    entity: Entity
    namespace: str

    def selector(self) -> Selector | None:
        """Whom the entity's selectors mean, `notSelector` alone excepted; None: anybody at all."""
        entity = self.entity
        parts = []
        if "serviceAccounts" in entity:
            parts.append(_of_accounts(entity["serviceAccounts"]))
        if entity.get("selector"):
            parts.append(selector(entity["selector"]))
        of_namespace = entity.get("namespaceSelector")
        if of_namespace:
            parts.append(of_namespaces(of_namespace))
        elif self.namespace and (parts or entity.get("notSelector")):
            # who names others by labels in a namespaced policy speaks of that namespace
            parts.append(in_namespace(self.namespace))
        if not parts:
            return None
        if entity.get("notSelector"):
            parts.append(no(selector(entity["notSelector"])))
        result: Selector = everything
        for part in parts:
            result = both(result, part)
        return result


def _of_accounts(accounts: Mapping[str, Any]) -> Selector:
    result = selector(accounts.get("selector") or "", prefix=OF_SERVICE_ACCOUNT)
    names = accounts.get("names") or []
    if names:
        result = both(result, lambda labels: labels.get(SERVICE_ACCOUNT) in names)
    return result


# ---------------------------------------------------------------- of the packet as a whole


def number_of(protocol: str | int) -> int:
    text = str(protocol).lower()
    return NUMBERS[text] if text in NUMBERS else int(text)


def _family_matches(rule: Rule, packet: Packet) -> bool:
    """Only the names of the two ICMPs imply a family, their numbers do not."""
    implied = {"ICMP": 4, "ICMPv6": 6}.get(rule.get("protocol"))  # type: ignore[arg-type]
    return (rule.get("ipVersion") or implied or packet.family) == packet.family


def _protocol_matches(rule: Rule, packet: Packet) -> bool:
    wanted, unwanted = rule.get("protocol"), rule.get("notProtocol")
    if wanted is not None and number_of(wanted) != packet.protocol:
        return False
    return unwanted is None or number_of(unwanted) != packet.protocol


def _icmp_matches(rule: Rule, packet: Packet) -> bool:
    if "icmp" in rule and not _is_icmp(rule["icmp"], packet):
        return False
    return "notICMP" not in rule or not _is_icmp(rule["notICMP"], packet)


def _is_icmp(wanted: Mapping[str, int], packet: Packet) -> bool:
    return (
        packet.is_icmp
        and wanted.get("type") in (None, packet.icmp_type)
        and wanted.get("code") in (None, packet.icmp_code)
    )


# ---------------------------------------------------------------- of its source, of its destination


def _nets_match(side: _Side, packet: Packet) -> bool:
    """A rule that speaks of addresses of one family, in whatever way, is about that family."""
    wanted = [ipaddress.ip_network(net) for net in side.entity.get("nets") or []]
    unwanted = [ipaddress.ip_network(net) for net in side.entity.get("notNets") or []]
    if any(net.version != packet.family for net in (*wanted, *unwanted)):
        return False
    if wanted and not any(side.address in net for net in wanted):
        return False
    return not any(side.address in net for net in unwanted)


def _selectors_match(side: _Side, cluster: Cluster) -> bool:
    holders = cluster.holders_of(side.address)
    wanted = side.selector()
    if wanted is not None:
        return any(wanted(holder.labels) for holder in holders)
    unwanted = side.entity.get("notSelector")
    if unwanted:  # true of an address that nobody has
        return not any(selector(unwanted)(holder.labels) for holder in holders)
    return True


def _ports_match(side: _Side, packet: Packet, cluster: Cluster) -> bool:
    wanted, unwanted = side.entity.get("ports") or [], side.entity.get("notPorts") or []
    if wanted and not _is_one_of(wanted, side, packet, cluster):
        return False
    return not (unwanted and _is_one_of(unwanted, side, packet, cluster))


def _is_one_of(ports: Sequence[int | str], side: _Side, packet: Packet, cluster: Cluster) -> bool:
    return packet.has_ports and any(
        _is_named(port, side, packet, cluster)
        if isinstance(port, str) and not port.replace(":", "").isdigit()
        else _is_in_range(port, side.port)
        for port in ports
    )


def _is_in_range(port: int | str, number: int) -> bool:
    first, _, last = str(port).partition(":")
    return int(first) <= number <= int(last or first)


def _is_named(name: str, side: _Side, packet: Packet, cluster: Cluster) -> bool:
    """Whether an endpoint that has the address, and is meant, calls the port so."""
    wanted = side.selector() or everything
    protocol = PORT_PROTOCOLS[packet.protocol]
    return any(
        (name, protocol, side.port) in holder.ports and wanted(holder.labels)
        for holder in cluster.holders_of(side.address)
    )
