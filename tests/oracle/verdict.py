"""Whether a packet gets through a node: egress of its source, then ingress of its destination.

For each of the two the tiers are asked in their order, in each tier the policies that apply, in
each policy the rules: the first Allow or Deny decides, Pass goes on with the next tier, and at the
end of a tier that had a policy stands its default action.  Where every tier has passed, the
endpoint's profiles are asked; whom nobody allows is dropped.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from tests.oracle.cluster import Cluster, Policy, Rule, Workload
from tests.oracle.matching import matches
from tests.oracle.packet import HOST, OUTSIDE, UDP, Address, Packet

IPIP = 4
# what the IPv6 of a workload needs of its router: multicast listeners, router and neighbour
# solicitation, neighbour advertisement
NEIGHBOUR_TYPES = (130, 131, 132, 133, 135, 136)


class Verdict(NamedTuple):
    allowed: bool
    who: str


class Settings(NamedTuple):
    """`endpoint_to_host` is DefaultEndpointToHostAction: DROP, ACCEPT or RETURN."""

    host_addresses: frozenset[Address] = frozenset()
    endpoint_to_host: str = "DROP"
    vxlan_port: int = 4789


def judge(cluster: Cluster, packet: Packet, settings: Settings) -> Verdict:
    source = _workload_at(cluster, packet.enters)
    target = _workload_of(cluster, packet.destination)
    if packet.enters == HOST:
        return Verdict(True, "what the host itself sends is not policed")
    if packet.enters == OUTSIDE:
        left = Verdict(True, "from outside")
    elif source is None:
        return Verdict(False, f"unknown interface {packet.enters}")
    elif not source.holder.has(packet.source):
        return Verdict(False, f"forged source at {packet.enters}")
    elif packet.destination in settings.host_addresses and _needed_by_neighbours(packet):
        return Verdict(True, "the host's IPv6 neighbour")
    else:
        left = _leaves(cluster, source, packet, settings)
    if not left.allowed:
        return left
    if packet.destination in settings.host_addresses:
        if source is None:
            return Verdict(True, f"{left.who}; to the host")
        action = settings.endpoint_to_host
        return Verdict(action != "DROP", f"{left.who}; DefaultEndpointToHostAction: {action}")
    if target is None:
        return Verdict(True, f"{left.who}; to outside")
    entered = ask(cluster, target, packet, "ingress")
    return Verdict(entered.allowed, f"{left.who}; {entered.who}")


def _workload_at(cluster: Cluster, interface: str) -> Workload | None:
    return next((w for w in cluster.workloads if w.interface == interface), None)


def _workload_of(cluster: Cluster, address: Address) -> Workload | None:
    return next((w for w in cluster.workloads if w.holder.has(address)), None)


def _needed_by_neighbours(packet: Packet) -> bool:
    return packet.family == 6 and packet.is_icmp and packet.icmp_type in NEIGHBOUR_TYPES


def _leaves(cluster: Cluster, source: Workload, packet: Packet, settings: Settings) -> Verdict:
    """No workload may send what would be unpacked behind the policy's back."""
    if packet.protocol == UDP and packet.destination_port == settings.vxlan_port:
        return Verdict(False, "VXLAN from a workload")
    if packet.protocol == IPIP:
        return Verdict(False, "IPIP from a workload")
    return ask(cluster, source, packet, "egress")


# ---------------------------------------------------------------- one endpoint, one direction


def ask(cluster: Cluster, workload: Workload, packet: Packet, direction: str) -> Verdict:
    """`direction` is "ingress" or "egress"."""
    at = f"{direction} of {workload.interface}"
    for tier in sorted({cluster.tier(p.tier) for p in cluster.policies}, key=lambda t: t.rank):
        policies = _applying(cluster, workload, tier.name, direction)
        action, where = _first(cluster, policies, packet, direction)
        if action is None and policies and tier.default_action != "Pass":
            action, where = "Deny", "its end"
        if action in ("Allow", "Deny"):
            return Verdict(action == "Allow", f"{at}: tier {tier.name}, {where}: {action}")
    for profile in workload.profiles:
        rules = cluster.profile_rules(profile, direction)
        action, number = _decide(cluster, rules, packet, namespace="")
        # Pass has no tier to go on with here: this profile has nothing to say
        if action in ("Allow", "Deny"):
            where = f"profile {profile}, rule {number}"
            return Verdict(action == "Allow", f"{at}: {where}: {action}")
    return Verdict(False, f"{at}: no profile allows it")


def _applying(cluster: Cluster, workload: Workload, tier: str, direction: str) -> list[Policy]:
    """The policies of a tier that are in force for an endpoint and a direction, in their order."""
    return sorted(
        (
            policy
            for policy in cluster.policies
            if not policy.staged
            and policy.tier == tier
            and direction in (kind.lower() for kind in policy.types)
            and policy.selects(workload.holder.labels)
        ),
        key=lambda policy: policy.rank,
    )


def _first(
    cluster: Cluster, policies: Sequence[Policy], packet: Packet, direction: str
) -> tuple[str | None, str]:
    for policy in policies:
        action, number = _decide(cluster, policy.rules[direction], packet, policy.namespace)
        if action is not None:
            return action, f"{policy}, rule {number}"
    return None, ""


def _decide(
    cluster: Cluster, rules: Sequence[Rule], packet: Packet, namespace: str
) -> tuple[str | None, int]:
    """The action of the first rule that matches and does more than log, and its number from 0."""
    for number, rule in enumerate(rules):
        if rule["action"] != "Log" and matches(rule, packet, cluster, namespace):
            return rule["action"], number
    return None, -1
