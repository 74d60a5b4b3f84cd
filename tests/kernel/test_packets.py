"""Random small clusters and random packets: the kernel's verdict against that of a plain reading of
the policy (tests/oracle).

One agent lives through all of it, so that what is tested is mostly how it gets from one state to
the next.  FELIXPY_PACKET_SEEDS=100 asks for more clusters.  A seed stands for the same clusters and
packets each time; a failure that does not come back with its seed alone lies on the way from the
clusters before it.
"""

from __future__ import annotations

import os
import random
import time
from collections.abc import Iterator, Sequence

import pytest
import yaml

from tests.kernel.packets_clusters import Resources, change, random_cluster
from tests.kernel.packets_lab import HOST_ADDRESSES, NODE, PLUGS, Lab, marker
from tests.kernel.packets_questions import random_packets
from tests.oracle import OUTSIDE, Cluster, Packet, Settings, Verdict, judge, read_cluster
from tests.oracle.packet import UDP

pytestmark = pytest.mark.kernel

SEEDS = range(int(os.environ.get("FELIXPY_PACKET_SEEDS", "6")))
CLUSTERS = 5  # for each seed
CHANGES = 3  # to each cluster
PACKETS = 150  # asked of each state
REPLIES = 40
SETTLING = (0.0, 0.2, 1.0, 2.0)  # seconds before it is asked again what came out wrong
MINIMISING = 20.0  # seconds
SETTINGS = Settings(frozenset(HOST_ADDRESSES.values()))


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    made = Lab(tmp_path_factory.mktemp("packets"))
    try:
        made.build()
        made.start_agent()
        yield made
    finally:
        made.close()


def _read(resources: Resources) -> Cluster:
    # the marker's number is of no consequence
    return read_cluster([*resources.values(), marker(0)], NODE)


def expected(resources: Resources, packets: Sequence[Packet]) -> list[Verdict]:
    cluster = _read(resources)
    return [judge(cluster, packet, SETTINGS) for packet in packets]


@pytest.mark.parametrize("seed", SEEDS, ids=lambda seed: f"seed-{seed}")
def test_the_kernel_does_what_the_policy_says(lab: Lab, seed: int) -> None:
    rng = random.Random(seed)
    done = []
    for _ in range(CLUSTERS):
        resources = random_cluster(rng)
        done.append("a new cluster")
        replies_come_back(lab, agrees(lab, seed, done, resources, rng))
        for _ in range(CHANGES):
            done += [change(resources, rng) for _ in range(rng.randint(1, 3))]
            agrees(lab, seed, done, resources, rng)


def agrees(
    lab: Lab, seed: int, done: Sequence[str], resources: Resources, rng: random.Random
) -> list[Packet]:
    """The packets that were asked."""
    packets = questions(resources, rng)
    lab.apply(resources)
    assert not lab.complaints(), f"seed {seed}, {done}: " + "\n".join(lab.complaints())
    wrong = persistently_wrong(lab, resources, packets)
    if wrong:
        pytest.fail(explain(lab, seed, done, resources, wrong), pytrace=False)
    return packets


def questions(resources: Resources, rng: random.Random) -> list[Packet]:
    cluster = _read(resources)
    packets = random_packets(rng, PACKETS, lambda packet: judge(cluster, packet, SETTINGS).who)
    return tellable(resources, packets)


def tellable(resources: Resources, packets: Sequence[Packet]) -> list[Packet]:
    """Without those that come from outside and, having no owner here, are sent back there."""
    owned = {*HOST_ADDRESSES.values()}
    for name, plug in PLUGS.items():
        if ("WorkloadEndpoint", "", name) in resources:
            owned.update(plug.addresses.values())
    return [p for p in packets if p.enters != OUTSIDE or p.destination in owned]


def persistently_wrong(
    lab: Lab,
    resources: Resources,
    packets: Sequence[Packet],
    settling: Sequence[float] = SETTLING,
) -> list[tuple[Packet, Verdict]]:
    """The packets whose fate is not the expected one, and does not become it."""
    wrong = list(zip(packets, expected(resources, packets), strict=True))
    for seconds in settling:
        time.sleep(seconds)
        arrived = lab.ask([packet for packet, _ in wrong])
        wrong = [
            (packet, verdict)
            for (packet, verdict), place in zip(wrong, arrived, strict=True)
            if verdict.allowed != (place is not None)
        ]
        if not wrong:
            break
    return wrong


def replies_come_back(lab: Lab, packets: Sequence[Packet]) -> None:
    """Whatever policy says of the other direction: what was let through may be answered."""
    asked = [packet for packet in packets if packet.protocol == UDP]
    arrived = lab.ask(asked)
    interfaces = {OUTSIDE: OUTSIDE} | {name: plug.interface for name, plug in PLUGS.items()}
    replies = [
        Packet(
            interfaces[place],
            packet.destination,
            packet.source,
            UDP,
            packet.destination_port,
            packet.source_port,
        )
        for packet, place in zip(asked, arrived, strict=True)
        if place in interfaces
    ][:REPLIES]
    lost = [
        str(reply) for reply, place in zip(replies, lab.send(replies), strict=True) if place is None
    ]
    assert not lost, f"replies were dropped: {lost}"


# ---------------------------------------------------------------- what is said when it fails


def explain(
    lab: Lab,
    seed: int,
    done: Sequence[str],
    resources: Resources,
    wrong: Sequence[tuple[Packet, Verdict]],
) -> str:
    packet, verdict = wrong[0]
    smaller = minimised(lab, resources, packet)
    verdict = expected(smaller, [packet])[0]
    manifests = "---\n".join(
        yaml.safe_dump(manifest, sort_keys=False) for manifest in [*smaller.values(), marker(0)]
    )
    names = {name for _, _, name in smaller} | {"cali-fw-", "cali-tw-", "cali-p"}
    return "\n".join(
        [
            f"seed {seed}, after {'; '.join(done)}: {len(wrong)} packets, of which the first is",
            f"    {packet}",
            f"expected {'allowed' if verdict.allowed else 'dropped'}: {verdict.who}",
            f"but it {'was dropped' if verdict.allowed else 'arrived'}",
            *(f"    and {other}: {v.allowed} by {v.who}" for other, v in wrong[1:10]),
            "with these manifests:",
            manifests,
            "in the kernel:",
            lab.tables(sorted(names)),
        ]
    )


def minimised(lab: Lab, resources: Resources, packet: Packet) -> Resources:
    """As few resources as the packet is still treated wrongly with; not for ever."""
    deadline = time.monotonic() + MINIMISING
    smaller = dict(resources)
    # policies first: they say the most
    for key in sorted(resources, key=lambda key: not key[0].endswith("NetworkPolicy")):
        if time.monotonic() > deadline:
            break
        without = {other: manifest for other, manifest in smaller.items() if other != key}
        lab.apply(without)
        still_there = tellable(without, [packet])
        if persistently_wrong(lab, without, still_there, settling=(0.0, 0.3)):
            smaller = without
    lab.apply(smaller)
    return smaller
