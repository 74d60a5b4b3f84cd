"""What a large cluster costs: MiB and CPU seconds, from etcd's JSON to IP sets in the driver.

    .venv/bin/python -m tests.bench.memory [--endpoints 50000] [--policies 1000] [--local 100]
                                           [--traced]

No etcd and no kernel: pairs of key and JSON are made as they are needed and put through what the
agent puts them through, a page at a time.  No two endpoints have the same labels; a thousand of
them are in the set of each pair of labels that policies select.

Resident memory is what counts, but one cannot see in it whose it is; `--traced` says instead which
modules have allocated what is still there, and takes several times as long.
"""

from __future__ import annotations

import argparse
import gc
import itertools
import os
import random
import time
import tracemalloc
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import msgspec

from calc_graph.graph import CalcGraph
from calc_graph.model import Key, Value
from calc_graph.updates import IpsetUpdate, Update
from dataplane.drivers.ipset_messages import Codec, Header
from dataplane.drivers.ipset_state import SetState
from felixpy.census import Census
from felixpy.commands.run import spare_the_collector
from felixpy.datastore.etcd_holdings import Holdings
from felixpy.datastore.etcd_keys import RANGES
from felixpy.datastore.source import Changed, Problems

HOSTNAME = "n1"
PAGE = 500
META = {"uid": "6f1f2a5e-2a0b-4a37-9f1c-1c1f4a3f9d11", "creationTimestamp": "2026-01-01T00:00:00Z"}


