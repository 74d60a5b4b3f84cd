"""WireGuard's metrics: Felix's by their names, and our own.

Felix's are of peers by key and endpoint, and untyped here: its counters have names without
`_total`.  Ours are of peers by node.  Source of the names: projectcalico/calico
felix/wireguard/metrics_linux.go; section 3.12 of the routes reference.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator

from prometheus_client.metrics_core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    Metric,
    UnknownMetricFamily,
)

from dataplane.wireguard.status import FamilyStatus

_PEER = ("hostname", "public_key", "peer_key", "peer_endpoint")


def wireguard_metrics(hostname: str, statuses: Iterable[FamilyStatus]) -> Iterator[Metric]:
    statuses = list(statuses)
    yield from _as_felix(hostname, [status for status in statuses if status.key])
    peers = GaugeMetricFamily(
        "felixpy_wireguard_peers",
        "Other nodes, by how far they have come",
        labels=["family", "stage"],
    )
    clear = CounterMetricFamily(
        "felixpy_wireguard_clear_packets",
        "Sent in clear to workloads of another node",
        labels=["node", "family"],
    )
    unavailable = GaugeMetricFamily(
        "felixpy_wireguard_unavailable",
        "1 where WireGuard is asked for and cannot be had, or is held back",
        labels=["family"],
    )
    for status in statuses:
        family = str(status.family)
        unavailable.add_metric([family], status.phase == "unavailable")
        for stage, count in Counter(peer.stage for peer in status.peers).items():
            peers.add_metric([family, stage], count)
        for peer in status.peers:
            if peer.node:
                clear.add_metric([peer.node, family], peer.clear_packets)
    yield from (peers, clear, unavailable)


def _as_felix(hostname: str, statuses: Iterable[FamilyStatus]) -> Iterator[Metric]:
    meta = GaugeMetricFamily(
        "wireguard_meta",
        "Always 1",
        labels=["hostname", "public_key", "iface", "listen_port"],
    )
    handshake = GaugeMetricFamily(
        "wireguard_latest_handshake_seconds", "UNIX time of the last handshake", labels=_PEER
    )
    sent = UnknownMetricFamily("wireguard_bytes_sent", "Bytes sent to the peer", labels=_PEER)
    received = UnknownMetricFamily(
        "wireguard_bytes_rcvd", "Bytes received from the peer", labels=_PEER
    )
    for status in statuses:
        meta.add_metric([hostname, status.key, status.device, str(status.port)], 1)
        for peer in status.peers:
            if peer.endpoint:  # on the device
                labels = [hostname, status.key, peer.key, render_endpoint(peer.endpoint)]
                handshake.add_metric(labels, int(peer.handshake))
                sent.add_metric(labels, peer.sent)
                received.add_metric(labels, peer.received)
    yield from (meta, handshake, sent, received)


def render_endpoint(endpoint: tuple[str, int]) -> str:
    """As `wg` has it."""
    address, port = endpoint
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"
