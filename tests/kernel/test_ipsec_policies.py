"""IPsec of a node against a kernel that has policies, and perhaps no ESP: closed, adopted, left.

Seen by ip.  What needs states is in the guest.
"""

from __future__ import annotations

import asyncio
import re
import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from typing import Any, Final

import pytest
from msgspec import structs

from calc_graph.model import IpPool, IpsecNode, IpsecPeering
from calc_graph.updates import HostUpdate, IpsecPeer, PoolUpdate, RouteType, RouteUpdate
from dataplane.errors import DataplaneError
from dataplane.families import Family
from dataplane.interfaces import InterfaceMonitor
from dataplane.ipsec.ipsec import Ipsec
from dataplane.ipsec.keys import Algorithm, Key, KeyRing
from dataplane.ipsec.life import new_life
from dataplane.ipsec.sweep import sweep
from dataplane.settings import IpsecSettings, Settings
from tests.kernel.conftest import Namespace

pytestmark = pytest.mark.kernel

GCM = Algorithm(aead="rfc4106(gcm(aes))", icv_bits=128)
NODES: dict[Family, tuple[str, str]] = {
    4: ("192.168.77.1", "192.168.77.2"),
    6: ("fd77::1", "fd77::2"),
}
NETS: dict[Family, tuple[str, str, str]] = {
    4: ("10.60.0.0/16", "10.60.1.0/26", "10.60.2.0/26"),
    6: ("fd60::/48", "fd60:0:0:1::/64", "fd60:0:0:2::/64"),
}
FOREIGN: dict[Family, str] = {
    4: "ip xfrm policy add src 10.1.0.0/16 dst 10.2.0.0/16 dir out priority 287712 "
    "tmpl src 192.168.77.1 dst 192.0.2.1 proto esp reqid 1 mode tunnel",
    6: "ip xfrm policy add src fd01::/64 dst fd02::/64 dir out priority 287712 "
    "tmpl src fd77::1 dst fd0f::1 proto esp reqid 1 mode tunnel",
}
POLICY_GROUP: Final = 4
LIFE = new_life("n1", bytes(16))


class Witness:
    """Messages about policies that the kernel sends to everybody."""

    def __init__(self) -> None:
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 6)
        self._socket.bind((0, 1 << (POLICY_GROUP - 1)))
        self._socket.setblocking(False)

    def seen(self) -> int:
        """How many, since this was asked last."""
        count = 0
        while True:
            try:
                data = self._socket.recv(1 << 16)
            except BlockingIOError:
                return count
            while data:
                length = struct.unpack_from("=I", data)[0]
                count += 1
                data = data[length + -length % 4 :]

    def close(self) -> None:
        self._socket.close()


class Node:
    def __init__(self, family: Family, inside: Namespace, settings: Settings) -> None:
        self.family: Family = family
        self.inside = inside
        self.settings = settings
        self.monitor = InterfaceMonitor(settings)
        self.ipsec = Ipsec([family], settings)
        self.ipsec.watch_routes(self.monitor)
        self.failures: dict[str, str] = {}

    async def start(self) -> None:
        for name, interface in (await self.monitor.start()).items():
            self.ipsec.interface_changed(name, interface)

    def told(self) -> None:
        """A pool, a block of this node and one of another, which has taken us in."""
        pool, own, net = NETS[self.family]
        here, there = NODES[self.family]
        ends = ("", here) if self.family == 6 else (here, "")
        others = ("", there) if self.family == 6 else (there, "")
        self.ipsec.offer_life(LIFE)
        ring = KeyRing([Key(3, GCM, bytearray(range(20)))])
        self.ipsec.offer_keys(ring)
        self.ipsec.update(HostUpdate("n1", *ends))
        self.ipsec.update(HostUpdate("n2", *others))
        self.ipsec.update(PoolUpdate(IpPool(pool)))
        self.ipsec.update(RouteUpdate(own, RouteType.LOCAL_WORKLOAD, "none", "n1", here))
        self.ipsec.update(RouteUpdate(net, RouteType.REMOTE_WORKLOAD, "none", "n2", there))
        end = IpsecNode(
            enabled=True,
            tag=0xBBBBBB,
            boot="b" * 32,
            receive=ring.checks,
            peers={"n1": IpsecPeering(LIFE.tag)},
            ipv4=others[0],
            ipv6=others[1],
        )
        self.ipsec.update(IpsecPeer("n2", end))

    async def apply(self) -> bool:
        """Whether ways to other nodes may open."""
        self.failures.clear()
        opens = await self.ipsec.before(self.family, self.step)
        await self.ipsec.after(self.family, self.step)
        return opens

    async def step(self, name: str, work: Coroutine[Any, Any, None]) -> bool:
        try:
            await work
        except DataplaneError as error:
            self.failures[name] = str(error)
            return False
        return True

    def policies(self) -> set[str]:
        """As ip shows them, each in one line."""
        shown = self.inside.run(f"ip -{self.family} xfrm policy")
        blocks = re.split(r"\n(?=src )", shown.strip())
        return {re.sub(r"\s+", " ", block).strip() for block in blocks if block}

    def close(self) -> None:
        self.monitor.close()
        self.ipsec.close()


