"""The judge against the kernel: random clusters with host endpoints of every kind, random packets.

The graph's updates go to both, to the dataplane, which writes the kernel's rules, and to the judge.
What the judge lets through has to arrive, and nothing else; so have replies.
FELIXPY_JUDGE_SEEDS=20 asks for more clusters.
"""

from __future__ import annotations

import ctypes
import os
import random
from collections.abc import AsyncIterator, Hashable, Iterable
from contextlib import suppress
from itertools import zip_longest
from pathlib import Path

import pytest

from calc_graph.bgp.resources import BgpConfiguration, BgpConfigurationKey
from calc_graph.graph import CalcGraph
from calc_graph.judge import Hook, HostView, Judge, Reason, Verdict
from calc_graph.model import Key, Value
from dataplane.settings import FailsafePort, RenderSettings, Settings
from felixpy.datastore import builtin
from felixpy.datastore.decode import decode_documents
from felixpy.datastore.errors import InvalidResourceError
from felixpy.judging import judge_settings
from tests.kernel.conftest import enter
from tests.kernel.judge_lab import (
    BEYOND,
    BEYOND_NETS,
    SECOND_ADDRESSES,
    TO_BEYOND,
    TO_WORKLOAD,
    JudgeLab,
    Question,
    question,
)
from tests.kernel.packets_clusters import (
    LABELS,
    PROFILES,
    Manifest,
    Resources,
    add_policy,
    random_cluster,
    resource,
)
from tests.kernel.packets_lab import HOST_ADDRESSES, NODE, PLUGS
from tests.kernel.packets_questions import ELSEWHERE
from tests.kernel.packets_rules import ASKED_PORTS, ICMP_TYPES
from tests.oracle import HOST, OUTSIDE, Packet
from tests.oracle.packet import ICMP, SCTP, TCP, UDP

pytestmark = pytest.mark.kernel

SEEDS = range(int(os.environ.get("FELIXPY_JUDGE_SEEDS", "1")))
CLUSTERS = 6  # for each seed and way of being set up
QUESTIONS = 150
MADE = 4  # packets for each question
REPLIES = 40
SERVICES = BgpConfiguration(("9.9.9.0/24", "2001:db8::/64"))
FAILSAFE_PORTS = (22, 53, 67, 68, 179)
NEIGHBOURS = (130, 133, 135)

_USUAL = RenderSettings(
    failsafe_inbound=(FailsafePort("tcp", 22), FailsafePort("udp", 68), FailsafePort("tcp", 179)),
    failsafe_outbound=(FailsafePort("udp", 53), FailsafePort("udp", 67), FailsafePort("tcp", 179)),
)
_OPENSTACK = RenderSettings(
    filter_allow_action="RETURN",
    mangle_allow_action="RETURN",
    endpoint_to_host_action="RETURN",
    openstack=True,
    metadata_addr=str(HOST_ADDRESSES[4]),
    metadata_port=8055,
    failsafe_inbound=(
        FailsafePort("tcp", 22, "192.0.2.0/25"),
        FailsafePort("udp", 1000, "fd99::/64"),
    ),
    failsafe_outbound=(FailsafePort("udp", 53, "192.0.2.0/24"),),
    allow_vxlan_from_workloads=True,
)
_OPEN = RenderSettings(
    endpoint_to_host_action="ACCEPT",
    allow_ipip_from_workloads=True,
    service_loop_prevention="Disabled",
)
_RETURNING = RenderSettings(filter_allow_action="RETURN")
WAYS = {"usual": _USUAL, "openstack": _OPENSTACK, "open": _OPEN, "returning": _RETURNING}


@pytest.fixture
async def lab(tmp_path: Path, request: pytest.FixtureRequest) -> AsyncIterator[JudgeLab]:
    """The test runs in the node's namespace."""
    made = JudgeLab(tmp_path)
    home = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        made.build()
        enter(made.node.path)
        await made.start(settings_of(request.node.callspec.params["way"]))
        yield made
    finally:
        await made.stop()
        left = ctypes.CDLL(None).setns(home, 0)
        os.close(home)
        made.close()
        assert left == 0, "cannot leave the namespace of the node"


def settings_of(way: str) -> Settings:
    return Settings(NODE, render=WAYS[way], iptables_backend="nft", source_spoofing=way == "open")


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("seed", SEEDS, ids=lambda seed: f"seed-{seed}")
async def test_the_kernel_does_what_the_judge_says(lab: JudgeLab, seed: int, way: str) -> None:
    rng = random.Random(f"{seed} {way}")
    graph = CalcGraph(NODE)
    graph.in_sync()
    judge = Judge(judge_settings(settings_of(way)))
    known: dict[Key, Value] = {}
    for turn in range(CLUSTERS):
        cluster = with_host_endpoints(random_cluster(rng), rng)
        new = values_of(cluster)
        for key in known.keys() - new.keys():
            graph.update(key, None)
        for key, value in new.items():
            graph.update(key, value)
        known = new
        updates = graph.flush()
        judge.update(updates)
        await lab.told(updates)
        view = lab.view()
        questions = random_questions(rng, judge, view)
        where = f"seed {seed}, {way}, cluster {turn}"
        arrived = check(lab, judge, view, questions, where)
        replies = replies_to(questions, arrived, judge, view)
        check(lab, judge, view, replies, f"{where}, replies", fresh=False)


