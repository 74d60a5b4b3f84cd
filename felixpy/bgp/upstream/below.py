"""Who may announce what, as sets that routers match with."""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import ip_network
from typing import TypeAlias

from felixpy.bgp.upstream.model import WIDTH, Cluster, Family, Member, Span

_Order: TypeAlias = tuple[int, int, int, int]


def exactly(nets: Iterable[str], family: Family) -> tuple[Span, ...]:
    """These nets themselves, and nothing beneath them."""
    parsed = [ip_network(net) for net in set(nets)]
    return _sorted(
        Span(str(net), net.prefixlen, net.prefixlen) for net in parsed if net.version == family
    )


def and_beneath(nets: Iterable[str], family: Family) -> tuple[Span, ...]:
    parsed = [ip_network(net) for net in set(nets)]
    return _sorted(
        Span(str(net), net.prefixlen, WIDTH[family]) for net in parsed if net.version == family
    )


def blocks(cluster: Cluster, family: Family) -> tuple[Span, ...]:
    """Whatever has the length of a block or is a single address, inside an exported pool; and the
    ranges of services that nodes announce.
    """
    spans = set(exactly(announced_services(cluster), family))
    for pool in cluster.pools:
        net = ip_network(pool.cidr)
        if pool.exported and net.version == family:
            lengths = {*pool.lengths, WIDTH[family]}
            spans |= {Span(pool.cidr, length, length) for length in lengths}
    return _sorted(spans)


def cluster_nets(cluster: Cluster) -> list[str]:
    """All that is the cluster's alone, whether or not the cluster tells anybody of it."""
    return [*(pool.cidr for pool in cluster.pools), *cluster.services]


def told_nets(cluster: Cluster) -> list[str]:
    """What of the cluster the rest of the network may hear of."""
    return [
        *(pool.cidr for pool in cluster.pools if pool.exported),
        *announced_services(cluster),
    ]


def nets_of(member: Member, cluster: Cluster) -> list[str]:
    """What may come from that node; from a reflector, what may come from any."""
    if member.reflector:
        return nets_of_all(cluster.members)
    return [*member.nets, *member.services]


def nets_of_all(members: Iterable[Member]) -> list[str]:
    return list({net: None for member in members for net in (*member.nets, *member.services)})


def announced_services(cluster: Cluster) -> set[str]:
    return {net for member in cluster.members for net in member.services}


def _sorted(spans: Iterable[Span]) -> tuple[Span, ...]:
    """By address, then length, as lists of prefixes are read."""

    def order(span: Span) -> _Order:
        net = ip_network(span.net)
        return int(net.network_address), net.prefixlen, span.low, span.high

    return tuple(sorted(set(spans), key=order))
