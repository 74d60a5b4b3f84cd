"""Packets that fixed rules speak of: facts in, yes or no out.

Source: projectcalico/calico felix/rules/static.go and endpoints.go; sections 1.2, 1.5 and 1.7 of
the rules reference; for the reverse path net/ipv4/netfilter/ipt_rpfilter.c and
net/ipv6/netfilter/ip6t_rpfilter.c.
"""

from __future__ import annotations

from calc_graph.judge.flow import ICMPV6, IPIP, TCP, UDP
from calc_graph.judge.members import number_of
from calc_graph.judge.rules import Facts
from calc_graph.judge.settings import JudgeSettings

_DNS = 53
_DHCP_PORTS = {4: (68, 67), 6: (546, 547)}  # client, server
# multicast listener query, report and done; router solicitation; neighbour solicitation and
# advertisement
_NEIGHBOUR_TYPES = frozenset((130, 131, 132, 133, 135, 136))
_LINK_LOCAL_V6 = 0xFE80 >> 6  # of ten bits
_LOCAL_MULTICAST = 0xE00000  # 224.0.0.0/24


def is_dhcp_request(facts: Facts) -> bool:
    """IPv4, from no address yet."""
    ports = (facts.source_port, facts.destination_port)
    return (
        facts.family == 4
        and facts.protocol == UDP
        and facts.source == 0
        and ports == _DHCP_PORTS[4]
    )


def has_no_reverse_path(facts: Facts) -> bool:
    """Whether the kernel lets the source through without looking at routes."""
    if facts.family == 6:
        return facts.source == 0 or facts.source >> 118 == _LINK_LOCAL_V6
    return facts.source >> 24 == 0 and facts.destination >> 8 == _LOCAL_MULTICAST


def is_bootstrap(facts: Facts, settings: JudgeSettings) -> bool:
    """What every workload may ask of its host: neighbours in IPv6; with OpenStack, which serves
    them from the host, metadata, DHCP and DNS.
    """
    if facts.family == 6 and facts.protocol == ICMPV6 and facts.icmp_type in _NEIGHBOUR_TYPES:
        return True
    if not settings.openstack:
        return False
    if facts.protocol == UDP:
        ports = (facts.source_port, facts.destination_port)
        return ports == _DHCP_PORTS[facts.family] or facts.destination_port == _DNS
    return (
        facts.family == 4
        and facts.protocol == TCP
        and facts.destination_port == settings.metadata_port
        and settings.metadata_addr != ""
        and facts.destination == number_of(settings.metadata_addr)
    )


def is_tunnel(facts: Facts, settings: JudgeSettings) -> bool:
    """What the host might unpack, past the policy of whoever it pretends to come from."""
    if facts.protocol == UDP and facts.destination_port == settings.vxlan_port:
        return not settings.allow_vxlan_from_workloads
    return facts.protocol == IPIP and not settings.allow_ipip_from_workloads
