"""What must be encrypted goes so or not at all, and what leaves in clear is counted."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Any, Literal

import pytest
from msgspec import structs

from calc_graph.model import IpPool
from calc_graph.updates import PoolUpdate, RouteRemove
from dataplane.clear_packets import read_clear_packets
from dataplane.settings import Settings, WireguardSettings
from tests.dataplane.desired.builders import ALLOW, hep, policy, tier
from tests.kernel.conftest import Namespace
from tests.kernel.encryption_lab import (
    BLOCK,
    CABLES,
    FAMILIES,
    FAR,
    W1,
    EncryptionLab,
    heard,
    remote,
    stopped,
)
from tests.kernel.test_dataplane import OPEN, endpoint

pytestmark = pytest.mark.kernel

BOTH = {4, 6}
IN, OUT = "came in clear", "to leave in clear"
SETTINGS = Settings("n1", iptables_backend="nft")
ENCRYPTED = policy("p", ALLOW, encrypted=True)
PLAIN = policy("p", ALLOW)
MESHED = structs.replace(SETTINGS, wireguard=WireguardSettings(families=frozenset(FAMILIES)))


@pytest.fixture
async def lab(inside: Namespace, netns: Callable[[str], Namespace]) -> AsyncIterator[EncryptionLab]:
    lab = EncryptionLab(inside, netns)
    yield lab
    await lab.close()


def pings(space: Namespace, targets: dict[Literal[4, 6], str]) -> set[int]:
    return {
        family
        for family, target in targets.items()
        if " 0% packet loss" in space.run(f"ping -c1 -W0.3 {target}; true", check=False)
    }


@pytest.mark.parametrize("backend", ["nft", "legacy"])
async def test_a_flow_from_a_workload_goes_encrypted_both_ways_or_ends(
    lab: EncryptionLab, backend: Literal["nft", "legacy"]
) -> None:
    await lab.start(structs.replace(SETTINGS, iptables_backend=backend))
    await lab.told(OPEN, ENCRYPTED, endpoint(1, "p"), endpoint(2))
    lab.echo(lab.far)
    lab.lead("mesh", "mesh")
    flows = lab.talks(lab.workloads[1], FAR)
    others = lab.talks(lab.workloads[2], FAR)
    assert heard(flows) == heard(others) == BOTH
    assert await stopped() == {}
    lab.lead("mesh", "clear")
    assert heard(flows) == set()
    assert await stopped() == {IN: BOTH}
    lab.lead("clear", "clear")
    assert heard(flows) == set()
    assert heard(lab.talks(lab.workloads[1], FAR)) == set()
    assert await stopped() == {IN: BOTH, OUT: BOTH}
    assert heard(others) == BOTH  # no policy asks it of these
    lab.lead("mesh", "mesh")
    assert heard(flows) == BOTH


async def test_a_flow_to_a_workload_comes_encrypted_or_not_at_all(lab: EncryptionLab) -> None:
    await lab.start(SETTINGS)
    await lab.told(OPEN, ENCRYPTED, endpoint(1, "p"))
    lab.echo(lab.workloads[1])
    lab.lead("clear", "clear")
    assert heard(lab.talks(lab.far, W1)) == set()
    assert await stopped() == {IN: BOTH}
    lab.lead("mesh", "mesh")
    flows = lab.talks(lab.far, W1)
    assert heard(flows) == BOTH
    lab.lead("clear", "mesh")
    assert heard(flows) == set()
    assert await stopped() == {IN: BOTH, OUT: BOTH}


async def test_what_stays_on_the_host_needs_no_encryption(lab: EncryptionLab) -> None:
    render = structs.replace(SETTINGS.render, endpoint_to_host_action="ACCEPT")
    await lab.start(structs.replace(SETTINGS, render=render))
    pools = [PoolUpdate(IpPool(net, encrypted=True)) for net in ("10.65.0.0/16", "fd65::/16")]
    await lab.told(OPEN, ENCRYPTED, endpoint(1, "p"), endpoint(2, "p"), *pools)
    assert lab.both(1, 2) == lab.both(2, 1) == BOTH
    host = {family: ends[0] for family, ends in CABLES["clear"].items()}
    assert pings(lab.workloads[1], host) == pings(lab.node, W1) == BOTH
    assert await stopped() == {}


async def test_between_encrypted_pools_without_any_policy(lab: EncryptionLab) -> None:
    await lab.start(SETTINGS)
    await lab.told(OPEN, endpoint(1), endpoint(2))
    assert "connmark" not in lab.node.saved()
    lab.lead("clear", "clear")
    lab.echo(lab.far)
    flows = lab.talks(lab.workloads[1], FAR)
    assert heard(flows) == BOTH
    pools = [IpPool(net) for net in ("10.65.0.0/16", "fd65::/16")]
    encrypted = [PoolUpdate(structs.replace(pool, encrypted=True)) for pool in pools]
    await lab.told(*encrypted)
    assert heard(flows) == set()
    assert await stopped() == {OUT: BOTH}
    outside = {family: ends[1] for family, ends in CABLES["clear"].items()}
    assert pings(lab.workloads[1], outside) == BOTH  # what is in no such pool
    lab.lead("mesh", "mesh")
    assert heard(flows) == BOTH
    lab.lead("clear", "clear")
    await lab.told(*map(PoolUpdate, pools))
    assert heard(flows) == BOTH
    assert "encrypted" not in lab.node.saved() + lab.node.run("ipset list -n")


async def test_policy_of_the_host_tracked_and_untracked(lab: EncryptionLab) -> None:
    await lab.start(SETTINGS)
    lab.lead("clear", "clear")
    clear = {family: ends[1] for family, ends in CABLES["clear"].items()}
    mesh = {family: ends[1] for family, ends in CABLES["mesh"].items()}
    for applied in ("tiers", "untracked"):
        governed: dict[str, Any] = {applied: [tier("p")]}
        ends = [hep(name, name, **governed) for name in ("eth0", "wireguard.cali", "wg-v6.cali")]
        await lab.told(PLAIN, *ends)
        assert pings(lab.node, clear) == pings(lab.node, mesh) == BOTH
        await lab.told(ENCRYPTED)
        assert pings(lab.node, clear) == set()
        assert pings(lab.far, {f: CABLES["clear"][f][0] for f in FAMILIES}) == set()
        assert pings(lab.node, mesh) == BOTH
        assert await stopped() == {IN: BOTH, OUT: BOTH}


# ---------------------------------------------------------------- what leaves in clear


async def counted() -> dict[str, int]:
    """Packets by net, of all that have any."""
    found = await read_clear_packets(FAMILIES)
    return {net: n for nets in found.values() for net, (n, _) in nets.items() if n}


async def test_what_leaves_in_clear_is_counted_by_net_beyond_a_restart(lab: EncryptionLab) -> None:
    lab.node.run("ip link del wireguard.cali; ip link del wg-v6.cali")
    lab.lead("clear", "clear")
    state = [OPEN, endpoint(1), endpoint(2), *remote()]
    await lab.start(MESHED)
    assert lab.dataplane is not None
    lab.dataplane.desire(state)
    await lab.settle()
    assert await counted() == {}
    assert lab.both(1, 2) == BOTH
    clear = {family: ends[1] for family, ends in CABLES["clear"].items()}
    assert pings(lab.node, clear) == BOTH  # hosts among themselves
    assert await counted() == {}
    assert pings(lab.workloads[1], FAR) == BOTH
    assert await counted() == dict.fromkeys(BLOCK.values(), 1)
    assert pings(lab.node, FAR) == BOTH
    assert await counted() == dict.fromkeys(BLOCK.values(), 2)
    single = "10.65.9.9/32", "fd65:0:0:9::9/128"  # now they belong to a third node
    lab.dataplane.desire(remote(*single))
    await lab.settle()
    assert pings(lab.workloads[1], FAR) == BOTH
    assert await counted() == dict.fromkeys(BLOCK.values(), 2) | dict.fromkeys(single, 1)

    await lab.start(MESHED)
    lab.dataplane.desire([*state, *remote(*single)])
    await lab.settle()
    assert await counted() == dict.fromkeys(BLOCK.values(), 2) | dict.fromkeys(single, 1)
    lab.dataplane.desire(map(RouteRemove, single))
    await lab.settle()
    assert await counted() == dict.fromkeys(BLOCK.values(), 2)
    assert await read_clear_packets((4,)) == {4: {BLOCK[4]: (2, 2 * 84)}}


async def test_what_leaves_by_the_device_is_not_counted(lab: EncryptionLab) -> None:
    """And what goes to a neighbour is not, whatever the datastore says of its address."""
    lab.lead("mesh", "mesh")
    await lab.start(MESHED)
    assert lab.dataplane is not None
    lab.dataplane.desire([OPEN, endpoint(1), endpoint(2), *remote("10.65.0.2/32", "fd65::2/128")])
    await lab.settle()
    assert pings(lab.workloads[1], FAR) == lab.both(1, 2) == BOTH
    assert await counted() == {}
    lab.lead("clear", "mesh")
    assert pings(lab.workloads[1], FAR) == BOTH
    assert await counted() == dict.fromkeys(BLOCK.values(), 1)


async def test_off_there_is_no_set(lab: EncryptionLab) -> None:
    await lab.start(SETTINGS)
    await lab.told(OPEN, endpoint(1), *remote())
    assert await read_clear_packets(FAMILIES) == {4: {}, 6: {}}
