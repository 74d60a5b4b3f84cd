"""Who asks how a node is: what a real BIRD says, and in a real etcd the answer stands in the
resource, of which nothing else has changed.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import pytest

from dataplane.bird.settings import BirdSettings
from felixpy.bgp.node_facts import BirdFacts
from felixpy.datastore.etcd_keys import resource_key
from felixpy.etcd.client import EtcdClient
from felixpy.etcd.errors import ContendedError
from felixpy.etcd.member import Interval, Member
from felixpy.etcd.revising import revise
from felixpy.etcd.settings import Endpoint, EtcdSettings
from felixpy.statusrep.etcd import EtcdStatusStore
from felixpy.statusrep.node_facts import LearnedFrom, NodeFacts
from tests.kernel.agent_lab import eventually
from tests.kernel.conftest import Namespace
from tests.kernel.etcd_lab import PORT, Cluster, within

pytestmark = pytest.mark.kernel

KEY = resource_key("CalicoNodeStatus", "n1")
SPEC = {"node": "n1", "classes": ["BGP"], "updatePeriodSeconds": 10}
T = TypeVar("T")


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with Cluster(tmp_path_factory.mktemp("etcd"), members=1) as cluster:
        yield cluster


def ask(cluster: Cluster, work: Callable[[EtcdClient, Member], Awaitable[T]]) -> T:
    async def connected() -> T:
        endpoint = Endpoint(cluster.address(1), PORT)
        client = EtcdClient(EtcdSettings((endpoint,), tls=False), "n1")
        try:
            return await work(client, await client.member())
        finally:
            client.close()

    with within(cluster.hosts[1]):
        return asyncio.run(connected())


async def value_of(member: Member, key: str) -> Any:
    pairs = (await member.range(Interval(key.encode()))).pairs
    return json.loads(pairs[0].value) if pairs else None


# What the daemon has nobody for, it still says in all the words there are.
BIRD = """
router id 10.0.0.1;
timeformat base iso long; timeformat log iso long;
timeformat protocol iso long; timeformat route iso long;
protocol device { scan time 1; }
protocol direct { ipv4; ipv6; }
protocol static own4 { ipv4; route 10.65.1.0/26 blackhole; }
protocol kernel kernel4 { learn; scan time 1; ipv4 { import all; export none; }; }
protocol bgp Mesh_10_0_0_2 {
  local 10.0.0.1 as 64512; neighbor 10.0.0.2 as 64512;
  ipv4 { import all; export all; };
}
protocol bgp Global_fd00__254 {
  disabled; local fd00::1 as 64512; neighbor fd00::254 as 65001;
  ipv6 { import all; export none; };
}
"""


def test_what_a_daemon_says(inside: Namespace, tmp_path: Path) -> None:
    inside.run(
        "ip link add d0 type veth peer name d1 && ip link set d1 up && ip link set d0 up"
        " && ip addr add 10.0.0.1/24 dev d0"
    )
    inside.run("ip route add 10.65.1.2/32 dev d0 proto 80")
    configuration, socket = tmp_path / "bird.conf", tmp_path / "bird.ctl"
    configuration.write_text(BIRD)
    inside.start("bird", "-f", "-c", str(configuration), "-s", str(socket))
    bird = BirdFacts(BirdSettings(control_socket=socket))

    def look() -> NodeFacts:
        return asyncio.run(bird.facts(("Agent", "BGP", "Routes")))

    eventually(lambda: len(_routes(look())) == 3, "the daemon's routes")
    facts = look()
    assert facts.agent is not None
    daemon = facts.agent.bird_v4
    assert (daemon, daemon.state, daemon.router_id) == (facts.agent.bird_v6, "Ready", "10.0.0.1")
    assert all((daemon.version, daemon.last_boot_time, daemon.last_reconfiguration_time))
    assert facts.bgp is not None
    (mesh,), (tor,) = facts.bgp.peers_v4, facts.bgp.peers_v6
    assert (mesh.peer_ip, mesh.type) == ("10.0.0.2", "NodeMesh")
    assert mesh.state in ("Idle", "Connect", "Active")
    assert (tor.type, tor.state) == ("GlobalPeer", "Idle")
    assert (facts.bgp.number_not_established_v4, facts.bgp.number_not_established_v6) == (1, 1)
    assert _routes(facts) == {
        "10.0.0.0/24": ("FIB", "N/A", "d0", LearnedFrom("Direct")),
        "10.65.1.0/26": ("FIB", "N/A", "blackhole", LearnedFrom("Static")),
        "10.65.1.2/32": ("FIB", "N/A", "d0", LearnedFrom("Kernel")),
    }


def _routes(facts: NodeFacts) -> dict[str, object]:
    found = facts.routes.routes_v4 if facts.routes else ()
    return {
        each.destination: (each.type, each.gateway, each.interface, each.learned_from)
        for each in found
    }


def test_transactions(cluster: Cluster) -> None:
    async def work(_: EtcdClient, member: Member) -> None:
        key = b"/test/key"
        assert await member.put_if(key, b"1", 0)
        assert not await member.put_if(key, b"2", 0)
        (pair,) = (await member.range(Interval(key))).pairs
        assert await member.put_if(key, b"2", pair.revision)
        assert not await member.put_if(key, b"3", pair.revision)
        assert not await member.delete_if(key, pair.revision)
        (pair,) = (await member.range(Interval(key))).pairs
        assert pair.value == b"2"
        assert await member.delete_if(key, pair.revision)
        assert (await member.range(Interval(key))).pairs == []
        assert not await member.put_if(key, b"4", pair.revision)

    ask(cluster, work)


def test_who_is_faster_loses_nothing(cluster: Cluster) -> None:
    async def work(_: EtcdClient, member: Member) -> None:
        key = b"/test/counter"
        await member.put(key, b"0")

        async def count() -> None:
            while True:
                try:
                    await revise(member, key, lambda old: str(int(old) + 1).encode())
                except ContendedError:
                    continue
                return

        await asyncio.gather(*(count() for _ in range(10)))
        (pair,) = (await member.range(Interval(key))).pairs
        assert pair.value == b"10"

    ask(cluster, work)


def test_an_answer_changes_nothing_else_and_makes_nothing_anew(cluster: Cluster) -> None:
    resource = {"metadata": {"name": "n1", "uid": "7"}, "spec": SPEC, "tomorrow": [1.5, None]}
    cluster.put(KEY, json.dumps(resource))

    async def work(client: EtcdClient, member: Member) -> None:
        store = EtcdStatusStore(client)
        for moment in ("2026-01-05T00:00:00Z", "2026-01-05T00:00:10Z"):
            status = {"lastUpdated": moment}
            assert await store.answer(KEY, b"{}", json.dumps(status).encode())
            assert await value_of(member, KEY) == {**resource, "status": status}
        await member.delete(KEY.encode())
        assert not await store.answer(KEY, b"{}", b"{}")
        assert await value_of(member, KEY) is None

    ask(cluster, work)


def test_a_role_for_bgp_suffices_for_it(cluster: Cluster) -> None:
    """A comparison asks for the right to read, a put for that to write."""
    cluster.put(KEY, json.dumps({"spec": SPEC}))
    cluster.ask_for_passwords("root")
    try:
        cluster.add_user("agent", "secret", KEY.rpartition("/")[0] + "/")

        async def work() -> None:
            endpoint = Endpoint(cluster.address(1), PORT)
            settings = EtcdSettings((endpoint,), tls=False, username="agent", password="secret")
            client = EtcdClient(settings, "n1")
            await client.member()
            assert await EtcdStatusStore(client).answer(KEY, b"{}", b'{"a":1}')
            client.close()

        with within(cluster.hosts[1]):
            asyncio.run(work())
    finally:
        cluster.ask_for_no_passwords()