MakeNode = Callable[..., Awaitable[Node]]


@pytest.fixture(params=[4, 6], ids=["IPv4", "IPv6"])
async def make_node(
    request: pytest.FixtureRequest,
    inside: Namespace,
    netns: Callable[[str], Namespace],
    veth: Callable[[Namespace, str, Namespace, str], None],
) -> AsyncIterator[MakeNode]:
    family: Family = request.param
    veth(inside, "eth0", netns("peer"), "eth0")
    length, nodad = (64, " nodad") if family == 6 else (24, "")
    inside.run(f"ip -{family} addr add {NODES[family][0]}/{length} dev eth0{nodad}")
    made: list[Node] = []

    async def make(*, on: bool = True) -> Node:
        families = frozenset({family}) if on else frozenset[Family]()
        settings = Settings("n1", ipsec=IpsecSettings(families=families))
        node = Node(family, inside, settings)
        made.append(node)
        await node.start()
        return node

    yield make
    for node in made:
        node.close()


async def test_what_has_no_state_yet_is_closed_and_only_that(make_node: MakeNode) -> None:
    node = await make_node()
    node.inside.run(FOREIGN[node.family])
    theirs = node.policies()
    node.told()
    assert await node.apply()
    net = NETS[node.family][2]
    here, there = NODES[node.family]
    everywhere = "::/0" if node.family == 6 else "0.0.0.0/0"
    bits = 128 if node.family == 6 else 32
    priority = 1000 + bits - int(net.partition("/")[2])
    found = node.policies()
    assert theirs < found
    template = f"tmpl src {there} dst {here} proto esp reqid 1 mode tunnel"
    closed = f"src {everywhere} dst {net} dir out action block priority {priority}"
    assert {
        closed,
        f"src {net} dst {everywhere} dir in priority {priority} {template}",
        f"src {net} dst {everywhere} dir fwd priority {priority} {template}",
    } <= {line.replace(" ptype main", "") for line in found}


async def test_after_a_restart_not_one_message_is_sent(make_node: MakeNode) -> None:
    node = await make_node()
    node.told()
    await node.apply()
    before = node.policies()
    witness = Witness()
    again = await make_node()
    again.told()
    await again.apply()
    await again.apply()
    assert (again.policies(), witness.seen()) == (before, 0)
    node.inside.run("ip xfrm policy flush")
    assert witness.seen() > 0
    witness.close()


async def test_a_flush_by_somebody_else_is_heard_of_and_repaired(make_node: MakeNode) -> None:
    node = await make_node()
    node.told()
    await node.apply()
    before = node.policies()
    look = asyncio.create_task(node.ipsec.checks()["IPsec notices"].check())
    while not look.done() and node.policies() == before:
        await asyncio.sleep(0.01)
        node.inside.run("ip xfrm policy flush")
    async with asyncio.timeout(10):
        assert await look
    await node.apply()
    assert node.policies() == before


async def test_a_change_costs_its_own_messages_alone(make_node: MakeNode) -> None:
    node = await make_node()
    node.told()
    await node.apply()
    witness = Witness()
    net = NETS[node.family][2].replace("2.0/", "3.0/").replace("2::/", "3::/")
    node.ipsec.update(
        RouteUpdate(net, RouteType.REMOTE_WORKLOAD, "none", "n2", NODES[node.family][1])
    )
    await node.apply()
    assert witness.seen() == 3
    await node.apply()
    assert witness.seen() == 0
    witness.close()


async def test_an_agent_without_it_takes_it_all_away_and_nothing_else(
    make_node: MakeNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    node = await make_node()
    node.inside.run(FOREIGN[node.family])
    theirs = node.policies()
    node.told()
    await node.apply()
    off = await make_node(on=False)
    await off.ipsec.find_leftovers()
    assert off.ipsec.going == {node.family}
    loop = asyncio.get_running_loop()
    now = loop.time
    for later in (0, 100, 200, 300):
        monkeypatch.setattr(loop, "time", lambda late=later: now() + late)
        await off.apply()
    assert off.failures == {}
    assert off.policies() == theirs
    assert off.ipsec.going == frozenset()
    assert "lookup 200" not in off.inside.run(f"ip -{node.family} rule")


async def test_cleanup_takes_it_all_away_and_nothing_else(make_node: MakeNode) -> None:
    node = await make_node()
    node.inside.run(FOREIGN[node.family])
    theirs = node.policies()
    node.told()
    await node.apply()
    count = len(node.policies()) - 1
    interfaces = node.monitor.interfaces
    settings = structs.replace(node.settings, ipsec=IpsecSettings())
    dry = await sweep(node.family, settings, interfaces, dry_run=True)
    assert dry.policies == count
    assert len(node.policies()) == count + 1
    done = await sweep(node.family, settings, interfaces, dry_run=False)
    assert done == dry
    assert node.policies() == theirs
    nothing = await sweep(node.family, settings, interfaces, dry_run=False)
    assert (nothing.policies, nothing.states, nothing.rules, nothing.routes) == (0, 0, 0, 0)