def check(
    lab: JudgeLab,
    judge: Judge,
    view: HostView,
    questions: list[Question],
    where: str,
    *,
    fresh: bool = True,
) -> list[str | None]:
    arrived = lab.arrived(questions, fresh=fresh)
    wrong = []
    for asked, place in zip(questions, arrived, strict=True):
        verdict = judge.judge(asked.flow, view)
        if verdict.allowed != (place is not None):
            wrong.append(f"{asked.packet}, {'arrived' if place else 'lost'}: {spoken(verdict)}")
    assert not wrong, f"{where}: {len(wrong)} of {len(questions)}:\n" + "\n".join(wrong[:20])
    return arrived


def spoken(verdict: Verdict) -> str:
    steps = (
        f"{s.hook.value} {s.interface} {s.endpoint}: {s.outcome} by {s.reason.name}"
        f" {s.tier} {s.policy or s.profile} rule {s.rule_index}"
        for s in verdict.path
    )
    return "allowed" * verdict.allowed + "\n    ".join(["", *steps])


# ---------------------------------------------------------------- clusters


def values_of(cluster: Resources) -> dict[Key, Value]:
    values: dict[Key, Value] = dict((builtin.DEFAULT_TIER, builtin.DEFAULT_ALLOW_PROFILE))
    values[BgpConfigurationKey("default")] = SERVICES
    for manifest in cluster.values():
        with suppress(InvalidResourceError):  # then it is not there for either of the two
            for made in decode_documents(manifest):
                values.update(made.changes)
    return values


def with_host_endpoints(cluster: Resources, rng: random.Random) -> Resources:
    """Endpoints of this node, and policies for them; workloads without the lab's marker, which has
    no profile here.
    """
    for key, manifest in cluster.items():
        if key[0] == "WorkloadEndpoint":
            spec = manifest["spec"]
            spec["profiles"] = [name for name in spec["profiles"] if name != "marker"]
            if rng.random() < 0.15:
                spec["allowSpoofedSourcePrefixes"] = ["192.0.2.0/24", "fd99::/64"]
    for _ in range(rng.randint(2, 6)):
        add_policy(cluster, rng)
    for key, manifest in cluster.items():
        if key[0].endswith("GlobalNetworkPolicy"):
            _for_hosts(manifest["spec"], rng)
    for name, place in (
        ("m-eth0", {"interfaceName": "eth0"}),
        ("n-addresses", {"expectedIPs": [str(SECOND_ADDRESSES[4])]}),
        ("o-addresses", {"expectedIPs": [str(HOST_ADDRESSES[6]), str(SECOND_ADDRESSES[6])]}),
        ("p-all", {"interfaceName": "*"}),
    ):
        if rng.random() < 0.4:
            cluster["HostEndpoint", "", name] = _host_endpoint(rng, name, place)
    return cluster


def _for_hosts(spec: Manifest, rng: random.Random) -> None:
    kind = rng.choice(("", "", "applyOnForward", "applyOnForward", "doNotTrack", "preDNAT"))
    if not kind:
        return
    spec.pop("namespaceSelector", None)
    spec.pop("serviceAccountSelector", None)
    if rng.random() < 0.5:
        spec["selector"] = "all()"
    spec["applyOnForward"] = spec[kind] = True
    if kind == "doNotTrack" and "egress" not in spec and rng.random() < 0.5:
        spec["egress"] = spec.pop("ingress", [{"action": "Allow"}])
        spec.pop("types", None)
    if kind == "preDNAT":
        spec.pop("egress", None)
        spec["types"] = ["Ingress"]
    for direction in ("ingress", "egress"):
        for rule in spec.get(direction, ()):
            rule.pop("http", None)


def _host_endpoint(rng: random.Random, name: str, place: Manifest) -> Manifest:
    labels = {label: rng.choice(values) for label, values in LABELS.items() if rng.random() < 0.6}
    profiles = rng.sample(PROFILES, rng.randint(0, 2))
    spec = {"node": NODE, "profiles": profiles, **place}
    return resource("HostEndpoint", "", name, spec, labels=labels)


# ---------------------------------------------------------------- packets


