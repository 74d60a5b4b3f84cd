"""What Prometheus can ask, by Felix's names where the meaning is the same (section 7.6 of the data
model reference).

Counters are counted as things happen; figures of the state are asked for when somebody asks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from msgspec import Struct
from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Summary,
    disable_created_metrics,
)
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.platform_collector import PlatformCollector
from prometheus_client.process_collector import ProcessCollector
from prometheus_client.registry import Collector

from dataplane.dropped import Counts, Dropped
from dataplane.families import Family
from dataplane.wireguard.status import FamilyStatus
from felixpy.bgp.figures import BgpFigures
from felixpy.bgp.metrics import bgp_metrics
from felixpy.http_server import Answer
from felixpy.lockout.ledger import Waiting
from felixpy.wireguard.metrics import wireguard_metrics

disable_created_metrics()  # type: ignore[no-untyped-call]  # each counter's time of birth: Felix has no such series


class Figures(Struct, frozen=True):
    """How things are at the moment.

    selectors  those whose IP sets rules of this node need
    ipsets     IP version -> sets of ours in the kernel
    tables     IP version and table -> chains and rules of ours in the kernel
    cluster    kind of resource -> how many the datastore holds
    dropped    what was refused besides policy; unlike the others it is asked of the kernel
    held_back  kind of hold -> changes that wait to be confirmed
    lockout    those of them that would cut this machine off, and what they would cut
    bgp        asked of BIRD; None where BGP is switched off
    wireguard  asked of the kernel, for families that it is on for
    """

    resync_state: int = 1  # 1 waiting, 2 resync, 3 in sync
    problems: int = 0
    endpoints: int = 0
    policies: int = 0
    selectors: int = 0
    ipsets: Mapping[Family, int] = {}
    tables: Mapping[tuple[Family, str], tuple[int, int]] = {}
    cluster: Mapping[str, int] = {}
    dropped: Dropped = Dropped()
    held_back: Mapping[str, int] = {}
    lockout: tuple[Waiting, ...] = ()
    bgp: BgpFigures | None = None
    wireguard: tuple[FamilyStatus, ...] = ()


class Metrics:
    """One set for each agent, in a registry of its own; `ask` is called from other threads."""

    def __init__(
        self,
        ask: Callable[[], Figures],
        host: str,
        runtime: bool,
        process: bool,
    ) -> None:
        self.registry = registry = CollectorRegistry()
        if runtime:
            PlatformCollector(registry=registry)
        if process:
            ProcessCollector(registry=registry)
        registry.register(_Asked(ask, host))
        Gauge("felix_host", "Always 1", ["host"], registry=registry).labels(host).set(1)
        self.resyncs = Counter(
            "felix_resyncs_started", "Lists of the whole datastore begun", registry=registry
        )
        self.updates = Counter(
            "felix_calc_graph_updates_processed",
            "Changes from the datastore",
            ["type"],
            registry=registry,
        )
        self.output = Counter(
            "felix_calc_graph_output_events", "Updates for the dataplane", registry=registry
        )
        self.graph_seconds = Summary(
            "felix_calc_graph_update_time_seconds",
            "Time to work in a batch of changes",
            registry=registry,
        )
        self.apply_seconds = Summary(
            "felix_int_dataplane_apply_time_seconds", "Time of one apply", registry=registry
        )
        self.failures = Counter(
            "felix_int_dataplane_failures",
            "Applies that failed and were tried again",
            registry=registry,
        )
        self.messages = Counter(
            "felix_int_dataplane_messages", "Updates received", ["type"], registry=registry
        )
        self.lockouts = Counter(
            "felixpy_lockout_changes",
            "Changes that would cut an essential flow, by what became of them",
            ["outcome"],
            registry=registry,
        )
        self.written = Counter(
            "felixpy_dataplane_written",
            "Things written into the kernel: chains, members of IP sets, routes, ...",
            ["what"],
            registry=registry,
        )
        self.wireguard_messages = Counter(
            "felixpy_wireguard_netlink_messages",
            "Messages that changed devices, routes or rules of WireGuard",
            registry=registry,
        )
        self.flows_ended = Counter(
            "felixpy_flows_ended",
            "Established flows ended because a new policy refuses them",
            registry=registry,
        )

        self.bird_reconfigurations = Counter(
            "felixpy_bird_reconfigurations",
            "Versions of BIRD's configuration, by what became of them",
            ["kind"],
            registry=registry,
        )
        self.bird_session_restarts = Counter(
            "felixpy_bird_session_restarts",
            "Sessions that a change of the configuration set down",
            ["peer"],
            registry=registry,
        )

    def page(self, accept: str) -> Answer:
        """For an HttpServer, in the format that the client prefers."""
        encode, content_type = choose_encoder(accept)
        return Answer(200, encode(self.registry), content_type)


class _Asked(Collector):
    def __init__(self, ask: Callable[[], Figures], host: str) -> None:
        self._ask = ask
        self._host = host

    def collect(self) -> Iterable[Metric]:
        figures = self._ask()
        yield _gauge("felix_resync_state", "1 waiting, 2 resync, 3 in sync", figures.resync_state)
        yield _gauge(
            "felixpy_problems", "Things that are wrong; felixpy status names them", figures.problems
        )
        held_back = GaugeMetricFamily(
            "felixpy_held_back_changes", "Changes that felixpy confirm lets go", labels=["kind"]
        )
        for kind, count in figures.held_back.items():
            held_back.add_metric([kind], count)
        yield held_back
        lockout = GaugeMetricFamily(
            "felixpy_lockout_held_changes",
            "Changes held back because they would cut an essential flow",
            labels=["resource", "flow", "cause"],
        )
        for waiting in figures.lockout:
            lockout.add_metric([waiting.resource, waiting.flow, waiting.cause], 1)
        yield lockout
        for kind, count in figures.cluster.items():
            yield _gauge(f"felix_cluster_num_{kind}", f"In the datastore: {kind}", count)
        yield _gauge("felix_active_local_endpoints", "Endpoints of this node", figures.endpoints)
        yield _gauge("felix_active_local_policies", "Policies that matter here", figures.policies)
        yield _gauge(
            "felix_active_local_selectors",
            "IP sets that rules of this node need",
            figures.selectors,
        )
        ipsets = GaugeMetricFamily("felix_ipsets_calico", "IP sets of ours", labels=["ip_version"])
        for family, count in figures.ipsets.items():
            ipsets.add_metric([str(family)], count)
        yield ipsets
        labels = ["ip_version", "table"]
        chains = GaugeMetricFamily("felix_iptables_chains", "Chains of ours", labels=labels)
        rules = GaugeMetricFamily("felix_iptables_rules", "Rules in them", labels=labels)
        for (family, table), (chain_count, rule_count) in figures.tables.items():
            chains.add_metric([str(family), table], chain_count)
            rules.add_metric([str(family), table], rule_count)
        yield chains
        yield rules
        yield _by_family(
            "felixpy_workload_to_host_limited_packets",
            "Dropped because a workload sent its host more than WorkloadToHostPacketRate",
            "workload",
            figures.dropped.limited,
        )
        yield _by_family(
            "felixpy_fabric_forged_packets",
            "From the fabric with a source that cannot be: dropped, or logged if "
            "FabricSpoofProtection is Warn",
            "reason",
            figures.dropped.forged,
        )
        yield _by_family(
            "felixpy_encryption_required_dropped_packets",
            "Must be encrypted, by a policy or a pool, and came or would have left in clear",
            "way",
            figures.dropped.clear,
        )
        if figures.bgp is not None:
            yield from bgp_metrics(figures.bgp)
        if figures.wireguard:
            yield from wireguard_metrics(self._host, figures.wireguard)


def _by_family(name: str, text: str, label: str, counts: Counts) -> Metric:
    counter = CounterMetricFamily(name, text, labels=["ip_version", label])
    for (family, value), packets in counts.items():
        counter.add_metric([str(family), value], packets)
    return counter


def _gauge(name: str, text: str, value: float) -> Metric:
    return GaugeMetricFamily(name, text, value=value)