def resident() -> float:
    """MiB."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


# ---------------------------------------------------------------- the cluster


def document(kind: str, namespace: str, name: str, labels: object, spec: object) -> dict[str, Any]:
    metadata = {"name": name, "labels": labels, **META}
    if namespace:
        metadata["namespace"] = namespace
    return {
        "kind": kind,
        "apiVersion": "projectcalico.org/v3",
        "metadata": metadata,
        "spec": spec,
    }


def node(number: int) -> dict[str, Any]:
    address = f"172.31.{number // 250}.{number % 250 + 1}/16"
    return document("Node", "", f"r{number}", {}, {"bgp": {"ipv4Address": address}})


def endpoint(number: int, host: str, nets: str) -> dict[str, Any]:
    labels = {
        "app": f"a{number % 50}",
        "tier": f"t{number % 5}",
        "uid": f"u{number}",
        "projectcalico.org/namespace": "default",
        "projectcalico.org/orchestrator": "lab",
    }
    spec = {
        "node": host,
        "orchestrator": "lab",
        "workload": f"e{number}",
        "endpoint": "eth0",
        "interfaceName": f"cali{number:08x}",
        "ipNetworks": [nets],
        "profiles": ["open"],
    }
    return document("WorkloadEndpoint", "default", f"{host}-lab-e{number}-eth0", labels, spec)


def policy(name: str, selector: str, source: str, port: int) -> dict[str, Any]:
    peer = {"selector": source}
    ingress = [
        {
            "action": "Allow",
            "protocol": "TCP",
            "source": peer,
            "destination": {"ports": [8000 + port]},
        },
        {"action": "Allow", "protocol": "UDP", "source": {"nets": ["10.7.0.0/16"]}},
    ]
    spec = {
        "selector": selector,
        "tier": "default",
        "order": 1000 + port,
        "types": ["Ingress"],
        "ingress": ingress,
    }
    return document("NetworkPolicy", "default", name, {"projectcalico.org/tier": "default"}, spec)


def cluster(options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """In the order of the ranges, as the agent reads them."""
    chance = random.Random(7)  # the same cluster each time
    yield from map(node, range((options.endpoints + 99) // 100))
    for number in range(options.policies):
        source = f"app == 'a{chance.randrange(50)}' && tier == 't{chance.randrange(5)}'"
        yield policy(f"p{number}", f"app == 'a{number % 50}'", source, number % 500)
    yield policy("any", "has(app)", "has(uid) && app == 'a7'", 1)
    for number in range(options.endpoints):
        address = f"10.{66 + number // 62500}.{number // 250 % 250}.{number % 250 + 1}/32"
        yield endpoint(number, f"r{number // 100}", address)
    for number in range(options.local):
        yield endpoint(number, HOSTNAME, f"10.65.{number // 250}.{number % 250 + 2}/32")


# ---------------------------------------------------------------- the way


class Stages:
    """CPU seconds of each stage, and resident memory where one ends."""

    def __init__(self) -> None:
        self.seconds: defaultdict[str, float] = defaultdict(float)
        self._before = resident()
        print(f"{'':<40}{'CPU s':>8}{'MiB more':>10}{'MiB':>8}")
        print(f"{'modules':<40}{time.process_time():8.2f}{self._before:10.1f}{self._before:8.1f}")

    def ended(self, *names: str) -> None:
        now = resident()
        for name in names[:-1]:
            print(f"{name:<40}{self.seconds[name]:8.2f}")
        print(f"{names[-1]:<40}{self.seconds[names[-1]]:8.2f}{now - self._before:10.1f}{now:8.1f}")
        self._before = now


class Agent:
    """What an agent keeps of the datastore and of its IP sets."""

    def __init__(self) -> None:
        problems = Problems()
        self.holdings = {range_.kind: Holdings(range_, problems) for range_ in RANGES}
        self.census = Census()
        self.graph = CalcGraph(HOSTNAME)
        self.sets: dict[str, SetState] = {}

    def put(self, page: Iterable[tuple[Holdings, bytes, bytes]]) -> list[Changed]:
        return [change for holdings, key, value in page for change in holdings.put(key, value)]

    def absorb(self, changes: dict[Key, Value | None]) -> None:
        for key, value in changes.items():
            self.census.note(key, value)
            self.graph.update(key, value)

    def fill(self, updates: Iterable[Update]) -> None:
        """As the driver does, and as if the kernel had taken it."""
        for update in updates:
            if isinstance(update, IpsetUpdate):
                codec = Codec(update.type, 4)
                state = SetState(update.id)
                header = Header(update.id, update.type.value, 65536, 4)
                state.want(update.type, header, codec, [codec.parse(m) for m in update.members])
                state.grown(state.growth(6, "", make_room=False))
                self.sets[update.id] = state

    def page(self, documents: Iterable[dict[str, Any]]) -> list[tuple[Holdings, bytes, bytes]]:
        pairs = []
        for found in documents:
            holdings = self.holdings[found["kind"]]
            metadata = found["metadata"]
            namespace = metadata.get("namespace")
            name = f"{namespace}/{metadata['name']}" if namespace else metadata["name"]
            key = f"{holdings.range.prefix}{name}".encode()
            pairs.append((holdings, key, msgspec.json.encode(found)))
        return pairs


def walk(options: argparse.Namespace, stages: Stages) -> Agent:
    agent = Agent()
    seconds = stages.seconds
    documents = cluster(options)
    while chunk := list(itertools.islice(documents, PAGE)):
        page = agent.page(chunk)
        del chunk
        start = time.process_time()
        changes = dict(agent.put(page))
        decoded = time.process_time()
        agent.absorb(changes)
        seconds["decoded, kept to compare"] += decoded - start
        seconds["in the graph"] += time.process_time() - decoded
        del changes, page
    stages.ended("decoded, kept to compare", "in the graph")

    start = time.process_time()
    agent.graph.in_sync()
    updates = agent.graph.replay()
    seconds["first flush"] = time.process_time() - start
    stages.ended("first flush")

    start = time.process_time()
    agent.fill(updates)
    seconds["in the driver of IP sets"] = time.process_time() - start
    del updates
    stages.ended("in the driver of IP sets")
    return agent


def say_owners(root: Path) -> None:
    """Whose lines have allocated what is still there."""
    gc.collect()
    sizes: Counter[str] = Counter()
    for statistic in tracemalloc.take_snapshot().statistics("filename"):
        sizes[statistic.traceback[0].filename.removeprefix(f"{root}/")] += statistic.size
    print(f"\n{'allocated by':<50}{'MiB':>8}")
    for name, size in sizes.most_common(15):
        print(f"{name:<50}{size / 2**20:8.1f}")
    print(f"{'all':<50}{sum(sizes.values()) / 2**20:8.1f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--endpoints", type=int, default=50_000)
    parser.add_argument("--policies", type=int, default=1000)
    parser.add_argument("--local", type=int, default=100)
    parser.add_argument("--traced", action="store_true", help="who has allocated what")
    options = parser.parse_args()
    spare_the_collector()
    if options.traced:
        tracemalloc.start()
    stages = Stages()
    kept = walk(options, stages)
    if options.traced:
        say_owners(Path(__file__).parents[2])
    del kept


if __name__ == "__main__":
    main()
