"""How long a verdict takes: `.venv/bin/python -m tests.bench.judge`.

One workload and one host endpoint, 50 policies of four rules on each, half of which ask an IP set
of 10,000 addresses; packets that the first policy decides, that the last one does, and that none
does.  Then what updates and a fork cost.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from functools import partial
from ipaddress import ip_address

from calc_graph.judge import Flow, HostInterface, HostView, Judge, JudgeSettings
from calc_graph.model import (
    HostEndpoint,
    HostEndpointKey,
    PolicyKey,
    PortRange,
    WorkloadEndpoint,
    WorkloadEndpointKey,
)
from calc_graph.updates import (
    ActivePolicy,
    ActiveRule,
    HostEndpointUpdate,
    IpsetDelta,
    IpsetType,
    IpsetUpdate,
    PeerMatch,
    PolicyUpdate,
    TierPolicies,
    Update,
    WorkloadEndpointUpdate,
)

POLICIES = 50
SETS = 20
MEMBERS = 10_000
REPEATS = 5
CALLS = 2_000


def policy(number: int) -> PolicyUpdate:
    def rule(port: int, source: PeerMatch) -> ActiveRule:
        ports = PeerMatch(ports=(PortRange(port, port),))
        return ActiveRule("allow", protocol="tcp", source=source, destination=ports)

    members = PeerMatch(ipsets=(f"s:{number % SETS}",))
    rules = (
        rule(1000 + number, members),
        rule(2000 + number, PeerMatch(nets=("192.0.2.0/24", "198.51.100.0/24"))),
        ActiveRule("deny", source=PeerMatch(nets=(f"172.16.{number}.0/24",))),
        ActiveRule("allow", protocol="tcp", source=members),
    )
    key = PolicyKey("GlobalNetworkPolicy", "", f"policy-{number}")
    return PolicyUpdate(key, ActivePolicy("default", "all()", ingress=rules, egress=rules))


def cluster() -> list[Update]:
    sets: list[Update] = []
    for number in range(SETS):
        nets = [f"10.{number}.{i >> 8}.{i & 255}/32" for i in range(MEMBERS)]
        nets += [f"10.{100 + number}.{i}.0/24" for i in range(20)]
        sets.append(IpsetUpdate(f"s:{number}", IpsetType.NET, frozenset(nets)))
    policies = [policy(number) for number in range(POLICIES)]
    keys = tuple(update.key for update in policies)
    tiers = (TierPolicies("default", "Deny", keys, keys),)
    workload = WorkloadEndpoint("cali1", ("10.65.0.1/32",))
    host = HostEndpoint("eth0")
    return [
        *sets,
        *policies,
        WorkloadEndpointUpdate(WorkloadEndpointKey("n1", "k8s", "ns/w", "eth0"), workload, tiers),
        HostEndpointUpdate(HostEndpointKey("n1", "eth0"), host, tiers),
    ]


def flow(source: str, port: int, out_interface: str | None) -> Flow:
    return Flow(
        ip_address(source),
        ip_address("10.65.0.1" if out_interface else "172.30.0.10"),
        6,
        40000,
        port,
        in_interface="eth0",
        out_interface=out_interface,
    )


def timed(what: str, work: Callable[[], object], calls: int) -> None:
    best = float("inf")
    for _ in range(REPEATS):
        begun = time.perf_counter()
        for _ in range(calls):
            work()
        best = min(best, time.perf_counter() - begun)
    sys.stdout.write(f"{what:48} {best / calls * 1e6:12.2f} us\n")


def main() -> None:
    updates = cluster()
    view = HostView({"eth0": HostInterface(2), "cali1": HostInterface(3)})
    begun = time.perf_counter()
    judge = Judge(JudgeSettings())
    judge.update(updates)
    took = time.perf_counter() - begun
    sys.stdout.write(f"all updates, {SETS} sets of {MEMBERS}: {took * 1e3:.0f} ms\n")
    for place, out in (("host", None), ("workload", "cali1")):
        for title, asked in (
            ("the first policy decides", flow("10.0.0.1", 1000, out)),
            ("the last policy decides", flow("192.0.2.1", 2000 + POLICIES - 1, out)),
            ("no policy decides", flow("203.0.113.1", 99, out)),
        ):
            timed(f"to the {place}: {title}", partial(judge.judge, asked, view), CALLS)
    members = frozenset({"10.200.0.1/32"})
    grow = IpsetDelta("s:0", members, frozenset())
    shrink = IpsetDelta("s:0", frozenset(), members)
    timed("a member more, a member less", lambda: judge.update((grow, shrink)), CALLS)
    timed("a policy rewritten", lambda: judge.update((policy(0),)), CALLS)
    timed("a fork", judge.fork, 100)


if __name__ == "__main__":
    main()
