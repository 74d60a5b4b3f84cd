"""Table 200, the rules that ask it, next hops and the uplink against the kernel, seen by ip."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Callable

import pytest

from dataplane import rtnetlink
from dataplane.drivers.routes import RouteError
from dataplane.drivers.rules import RuleError
from dataplane.families import Family
from dataplane.interfaces import InterfaceMonitor
from dataplane.ipsec.keys import Algorithm
from dataplane.ipsec.table import IpsecTable
from dataplane.ipsec.uplink import Uplink
from dataplane.settings import Settings
from tests.kernel.conftest import Namespace

pytestmark = pytest.mark.kernel

GCM = Algorithm(aead="rfc4106(gcm(aes))", icv_bits=128)
SHA512 = Algorithm(auth="hmac(sha512)", trunc_bits=256, encryption="cbc(aes)")
NODES: dict[Family, tuple[str, str, str]] = {
    4: ("192.168.77.1", "192.168.77.2", "192.168.78.3"),
    6: ("fd77::1", "fd77::2", "fd78::3"),
}
LENGTH: dict[Family, int] = {4: 24, 6: 64}
ROUTER: dict[Family, str] = {4: "192.168.77.254", 6: "fd77::fe"}
NETS: dict[Family, tuple[str, str, str]] = {
    4: ("10.60.2.0/26", "10.60.3.0/26", "10.60.1.7/32"),
    6: ("fd00:2::/122", "fd00:3::/122", "fd00:1::7/128"),
}
RULES = [
    "1: from all fwmark 0xd00/0xf00 lookup 200 proto 50",
    "1: from all fwmark 0xe00/0xf00 lookup 200 proto 50",
]


class Node:
    """N1 with a table; the monitor feeds it, as the dataplane does."""

    def __init__(self, family: Family, inside: Namespace, configured: str = "") -> None:
        self.family: Family = family
        self.inside = inside
        settings = Settings("n1")
        self.monitor = InterfaceMonitor(settings)
        self.uplink = Uplink(configured)
        self.table = IpsecTable(family, settings, self.uplink)
        self.table.watch(self.monitor)
        self.monitor.watch_routes(self.uplink)
        self.table.own(NODES[family][0])
        self.uplink.own(frozenset({NODES[family][0]}))
        self.table.use([GCM])

    async def start(self) -> None:
        for name, interface in (await self.monitor.start()).items():
            self.table.interface_changed(name, interface)
            self.uplink.interface_changed(name, interface)

    async def write(self) -> None:
        await self.uplink.look()
        await self.table.write()

    async def follow(self, true: Callable[[], bool]) -> None:
        """What the monitor has to tell, until it is so."""
        async with asyncio.timeout(10):
            while not true():
                changes = await self.monitor.next_changes()
                for name in changes.gone:
                    self.table.interface_changed(name, None)
                    self.uplink.interface_changed(name, None)
                for name, interface in changes.changed.items():
                    self.table.interface_changed(name, interface)
                    self.uplink.interface_changed(name, interface)
                await self.write()

    def ip(self, command: str) -> str:
        return self.inside.run(f"ip -{self.family} {command}")

    def rules(self) -> list[str]:
        lines = [re.sub(r"\s+", " ", li).strip() for li in self.ip("rule show").splitlines()]
        return [line for line in lines if not re.match(r"0:|3276\d:", line)]

    def routes(self) -> set[str]:
        shown = self.inside.run(f"ip -{self.family} route show table 200", check=False)
        lines = [re.sub(r"\s+", " ", line).strip() for line in shown.splitlines()]
        return {re.sub(r" metric 1024| pref medium", "", line) for line in lines}

    def close(self) -> None:
        self.monitor.close()
        self.uplink.close()
        self.table.close()


MakeNode = Callable[..., Node]


@pytest.fixture(params=[4, 6], ids=["IPv4", "IPv6"])
async def make_node(
    request: pytest.FixtureRequest,
    inside: Namespace,
    netns: Callable[[str], Namespace],
    veth: Callable[[Namespace, str, Namespace, str], None],
) -> AsyncIterator[MakeNode]:
    family: Family = request.param
    peer = netns("peer")
    veth(inside, "eth0", peer, "eth0")
    veth(inside, "eth1", peer, "eth1")
    own, there, _ = NODES[family]
    nodad = " nodad" if family == 6 else ""
    inside.run(f"ip -{family} addr add {own}/{LENGTH[family]} dev eth0{nodad}")
    peer.run(f"ip -{family} addr add {there}/{LENGTH[family]} dev eth0{nodad}")
    inside.run(f"ip -{family} route add default via {ROUTER[family]} dev eth0")
    made: list[Node] = []

    def make(configured: str = "") -> Node:
        made.append(Node(family, inside, configured))
        return made[-1]

    yield make
    for node in made:
        node.close()


@pytest.fixture
async def node(make_node: MakeNode) -> Node:
    made = make_node()
    await made.start()
    return made


def local(family: Family, device: str = "eth0") -> str:
    scope = " scope host" if family == 4 else ""
    return f"local {NODES[family][0]} dev {device} proto 50{scope}"


def remote(family: Family, net: str, gateway: str, mtu: int) -> str:
    bits = rtnetlink.BITS[family]
    return f"{net.removesuffix(f'/{bits}')} via {gateway} dev eth0 proto 50 mtu {mtu}"


async def test_routes_and_rules_are_of_the_guides_form(node: Node) -> None:
    family = node.family
    near, far, single = NETS[family]
    node.table.desire({near: NODES[family][1]})
    node.table.desire({far: NODES[family][2]})
    node.table.desire({single: NODES[family][1]})
    await node.write()
    mtu = {4: 1446, 6: 1426}[family]
    assert node.rules() == RULES
    assert node.routes() == {
        local(family),
        remote(family, near, NODES[family][1], mtu),
        remote(family, far, ROUTER[family], mtu),
        remote(family, single, NODES[family][1], mtu),
    }
    assert node.table.problems() == {}
    assert await node.table.count() == (2, 4)


async def test_after_a_restart_nothing_is_written(node: Node, make_node: MakeNode) -> None:
    near, *_ = NETS[node.family]
    node.table.desire({near: NODES[node.family][1]})
    await node.write()
    assert node.table.written == 4
    again = make_node()
    await again.start()
    again.table.desire({near: NODES[node.family][1]})
    await again.write()
    assert again.table.written == 0


async def test_before_the_keys_are_known_what_is_there_stays(
    node: Node, make_node: MakeNode
) -> None:
    node.table.desire({NETS[node.family][0]: NODES[node.family][1]})
    await node.write()
    before = node.routes()
    again = make_node()
    await again.start()
    again.table.use([])
    await again.write()
    assert (node.routes(), node.rules()) == (before, RULES)


async def test_a_net_that_moves_or_goes_takes_its_route_along(node: Node) -> None:
    family = node.family
    near, far, _ = NETS[family]
    node.table.desire({near: NODES[family][1]})
    node.table.desire({far: NODES[family][1]})
    await node.write()
    node.table.desire({near: NODES[family][2]})
    node.table.let_go([far])
    await node.write()
    mtu = {4: 1446, 6: 1426}[family]
    assert node.routes() == {local(family), remote(family, near, ROUTER[family], mtu)}


async def test_the_size_follows_keys_link_and_the_main_tables_routes(node: Node) -> None:
    family = node.family
    near, *_ = NETS[family]
    node.table.desire({near: NODES[family][1]})
    node.table.use([GCM, SHA512])
    await node.write()
    assert f"mtu { ({4: 1422, 6: 1390}[family]) }" in " ".join(node.routes())
    node.table.use([GCM])
    node.inside.run("ip link set eth0 mtu 9000")
    await node.follow(lambda: f"mtu { ({4: 8946, 6: 8926}[family]) }" in " ".join(node.routes()))
    node.ip(f"route add {NODES[family][1]} dev eth0 mtu 1400")
    await node.follow(lambda: f"mtu { ({4: 1346, 6: 1326}[family]) }" in " ".join(node.routes()))


async def test_the_way_follows_the_main_table(node: Node) -> None:
    family = node.family
    far = NETS[family][1]
    node.table.desire({far: NODES[family][2]})
    await node.write()
    other = ROUTER[family].replace("254", "253").replace("fe", "fd")
    node.ip(f"route replace default via {other} dev eth0")
    await node.follow(lambda: f"via {other} " in " ".join(node.routes()))
    node.ip("route del default")
    if family == 6:
        node.inside.run("ip -6 route flush default", check=False)
    await node.follow(lambda: node.routes() == {local(family)})
    assert list(node.table.problems()) == [f"way to {NODES[family][2]}"]


async def test_what_others_take_away_comes_back(node: Node) -> None:
    family = node.family
    near, *_ = NETS[family]
    node.table.desire({near: NODES[family][1]})
    await node.write()
    routes = node.routes()
    node.ip("rule del pref 1 fwmark 0xe00/0xf00 lookup 200")
    await node.follow(lambda: sorted(node.rules()) == RULES)
    node.ip("route flush table 200")
    await node.follow(lambda: node.routes() == routes)
    node.inside.run("ip link set eth0 down; ip link set eth0 up")
    if family == 6:
        node.ip(f"addr add {NODES[6][0]}/64 dev eth0 nodad")
    await node.follow(lambda: node.routes() == routes)


async def test_what_is_others_stays_and_is_told_where_it_is_in_the_way(node: Node) -> None:
    family = node.family
    near, far, _ = NETS[family]
    node.ip(f"route add {far} dev eth1 table 200 proto static")
    node.ip("rule add pref 1 fwmark 0xe00/0xf00 lookup 200")
    node.ip("rule add pref 5 fwmark 0x1/0xf00 lookup 200 protocol 50")
    theirs = node.rules()
    node.table.desire({near: NODES[family][1]})
    await node.write()
    assert f"{far} dev eth1 proto static" in str(node.routes())
    node.table.desire({far: NODES[family][1]})
    with pytest.raises(RouteError, match="somebody else's is in its place"):
        await node.table.write()
    node.ip(f"route del {far} table 200")
    await node.table.write()
    with pytest.raises(RuleError, match="somebody else's that looks alike"):
        await node.table.remove()
    node.ip("rule del pref 1 fwmark 0xe00/0xf00 lookup 200")
    await node.table.remove()
    assert theirs[-1] in node.rules()


async def test_all_of_it_goes_without_touching_others(node: Node) -> None:
    family = node.family
    near, far, _ = NETS[family]
    node.ip(f"route add {far} dev eth1 table 200 proto static")
    node.ip("rule add pref 7 fwmark 0xe00/0xf00 lookup 200")
    node.table.desire({near: NODES[family][1]})
    await node.write()
    await node.table.remove()
    assert node.rules() == ["7: from all fwmark 0xe00/0xf00 lookup 200"]
    assert node.routes() == {
        f"{far} dev eth1 proto static" + (" scope link" if family == 4 else "")
    }
    assert await node.table.count() == (0, 0)


async def test_the_interface_is_that_of_the_best_default_route(node: Node) -> None:
    family = node.family
    await node.uplink.look()
    assert (node.uplink.name, node.uplink.problems) == ("eth0", {})
    via = {4: "192.168.79.254", 6: "fd79::fe"}[family]
    address = {4: "192.168.79.1/24 dev eth1", 6: "fd79::1/64 dev eth1 nodad"}[family]
    node.ip(f"addr add {address}")
    node.ip(f"route add default via {via} dev eth1 metric 2000")
    await node.follow(lambda: True)
    assert node.uplink.name == "eth0"
    node.ip(f"route add default via {via} dev eth1 metric 7")
    if family == 6:
        await node.follow(lambda: node.uplink.name == "eth1")
    else:
        assert node.uplink.name == "eth0"


async def test_of_several_as_good_the_one_with_the_nodes_address_is_taken(node: Node) -> None:
    family = node.family
    node.ip("route del default")
    node.ip(f"route add default metric 50 via {ROUTER[family]} dev eth0")
    if family == 6:
        node.ip("route append default metric 50 dev eth1")
    else:
        node.ip("route add default metric 50 tos 4 dev eth1")
    node.uplink.lost()
    await node.uplink.look()
    assert node.uplink.name == "eth0"
    assert "eth0, eth1" in node.uplink.problems["IPsecInterface"]


async def test_without_a_default_route_the_nodes_address_tells(node: Node) -> None:
    node.ip("route del default")
    node.uplink.lost()
    await node.uplink.look()
    assert (node.uplink.name, node.uplink.problems) == ("eth0", {})


async def test_one_that_is_configured_counts_and_what_leads_elsewhere_is_told(
    make_node: MakeNode,
) -> None:
    node = make_node("eth1")
    await node.start()
    node.table.desire({NETS[node.family][0]: NODES[node.family][1]})
    await node.write()
    assert local(node.family, "eth1") in node.routes()
    assert node.table.problems() == {
        "IPsecInterface": "nodes are reached over eth0, which was taken there"
    }
    absent = make_node("eth9")
    await absent.start()
    await absent.uplink.look()
    assert absent.uplink.problems == {"IPsecInterface": "there is no interface eth9"}
