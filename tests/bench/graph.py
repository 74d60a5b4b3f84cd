"""Figures of the graph alone: from nothing to the first flush, then single changes.

    .venv/bin/python -m tests.bench.graph [--endpoints 10000,50000] [--policies 1000] [--distinct]

The cluster: endpoints in namespaces of 100, each with workloads of ten replicas; 100 endpoints are
local, spread over the namespaces.  Half of the policies belong to a namespace, half select over all
of them; all have four rules that select peers by label, one by a named port.  A few network sets.

Two shapes: "replicas" share their labels, as those of one deployment do; in "unique" every endpoint
has a label that no other has, as those of a stateful set do.  The policies over all namespaces
share 20 ways of selecting; with --distinct each has its own, the worst case: then hundreds of IP
sets hold a third of the cluster each.
"""

from __future__ import annotations

import argparse
import gc
import resource
import statistics
import sys
import time
import tracemalloc
from collections.abc import Callable, Iterator

import msgspec

from calc_graph.graph import CalcGraph
from calc_graph.model import (
    EndpointPort,
    Key,
    NetworkSet,
    NetworkSetKey,
    Peer,
    Policy,
    PolicyKey,
    PortRange,
    Profile,
    ProfileKey,
    Rule,
    Tier,
    TierKey,
    Value,
    WorkloadEndpoint,
    WorkloadEndpointKey,
)
from calc_graph.selector import parse

HOSTNAME = "node-0"
NAMESPACE_SIZE = 100
REPLICAS = 10
LOCAL = 100
CHANGES = 100
DISTINCT = "--distinct"


def fresh(text: str) -> str:
    """A string of its own, as one that was decoded from a datastore is."""
    return text.encode().decode()


