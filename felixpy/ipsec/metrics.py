"""IPsec's metrics.  Felix has none of them, as it has no IPsec."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric

from felixpy.ipsec.figures import IpsecFigures

_WAYS = {True: "received", False: "sent"}


def ipsec_metrics(figures: IpsecFigures) -> Iterator[Metric]:
    yield CounterMetricFamily(
        "felix_ipsec_key_file_errors",
        "How often what the key file, or the Secret, held was rejected",
        value=figures.key_file_errors,
    )
    ages = GaugeMetricFamily(
        "felix_ipsec_key_age_seconds",
        "Time since a key of the key file was first seen here",
        labels=["id"],
    )
    for key, age in sorted(figures.ages.items()):
        ages.add_metric([str(key)], age)
    yield ages
    yield CounterMetricFamily(
        "felixpy_ipsec_rotations",
        "How often another key took the place of the newest one",
        value=figures.rotations,
    )
    peers = GaugeMetricFamily(
        "felixpy_ipsec_peers", "Other nodes, by how far IPsec has come", labels=["stage"]
    )
    for stage, count in sorted(Counter(peer.stage for peer in figures.status.peers).items()):
        peers.add_metric([stage], count)
    yield peers
    yield from _traffic(figures)
    errors = CounterMetricFamily(
        "felixpy_ipsec_xfrm_errors",
        "Packets that the kernel has dropped for IPsec's sake, anybody's, by its own counter",
        labels=["name"],
    )
    for name, packets in figures.errors.items():
        errors.add_metric([name], packets)
    yield errors


def _traffic(figures: IpsecFigures) -> Iterator[Metric]:
    """Of the states that there are: a rotation begins with new ones, so these are gauges."""
    labels = ["node", "ip_version", "way"]
    sizes = GaugeMetricFamily(
        "felixpy_ipsec_bytes", "By the states that are there now, of each peer", labels=labels
    )
    packets = GaugeMetricFamily(
        "felixpy_ipsec_packets", "By the states that are there now, of each peer", labels=labels
    )
    byte_sums: Counter[tuple[str, str, str]] = Counter()
    packet_sums: Counter[tuple[str, str, str]] = Counter()
    for state in figures.status.states:
        key = (state.peer, str(state.family), _WAYS[state.receives])
        byte_sums[key] += state.bytes
        packet_sums[key] += state.packets
    for key in sorted(byte_sums):
        sizes.add_metric(key, byte_sums[key])
        packets.add_metric(key, packet_sums[key])
    yield from (sizes, packets)