def random_questions(rng: random.Random, judge: Judge, view: HostView) -> list[Question]:
    """Those that are decided in different ways, and no two of one flow."""
    made: dict[Hashable, list[Question]] = {}
    for _ in range(QUESTIONS * MADE):
        asked = question(random_packet(rng), judge, view)
        if not asked.can_be_told:
            continue
        verdict = judge.judge(asked.flow, view)
        if asked.flow.translated and untracked(verdict):
            continue  # then nothing translates it, and it is another packet
        decided = tuple(
            (s.hook, s.interface, s.reason, s.policy, s.profile, s.rule_index) for s in verdict.path
        )
        made.setdefault(decided, []).append(asked)
    taken: dict[Hashable, Question] = {}
    for turn in zip_longest(*made.values()):
        for asked in turn:
            if asked is not None and len(taken) < QUESTIONS:
                taken.setdefault(_flow(asked), asked)
    return list(taken.values())


def untracked(verdict: Verdict) -> bool:
    return any(
        step.hook in (Hook.RAW_PREROUTING, Hook.RAW_OUTPUT)
        and step.outcome == "allow"
        and step.reason is Reason.POLICY
        for step in verdict.path
    )


def _flow(asked: Question) -> Hashable:
    """What connection tracking tells flows apart by, before translation and after."""
    packet = asked.packet
    if packet.is_icmp:
        return packet
    ports = (packet.source_port, packet.destination_port)
    if packet.destination in (*TO_WORKLOAD.values(), *TO_BEYOND.values()):
        return packet.protocol, packet.source, ports
    if packet.protocol in (TCP, UDP):
        ends = zip((packet.source, packet.destination), ports, strict=True)
        return packet.protocol, frozenset(ends)
    return packet.protocol, frozenset((packet.source, packet.destination))


def random_packet(rng: random.Random) -> Packet:
    family = rng.choice((4, 4, 4, 6, 6))
    plug = rng.choice(list(PLUGS.values()))
    enters = rng.choices((plug.interface, OUTSIDE, BEYOND, HOST), (35, 30, 15, 20))[0]
    outside = [a for a in ELSEWHERE[family] if not any(a in net for net in BEYOND_NETS)]
    beyond = [a for a in ELSEWHERE[family] if a not in outside]
    own = (HOST_ADDRESSES[family], SECOND_ADDRESSES[family])
    sources = {OUTSIDE: outside, BEYOND: beyond, HOST: own[:1]}
    source = rng.choice(sources.get(enters, [plug.addresses[family]]))
    if enters == plug.interface and rng.random() < 0.05:
        source = rng.choice([*ELSEWHERE[family], own[0]])
    targets = {
        "workload": [p.addresses[family] for p in PLUGS.values() if p.interface != enters],
        "host": list(own),
        OUTSIDE: outside,
        BEYOND: beyond,
        "translated": [TO_WORKLOAD[family], TO_BEYOND[family]],
    }
    weights = {"workload": 30, "host": 25, OUTSIDE: 20, BEYOND: 15, "translated": 10}
    if enters in (OUTSIDE, BEYOND):
        del targets[enters], weights[enters]
    where = rng.choices(list(weights), list(weights.values()))[0]
    destination = rng.choice(targets[where])
    if enters == BEYOND and destination == TO_BEYOND[family]:
        destination = TO_WORKLOAD[family]
    return _with_protocol(rng, Packet(enters, source, destination, 0), where == "translated")


def _with_protocol(rng: random.Random, packet: Packet, translated: bool) -> Packet:
    weights = (50, 50, 0, 0, 0) if translated else (36, 32, 6, 14, 12)
    kind = rng.choices((TCP, UDP, SCTP, "icmp", "other"), weights)[0]
    if kind == "other":
        return packet._replace(protocol=rng.choice((253, 254, 89, 103, 4)))
    if kind == "icmp":
        types: Iterable[int] = (
            *ICMP_TYPES[packet.family],
            *(NEIGHBOURS if packet.family == 6 else ()),
        )
        return packet._replace(
            protocol=ICMP[packet.family],
            icmp_type=rng.choice(list(types)),
            icmp_code=rng.randint(0, 1),
        )
    ports = (*ASKED_PORTS, *FAILSAFE_PORTS, rng.randint(1, 65535))
    return packet._replace(
        protocol=int(kind), source_port=rng.choice(ports), destination_port=rng.choice(ports)
    )


def replies_to(
    questions: list[Question], arrived: list[str | None], judge: Judge, view: HostView
) -> list[Question]:
    """Parts of flows that connection tracking knows, unless it was told to look away."""
    enters = {name: plug.interface for name, plug in PLUGS.items()}
    replies = []
    for asked, place in zip(questions, arrived, strict=True):
        packet = asked.packet
        if place is None or packet.protocol != UDP or asked.flow.translated:
            continue
        tracked = not untracked(judge.judge(asked.flow, view))
        back = Packet(
            enters.get(place, place),
            packet.destination,
            packet.source,
            UDP,
            packet.destination_port,
            packet.source_port,
        )
        reply = question(back, judge, view, established=tracked)
        if place == HOST and packet.destination != HOST_ADDRESSES[packet.family]:
            continue  # it leaves by the interface of another address
        replies.append(reply)
    return replies[:REPLIES]