def endpoint(i: int, endpoints: int, *, unique: bool = False) -> tuple[Key, WorkloadEndpoint]:
    namespace, workload = f"ns-{i // NAMESPACE_SIZE}", f"app-{i // REPLICAS % 10}"
    step = endpoints // LOCAL
    local = i % step == 10 * (i // step % 10)  # so that every kind of workload is among them
    host = HOSTNAME if local else f"node-{1 + i % 500}"
    key = WorkloadEndpointKey(
        fresh(host), fresh("k8s"), fresh(f"{namespace}/{workload}-{i}"), fresh("eth0")
    )
    labels = {
        "projectcalico.org/namespace": namespace,
        "projectcalico.org/orchestrator": "k8s",
        "app": workload,
        "tier": ("front", "back", "db")[i // REPLICAS % 3],
        "version": "1",
    }
    if unique:
        labels["pod-name"] = f"{workload}-{i}"
    return key, WorkloadEndpoint(
        interface=f"cali{i:011x}",
        nets=(f"10.{i >> 16}.{i >> 8 & 255}.{i & 255}/32",),
        labels={fresh(name): fresh(value) for name, value in labels.items()},
        profiles=(fresh(f"kns.{namespace}"),),
        ports=(EndpointPort(fresh("http"), fresh("tcp"), 8080),),
    )


def policy(i: int, endpoints: int, port: int = 80) -> tuple[Key, Policy]:
    namespaces = max(1, endpoints // NAMESPACE_SIZE)
    namespace = f"ns-{i % namespaces}"
    here = f"projectcalico.org/namespace == '{namespace}'"

    def rule(selector: str, **ports: object) -> Rule:
        source = Peer(selector=selector)
        return Rule("allow", protocol="tcp", source=source, destination=Peer(**ports))  # type: ignore[arg-type]

    if i % 2:
        key = PolicyKey("GlobalNetworkPolicy", "", f"policy-{i}")
        kind = i if DISTINCT in sys.argv else i % 20
        here = f"has(projectcalico.org/namespace) && version != 'v{kind}'"
    else:
        key = PolicyKey("NetworkPolicy", namespace, f"policy-{i}")
    return key, Policy(
        tier="default",
        selector=f"(app == 'app-{i // 2 % 10}') && {here}",
        order=float(i % 50),
        ingress=(
            rule(f"({here}) && (tier == 'front')", ports=(PortRange(port, port),)),
            rule(f"({here}) && (app == 'app-{(i + 1) % 10}')", named_ports=("http",)),
            rule(f"pcns.team == 'team-{i % 20}'", ports=(PortRange(443, 443),)),
        ),
        egress=(
            Rule("allow", destination=Peer(selector=f"tier == 'db' && app == 'app-{i % 10}'")),
        ),
    )


def profile(i: int) -> tuple[Key, Profile]:
    allow = (Rule("allow"),)
    labels = {"pcns.projectcalico.org/name": f"ns-{i}", "pcns.team": f"team-{i % 20}"}
    return ProfileKey(f"kns.ns-{i}"), Profile(allow, allow, labels)


def network_set(i: int) -> tuple[Key, NetworkSet]:
    nets = tuple(f"192.{i}.{j}.0/24" for j in range(100))
    return NetworkSetKey(f"set-{i}"), NetworkSet(nets, {"tier": "db", "app": f"app-{i % 10}"})


def cluster(endpoints: int, policies: int, *, unique: bool) -> Iterator[tuple[Key, Value]]:
    yield TierKey("default"), Tier(1000000)
    for i in range(endpoints):
        yield endpoint(i, endpoints, unique=unique)
    for i in range(policies):
        yield policy(i, endpoints)
    for i in range(max(1, endpoints // NAMESPACE_SIZE)):
        yield profile(i)
    for i in range(20):
        yield network_set(i)


def milliseconds(graph: CalcGraph, changes: Callable[[int], tuple[Key, Value | None]]) -> str:
    times, updates = [], 0
    for i in range(CHANGES):
        key, value = changes(i)
        start = time.perf_counter()
        graph.update(key, value)
        updates += len(graph.flush())
        times.append((time.perf_counter() - start) * 1000)
    times.sort()
    return f"{statistics.median(times):7.3f} {times[-CHANGES // 20]:7.3f} {updates / CHANGES:7.1f}"


def load(
    endpoints: int, policies: int, *, unique: bool, backwards: bool = False
) -> tuple[CalcGraph, float, int]:
    parse.cache_clear()
    state = list(cluster(endpoints, policies, unique=unique))
    if backwards:
        state.reverse()
    gc.collect()
    start = time.perf_counter()
    graph = CalcGraph(HOSTNAME)
    for key, value in state:
        graph.update(key, value)
    graph.in_sync()
    count = len(graph.flush())
    return graph, time.perf_counter() - start, count


def memory(endpoints: int, policies: int, *, unique: bool) -> float:
    """MiB that stay when only the graph is left."""
    gc.collect()
    tracemalloc.start()
    graph = CalcGraph(HOSTNAME)
    for key, value in cluster(endpoints, policies, unique=unique):
        graph.update(key, value)
    graph.in_sync()
    graph.flush()
    gc.collect()
    size = tracemalloc.get_traced_memory()[0] / 2**20
    tracemalloc.stop()
    del graph
    return size


def report(endpoints: int, policies: int, *, unique: bool) -> None:
    _, backwards, _ = load(endpoints, policies, unique=unique, backwards=True)
    graph, seconds, updates = load(endpoints, policies, unique=unique)
    remote = endpoints - 1

    def rules(i: int) -> tuple[Key, Value | None]:
        return policy(0, endpoints, port=1000 + i)

    def order(i: int) -> tuple[Key, Value | None]:
        key, found = policy(0, endpoints)
        return key, msgspec.structs.replace(found, order=float(i % 2))

    def come_and_go(i: int) -> tuple[Key, Value | None]:
        key, found = policy(i // 2, endpoints)
        key = msgspec.structs.replace(key, name=f"new-{i // 2}")
        return key, None if i % 2 else found

    def relabel(index: int) -> Callable[[int], tuple[Key, Value | None]]:
        def change(i: int) -> tuple[Key, Value | None]:
            key, found = endpoint(index, endpoints, unique=unique)
            labels = found.labels | {"app": f"app-{i % 10}"}
            return key, msgspec.structs.replace(found, labels=labels)

        return change

    def churn(i: int) -> tuple[Key, Value | None]:
        key, found = endpoint(remote, endpoints, unique=unique)
        return key, None if i % 2 else found

    def namespace(i: int) -> tuple[Key, Value | None]:
        key, found = profile(0)
        return key, msgspec.structs.replace(found, labels={"pcns.team": f"team-{i % 20}"})

    shape = "unique" if unique else "replicas"
    print(f"{endpoints} endpoints, {policies} policies, {LOCAL} local, {shape}")
    print(
        f"  first flush: endpoints first {seconds:.2f} s, policies first {backwards:.2f} s, ",
        end="",
    )
    print(f"{updates} updates")
    print("  one change                      median  95 %   updates")
    cases: list[tuple[str, Callable[[int], tuple[Key, Value | None]]]] = [
        ("rules of a policy", rules),
        ("order of a policy", order),
        ("policy comes or goes", come_and_go),
        ("label of a local endpoint", relabel(0)),
        ("label of a remote endpoint", relabel(remote)),
        ("remote endpoint comes or goes", churn),
        ("label of a namespace of 100", namespace),
    ]
    for name, change in cases:
        print(f"    {name:<30}{milliseconds(graph, change)}")
    del graph
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    alone = memory(endpoints, policies, unique=unique)
    print(f"  graph alone {alone:.1f} MiB, process peak {peak:.0f} MiB", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--endpoints", default="10000,50000")
    parser.add_argument("--policies", type=int, default=1000)
    parser.add_argument(DISTINCT, action="store_true", help="no policy selects as another does")
    arguments = parser.parse_args()
    print(f"Python {sys.version.split()[0]}")
    for endpoints in map(int, arguments.endpoints.split(",")):
        for unique in (False, True):
            report(endpoints, arguments.policies, unique=unique)


if __name__ == "__main__":
    main()
