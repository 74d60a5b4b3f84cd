"""Which flows end: those that were allowed and are refused, and no others."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable

import pytest

from calc_graph.judge import JudgeSettings
from calc_graph.model import WorkloadEndpoint, WorkloadEndpointKey
from calc_graph.updates import (
    ActivePolicy,
    ActiveProfile,
    ActiveRule,
    IpsetDelta,
    IpsetType,
    IpsetUpdate,
    PeerMatch,
    PolicyUpdate,
    ProfileUpdate,
    TierPolicies,
    Update,
    WorkloadEndpointUpdate,
)
from dataplane import ctnetlink
from dataplane.families import Family
from dataplane.interfaces import Interface
from dataplane.netlink import NetlinkError
from felixpy.flow_ending import ender as module
from felixpy.flow_ending.ender import FlowEnder
from tests.dataplane.desired.builders import ALLOW, DENY, gnp
from tests.felixpy.flow_ending.flows import listed

SET = "s:abc"
DENIED = ActiveRule(action="deny", source=PeerMatch(ipsets=(SET,)))
INTERFACES = {"eth0": Interface("eth0", 2, True, frozenset(("172.30.0.10",)))}
TO_W1 = listed("10.65.0.9", "10.65.0.1")
TO_W2 = listed("10.65.0.9", "10.65.0.2")


class FakeConntrack:
    """Entries by family; `end` knows them by their identity, as the kernel does."""

    def __init__(self) -> None:
        self.entries: dict[Family, list[bytes]] = {4: [], 6: []}
        self.listed = 0
        self.fails = False

    async def flows(self, family: Family) -> list[bytes]:
        self.listed += 1
        await asyncio.sleep(0)
        if self.fails:
            raise NetlinkError("listing flows", 1)
        return list(self.entries[family])

    async def end(self, family: Family, identities: Iterable[bytes]) -> int:
        doomed = set(identities)
        before = len(self.entries[family])
        entries = self.entries[family]
        self.entries[family] = [e for e in entries if ctnetlink.identity(e) not in doomed]
        return before - len(self.entries[family])

    def close(self) -> None:
        pass


class Bench:
    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.kernel = FakeConntrack()
        monkeypatch.setattr(module, "Conntrack", lambda: self.kernel)
        monkeypatch.setattr(module, "REST", 0.0)
        monkeypatch.setattr(module, "_RETRY", 0.0)
        self.counts: list[int] = []
        self.ender = FlowEnder(self.counts.append, lambda: None)

    def begin(self, *updates: Update, settings: JudgeSettings | None = None) -> None:
        self.ender.begin(settings or JudgeSettings())
        self.ender.update(updates)
        self.ender.applied(INTERFACES)

    async def change(self, *updates: Update) -> None:
        self.ender.update(updates)
        self.ender.applied(INTERFACES)
        await self.settle()

    async def settle(self) -> None:
        for _ in range(50):
            await asyncio.sleep(0)

    @property
    def left(self) -> list[bytes]:
        return [*self.kernel.entries[4], *self.kernel.entries[6]]


@pytest.fixture
async def bench(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Bench]:
    bench = Bench(monkeypatch)
    yield bench
    await bench.ender.close()


def policy(*rules: ActiveRule, encrypted: bool = False) -> PolicyUpdate:
    active = ActivePolicy(tier="default", selector="all()", ingress=rules, encrypted=encrypted)
    return PolicyUpdate(gnp("p"), active)


def workload(number: int, *, policed: bool = True, interface: str = "") -> Update:
    tiers = (TierPolicies("default", "Deny", ingress=(gnp("p"),)),) if policed else ()
    return WorkloadEndpointUpdate(
        WorkloadEndpointKey("n1", "k8s", f"default/w{number}", "eth0"),
        WorkloadEndpoint(
            interface=interface or f"cali{number}",
            nets=(f"10.65.0.{number}/32", f"fd65::{number}/128"),
            profiles=("open",),
        ),
        tiers,
    )


OPEN = ProfileUpdate("open", ActiveProfile((ALLOW,), (ALLOW,)))
MEMBERS = IpsetUpdate(SET, IpsetType.NET, frozenset())
START = (MEMBERS, OPEN, policy(ALLOW), workload(1), workload(2, policed=False))

CASES: list[tuple[str, tuple[Update, ...], list[bytes], list[bytes]]] = [
    # case                         change                        flows             left
    ("denied",                     (policy(DENY),),              [TO_W1, TO_W2],   [TO_W2]),
    ("nothing that concerns them", (policy(ALLOW, DENY),),       [TO_W1, TO_W2],   [TO_W1, TO_W2]),
    ("in IPv6",                    (policy(DENY),),
     [listed("fd65::9", "fd65::1")], []),
    ("another workload's",         (workload(2),),               [TO_W1, TO_W2],   [TO_W1, TO_W2]),
    ("in a zone",                  (policy(DENY),),
     [listed("10.65.0.9", "10.65.0.1", zone=3)], [listed("10.65.0.9", "10.65.0.1", zone=3)]),
    ("to be encrypted from now on", (policy(ALLOW, encrypted=True),), [TO_W1, TO_W2], [TO_W2]),
    ("announced by another",       (policy(DENY),),
     [listed("10.65.0.9", "10.65.0.1", expected=True)],
     [listed("10.65.0.9", "10.65.0.1", expected=True)]),
    ("judged by where it really goes", (policy(DENY),),
     [listed("10.65.0.9", "10.96.0.1", reply_source="10.65.0.1")], []),
    ("a workload that moves to another interface", (policy(DENY), workload(1, interface="cali7")),
     [TO_W1], [TO_W1]),
    ("what the host itself began", (policy(DENY),),
     [listed("172.30.0.10", "10.65.0.1")], [listed("172.30.0.10", "10.65.0.1")]),
    ("a workload that comes under policy", (policy(DENY), workload(2)),
     [TO_W2, listed("10.65.0.1", "10.65.0.9")], [listed("10.65.0.1", "10.65.0.9")]),
]  # fmt: skip


@pytest.mark.parametrize(("case", "change", "flows", "left"), CASES, ids=[c[0] for c in CASES])
async def test_what_ends(
    bench: Bench, case: str, change: tuple[Update, ...], flows: list[bytes], left: list[bytes]
) -> None:
    for flow in flows:
        bench.kernel.entries[4 if flow[0] == 2 else 6].append(flow)
    bench.begin(*START)
    await bench.settle()
    assert bench.left == flows
    await bench.change(*change)
    assert bench.left == left
    ended = len(flows) - len(left)
    assert bench.counts == ([ended] if ended else [])


async def test_what_was_refused_already_stays(bench: Bench) -> None:
    """Others have let it through."""
    bench.kernel.entries[4] = [TO_W1]
    bench.begin(MEMBERS, OPEN, policy(DENY), workload(1))
    await bench.change(policy(DENY, DENY))
    assert bench.left == [TO_W1]
    assert bench.kernel.listed > 0


async def test_encrypted_already(bench: Bench) -> None:
    """Its flows are noted as such; one that is refused ends as any other."""
    bench.kernel.entries[4] = [TO_W1]
    bench.begin(MEMBERS, OPEN, policy(ALLOW, encrypted=True), workload(1))
    await bench.change(policy(ALLOW, ALLOW, encrypted=True))
    await bench.change(policy(ALLOW))
    assert bench.left == [TO_W1]
    await bench.change(policy(ALLOW, encrypted=True))
    await bench.change(policy(DENY, encrypted=True))
    assert bench.left == []
    assert bench.kernel.listed > 0


async def test_only_flows_of_a_set_s_new_members_are_looked_at(bench: Bench) -> None:
    other = listed("10.65.0.8", "10.65.0.1")
    bench.kernel.entries[4] = [TO_W1, other]
    bench.begin(MEMBERS, OPEN, policy(DENIED, ALLOW), workload(1))
    await bench.change(IpsetDelta(SET, frozenset(("10.65.0.9/32",)), frozenset()))
    assert bench.left == [other]
    await bench.change(IpsetDelta(SET, frozenset(("10.65.0.0/24",)), frozenset()))
    assert bench.left == []


async def test_nothing_is_looked_at_before_the_rules_are_in_the_kernel(bench: Bench) -> None:
    bench.kernel.entries[4] = [TO_W1]
    bench.begin(*START)
    bench.ender.update([policy(DENY)])
    await bench.settle()
    assert bench.kernel.listed == 0
    bench.ender.applied(INTERFACES)
    await bench.settle()
    assert bench.left == []


async def test_a_change_that_is_taken_back_in_time_ends_nothing(bench: Bench) -> None:
    bench.kernel.entries[4] = [TO_W1]
    bench.begin(*START)
    bench.ender.update([policy(DENY)])
    bench.ender.applied(INTERFACES)
    bench.ender.update([policy(ALLOW)])
    await bench.settle()
    bench.ender.applied(INTERFACES)
    await bench.settle()
    assert bench.left == [TO_W1]


async def test_a_round_under_way_heeds_what_is_about_to_come(bench: Bench) -> None:
    bench.kernel.entries[4] = [TO_W1]
    bench.begin(*START)
    bench.ender.update([policy(DENY)])
    bench.ender.applied(INTERFACES)
    for _ in range(100):
        if bench.kernel.listed:
            break
        await asyncio.sleep(0)
    bench.ender.update([policy(ALLOW)])
    await bench.settle()
    assert bench.left == [TO_W1]


async def test_a_dataplane_made_anew_is_held_against_the_one_before(bench: Bench) -> None:
    to_host = listed("10.65.0.1", "172.30.0.10")
    bench.kernel.entries[4] = [to_host, TO_W1]
    bench.begin(*START, settings=JudgeSettings(endpoint_to_host_action="ACCEPT"))
    await bench.settle()
    bench.begin(*START, settings=JudgeSettings(endpoint_to_host_action="DROP"))
    await bench.settle()
    assert bench.left == [TO_W1]


async def test_switched_off_it_looks_at_nothing(bench: Bench) -> None:
    bench.kernel.entries[4] = [TO_W1]
    bench.ender.begin(None)
    bench.ender.update(START)
    bench.ender.applied(INTERFACES)
    await bench.change(policy(DENY))
    assert (bench.left, bench.kernel.listed) == ([TO_W1], 0)


async def test_a_bug_is_no_silence(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench.kernel, "flows", lambda _: 1 // 0)
    bench.begin(*START)
    await bench.change(policy(DENY))
    with pytest.raises(ZeroDivisionError):
        bench.ender.check()
    bench.ender.check()


async def test_a_kernel_that_does_not_answer_is_asked_again(bench: Bench) -> None:
    bench.kernel.entries[4] = [TO_W1]
    bench.kernel.fails = True
    bench.begin(*START)
    bench.ender.update([policy(DENY)])
    bench.ender.applied(INTERFACES)
    await bench.settle()
    assert bench.kernel.listed > 1
    bench.kernel.fails = False
    await bench.settle()
    assert bench.left == []
