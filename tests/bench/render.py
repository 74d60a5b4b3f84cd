"""How long rendering takes: `python tests/bench/render.py`, or with --profile where it goes.

Policies of ten rules (half of each direction), as varied as those of a real cluster; profiles; and
the dispatch of many workloads, which is rendered again whenever one comes or goes.
"""

from __future__ import annotations

import cProfile
import pstats
import sys
import time
from collections.abc import Callable

from calc_graph.model import PolicyKey, PortRange, WorkloadEndpoint
from calc_graph.updates import ActivePolicy, ActiveRule, PeerMatch, TierPolicies
from dataplane.chains import rule_ids
from dataplane.render.dispatch import workload_dispatch
from dataplane.render.endpoints import workload_chains
from dataplane.render.rules import policy_chains
from dataplane.settings import RenderSettings

_SETTINGS = RenderSettings()
_POLICIES = 1_000
_WORKLOADS = 500
_REPEATS = 5


def policy(number: int) -> tuple[PolicyKey, ActivePolicy]:
    peers = PeerMatch(ipsets=(f"s:{number:038d}",))
    web = PeerMatch(ports=(PortRange(80, 80), PortRange(8000, 8100)))
    nets = PeerMatch(nets=(f"10.{number % 250}.0.0/16", "192.168.0.0/16"))
    rules = (
        ActiveRule("allow", protocol="tcp", source=peers, destination=web),
        ActiveRule("allow", protocol="udp", destination=PeerMatch(ports=(PortRange(53, 53),))),
        ActiveRule("deny", protocol="tcp", source=nets),
        ActiveRule("allow", source=PeerMatch(nets=("10.0.0.0/8",))),
        ActiveRule("pass", protocol="tcp", source=peers),
    )
    key = PolicyKey("NetworkPolicy", f"namespace-{number % 40}", f"policy-{number}")
    return key, ActivePolicy("default", "all()", ingress=rules, egress=rules)


def render_policies(policies: list[tuple[PolicyKey, ActivePolicy]]) -> None:
    for key, value in policies:
        policy_chains(key, value, 4, _SETTINGS)


def number_policies(policies: list[tuple[PolicyKey, ActivePolicy]]) -> None:
    for key, value in policies:
        for chain in policy_chains(key, value, 4, _SETTINGS):
            rule_ids(chain.name, chain.rules)


def render_workloads(interfaces: list[str]) -> None:
    keys = tuple(policy(number)[0] for number in range(10))
    tiers = (TierPolicies("default", "Deny", keys, keys),)
    for interface in interfaces:
        endpoint = WorkloadEndpoint(interface, (), profiles=("kns.default", "ksa.default.default"))
        workload_chains(interface, endpoint, tiers, lambda _key: "all()", _SETTINGS)


def best_milliseconds(work: Callable[[], object]) -> float:
    times = []
    for _ in range(_REPEATS):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return min(times) * 1000


def main() -> None:
    policies = [policy(number) for number in range(_POLICIES)]
    interfaces = [f"cali{number:011x}" for number in range(_WORKLOADS)]
    if "--profile" in sys.argv:
        profile = cProfile.Profile()
        profile.runcall(render_policies, policies)
        pstats.Stats(profile).sort_stats("tottime").print_stats(15)
        return
    measured = {
        f"{_POLICIES} policies of 10 rules": lambda: render_policies(policies),
        f"{_POLICIES} policies of 10 rules, with ids": lambda: number_policies(policies),
        f"{_WORKLOADS} workloads of 10 policies": lambda: render_workloads(interfaces),
        f"dispatch of {_WORKLOADS} workloads": lambda: workload_dispatch(interfaces, _SETTINGS),
    }
    for what, work in measured.items():
        print(f"{what:45} {best_milliseconds(work):8.1f} ms")


if __name__ == "__main__":
    main()
