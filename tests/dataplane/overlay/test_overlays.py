"""What a node asks of its drivers for tunnels and routes to other nodes."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from calc_graph.updates import (
    EncapUpdate,
    HostRemove,
    HostUpdate,
    PoolType,
    RouteRemove,
    RouteType,
    RouteUpdate,
    TunnelAddresses,
    Update,
    VtepRemove,
    VtepUpdate,
)
from dataplane.drivers.route_wishes import Route
from dataplane.drivers.vteps import Vtep
from dataplane.interfaces import Interface
from dataplane.overlay.devices import Tunnel
from dataplane.settings import RenderSettings, Settings, TunnelSettings
from tests.fakes.node import FakeNode

MAC, MAC_6 = "66:00:00:00:00:01", "66:00:00:00:00:61"
ETH0 = Interface("eth0", 2, up=True, addresses=frozenset({"172.30.0.1", "fd30::1"}), mtu=1500)
BARE = Interface("eth0", 2, up=True, mtu=1500)
BOND = Interface("bond0", 3, up=True, addresses=frozenset({"172.30.0.1", "fd30::1"}), mtu=9000)
LO = Interface("lo", 1, up=True, addresses=frozenset({"127.0.0.1", "172.30.0.1"}), mtu=65536)
HERE = HostUpdate("here", "172.30.0.1", "fd30::1")
ADDRESSES = TunnelAddresses("10.65.1.1", "10.65.1.0", MAC, "fd65:1::", MAC_6)
OFF = EncapUpdate(ipip=False, vxlan=False, vxlan_v6=False)
ON = EncapUpdate(ipip=True, vxlan=True, vxlan_v6=True)


def vtep(n: int, **more: Any) -> VtepUpdate:
    given = {
        "mac": f"66:00:00:00:00:{n:02x}",
        "address": f"10.65.{n}.0",
        "parent": f"172.30.0.{n}",
        "mac_v6": f"66:00:00:00:06:{n:02x}",
        "address_v6": f"fd65:{n}::",
        "parent_v6": f"fd30::{n}",
    }
    return VtepUpdate(f"n{n}", **{**given, **more})


def block(n: int, pool: PoolType = "vxlan", **more: Any) -> RouteUpdate:
    kind = RouteType.REMOTE_WORKLOAD
    return RouteUpdate(f"10.65.{n}.0/26", kind, pool, f"n{n}", f"172.30.0.{n}", **more)


VXLAN_4 = Tunnel(
    "vxlan.calico", "vxlan", 4, "10.65.1.0", 1450, MAC, 4096, 4789, "172.30.0.1", lower=2
)
VXLAN_6 = Tunnel(
    "vxlan-v6.calico", "vxlan", 6, "fd65:1::", 1430, MAC_6, 4096, 4789, "fd30::1", lower=2
)
IPIP = Tunnel("tunl0", "ipip", 4, "10.65.1.1", 1480)
ALL = {tunnel.name: tunnel for tunnel in (VXLAN_4, VXLAN_6, IPIP)}


def node_with(*interfaces: Interface, **tunnels: Any) -> FakeNode:
    node = FakeNode(Settings("here", tunnels=TunnelSettings(**tunnels)))
    node.has(*interfaces)
    return node


# ---------------------------------------------------------------- devices

DEVICES: list[tuple[str, dict[str, Any], list[Interface], list[Update], dict[str, Any]]] = [
    # case, parameters, interfaces, what is told, the tunnels
    ("all", {}, [ETH0], [ON, ADDRESSES, HERE], ALL),
    ("nobody asks", {}, [ETH0], [OFF, ADDRESSES, HERE], {}),
    ("nothing told", {}, [ETH0], [ADDRESSES, HERE], {}),
    (
        "parameters ask",
        {"ipip_enabled": True, "vxlan_enabled": True},
        [ETH0],
        [OFF, ADDRESSES, HERE],
        {"vxlan.calico": VXLAN_4, "tunl0": IPIP},
    ),
    (
        "parameters forbid",
        {"ipip_enabled": False, "vxlan_enabled": False},
        [ETH0],
        [ON, ADDRESSES, HERE],
        {"vxlan-v6.calico": VXLAN_6},
    ),
    ("no address yet", {}, [ETH0], [ON, HERE], {}),
    ("no parent", {}, [BARE], [ON, ADDRESSES, HERE], {"tunl0": IPIP}),
    ("no own node", {}, [ETH0], [ON, ADDRESSES], {"tunl0": IPIP}),
]


@pytest.mark.parametrize(("case", "parameters", "interfaces", "updates", "tunnels"), DEVICES)
def test_devices(case, parameters, interfaces, updates, tunnels) -> None:
    node = node_with(*interfaces, **parameters)
    node.told(*updates)
    assert node.links.tunnels == tunnels
    on = not node.problems.keys() - tunnels.keys()
    assert on == (case not in ("no address yet", "no parent", "no own node"))


def test_parameters_come_before_what_is_worked_out_or_told() -> None:
    node = node_with(
        ETH0,
        ipip_mtu=1400,
        ipip_address="10.9.0.1",
        vxlan_vni=7,
        vxlan_mtu=1401,
        vxlan_mtu_v6=1402,
        vxlan_address="10.9.0.2",
        vxlan_address_v6="fd09::2",
        vxlan_mac="66:00:00:00:00:AA",
        vxlan_mac_v6="66:00:00:00:00:bb",
    )
    node.told(ON, ADDRESSES, HERE)
    tunnels = node.links.tunnels
    assert (tunnels["tunl0"].address, tunnels["tunl0"].mtu) == ("10.9.0.1", 1400)
    v4, v6 = tunnels["vxlan.calico"], tunnels["vxlan-v6.calico"]
    assert (v4.address, v4.mtu, v4.mac, v4.vni) == ("10.9.0.2", 1401, "66:00:00:00:00:aa", 7)
    assert (v6.address, v6.mtu, v6.mac, v6.vni) == ("fd09::2", 1402, "66:00:00:00:00:bb", 7)


def test_what_is_not_known_is_left_alone_and_said() -> None:
    node = node_with(BARE)
    node.told(ON, HERE)
    assert node.links.unwanted == set()
    assert node.problems == {
        "tunl0": "this node has no address inside the tunnel yet",
        "vxlan.calico": "this node has no address inside the tunnel yet",
        "vxlan-v6.calico": "this node has no address inside the tunnel yet",
    }
    node.told(ADDRESSES)
    assert node.problems == {
        "vxlan.calico": "no interface has 172.30.0.1",
        "vxlan-v6.calico": "no interface has fd30::1",
    }
    node.has(ETH0)
    node.resolve()
    assert (node.problems, node.links.tunnels) == ({}, ALL)


def test_what_nobody_asks_for_is_to_go_but_not_if_a_parameter_says_no() -> None:
    node = node_with(ETH0)
    node.resolve()
    assert node.links.unwanted == {"tunl0", "vxlan.calico", "vxlan-v6.calico"}
    node = node_with(ETH0, ipip_enabled=False, vxlan_enabled=False)
    node.resolve()
    assert node.links.unwanted == {"vxlan.calico", "vxlan-v6.calico"}


def test_the_parent_is_the_device_that_has_the_address() -> None:
    node = node_with(LO, ETH0)
    node.told(ON, ADDRESSES, HERE, block(2, same_subnet=True), vtep(2))
    assert node.routes[4].cluster["10.65.2.0/26"].interface == "eth0"  # rather than lo
    node.has(BARE)
    node.resolve()
    assert node.links.tunnels["vxlan.calico"].lower == 1
    node.has(BOND)
    node.resolve()
    assert node.links.tunnels["vxlan.calico"].lower == 3
    assert node.routes[4].cluster["10.65.2.0/26"].interface == "bond0"
    node.has("bond0", "lo")
    node.resolve()
    assert node.routes[4].cluster["10.65.2.0/26"].interface == "vxlan.calico"


def test_while_no_device_has_the_address_the_last_one_stays() -> None:
    node = node_with(ETH0)
    node.told(ON, ADDRESSES, HERE, block(2, same_subnet=True))
    before = dict(node.links.tunnels)
    node.has(BARE)
    node.resolve()
    assert node.links.tunnels == before
    assert node.routes[4].cluster["10.65.2.0/26"].interface == "eth0"


def test_our_own_end_says_which_address_carries_it() -> None:
    """Where the node's address for VXLAN is another one than that of its interface's list."""
    node = node_with(ETH0)
    own = VtepUpdate("here", MAC, "10.65.1.0", "172.30.0.1")
    node.told(ON, TunnelAddresses(vxlan="10.65.1.0"), own, HostUpdate("here", "9.9.9.9", ""))
    assert node.links.tunnels["vxlan.calico"] == VXLAN_4
    assert node.vteps[4].vteps == {}


# ---------------------------------------------------------------- ends and routes


def test_ends_of_tunnels_and_who_may_speak_to_us() -> None:
    node = FakeNode(Settings("here", external_node_cidrs=("10.200.0.0/16", "::/0")))
    node.has(ETH0)
    node.told(ON, ADDRESSES, HERE, vtep(2), vtep(3, address_v6="", mac_v6="", parent_v6=""))
    assert node.vteps[4].vteps == {
        "n2": Vtep("10.65.2.0", "66:00:00:00:00:02", "172.30.0.2"),
        "n3": Vtep("10.65.3.0", "66:00:00:00:00:03", "172.30.0.3"),
    }
    assert node.vteps[6].vteps.keys() == {"n2"}
    assert node.members("cali40all-vxlan-net") == {
        "172.30.0.2/32",
        "172.30.0.3/32",
        "10.200.0.0/16",
    }
    assert node.members("cali60all-vxlan-net") == {"fd30::2/128", "::/1", "8000::/1"}
    node.told(VtepRemove("n3"))
    assert node.members("cali40all-vxlan-net") == {"172.30.0.2/32", "10.200.0.0/16"}


def test_a_mac_that_is_none_is_said() -> None:
    node = node_with(ETH0)
    node.told(ON, ADDRESSES, HERE, vtep(2, mac="calico"), block(2))
    assert node.vteps[4].vteps == {}
    assert node.problems == {"VXLAN to n2": "'calico' is not a MAC address"}
    assert not node.routes[4].cluster["10.65.2.0/26"].known
    node.told(vtep(2))
    assert node.problems == {}
    assert node.routes[4].cluster["10.65.2.0/26"].known


def test_routes_follow_node_pool_and_mode() -> None:
    node = node_with(ETH0, program_no_encap=True)
    node.told(ON, ADDRESSES, HERE, vtep(2), block(2), block(3, "ipip"), block(4, "no-encap"))

    def led() -> dict[str, tuple[str, str]]:
        return {dst: (r.interface, r.gateway) for dst, r in node.routes[4].cluster.items()}

    assert led() == {
        "10.65.2.0/26": ("vxlan.calico", "10.65.2.0"),
        "10.65.3.0/26": ("tunl0", "172.30.0.3"),
        "10.65.4.0/26": ("eth0", "172.30.0.4"),
    }
    node.told(block(2, "ipip"), block(3, "no-encap"), RouteRemove("10.65.4.0/26"))
    assert led() == {
        "10.65.2.0/26": ("tunl0", "172.30.0.2"),
        "10.65.3.0/26": ("eth0", "172.30.0.3"),
    }
    node.told(OFF)
    assert led() == {"10.65.3.0/26": ("eth0", "172.30.0.3")}


def test_source_protocol_and_size_of_routes() -> None:
    node = FakeNode(Settings("here", device_route_source_v4="172.30.0.1", device_route_protocol=99))
    node.has(ETH0)
    node.told(ON, ADDRESSES, HERE, vtep(2), block(2))
    assert node.routes[4].cluster["10.65.2.0/26"] == Route(
        "10.65.2.0/26", "vxlan.calico", "172.30.0.1", 0, 99, "10.65.2.0", 1450
    )
    node.has(Interface("eth0", 2, up=True, addresses=ETH0.addresses, mtu=1400))
    node.resolve()
    assert node.routes[4].cluster["10.65.2.0/26"].mtu == 1350
    assert node.links.tunnels["vxlan.calico"].mtu == 1350


MTUS = [
    ([OFF], 1500),
    ([EncapUpdate(ipip=True, vxlan=False, vxlan_v6=False)], 1480),
    ([EncapUpdate(ipip=True, vxlan=True, vxlan_v6=False)], 1450),
    ([ON], 1430),
]


@pytest.mark.parametrize(("updates", "mtu"), MTUS)
def test_the_mtu_of_workloads(updates: Iterable[Update], mtu: int) -> None:
    node = node_with(ETH0)
    node.told(*updates)
    assert node.desired.overlays.workload_mtu == mtu


# ---------------------------------------------------------------- rules


def rules(node: FakeNode, word: str) -> int:
    chains = [
        c for tables in node.tables.values() for t in tables.chains.values() for c in t.values()
    ]
    workloads = "originating in workloads"
    return sum(word in rule and workloads not in rule for c in chains for rule in c.rules)


def test_rules_are_there_as_long_as_the_device_is() -> None:
    node = node_with(ETH0)
    node.resolve()
    assert rules(node, "VXLAN") == rules(node, "IPIP") == 0
    node.told(ON, ADDRESSES, HERE)
    assert (rules(node, "VXLAN"), rules(node, "IPIP")) == (6, 3)
    assert (rules(node, "vxlan.calico"), rules(node, "vxlan-v6.calico")) == (2, 2)
    assert node.members("cali40all-hosts-net") == {"172.30.0.1/32"}
    node.has(Interface("vxlan.calico", 8, up=True), Interface("tunl0", 9, up=True))
    node.told(OFF)
    assert (rules(node, "VXLAN"), rules(node, "IPIP")) == (3, 0)
    assert "cali40all-hosts-net" not in node.ipsets[4].sets
    node.has("vxlan.calico")
    node.resolve()
    assert rules(node, "VXLAN") == 0
    assert "cali40all-vxlan-net" not in node.ipsets[4].sets


def test_tunl0_has_its_rules_until_it_is_set_down() -> None:
    tunl0 = Interface("tunl0", 9, up=True, addresses=frozenset({"10.65.1.1"}))
    node = node_with(ETH0, tunl0)
    node.resolve()
    assert rules(node, "IPIP") == 3
    node.has(Interface("tunl0", 9, up=False))
    node.resolve()
    assert rules(node, "IPIP") == 0


# ---------------------------------------------------------------- the state, not the path

WORLD: dict[str, list[Update]] = {
    "encap": [ON, OFF, EncapUpdate(ipip=False, vxlan=True, vxlan_v6=False)],
    "addresses": [ADDRESSES, TunnelAddresses()],
    "here": [HERE, HostUpdate("here", "172.30.0.9", ""), HostRemove("here")],
    "n2": [vtep(2), vtep(2, mac="66:00:00:00:00:03"), vtep(2, address=""), VtepRemove("n2")],
    "n3": [vtep(3), VtepRemove("n3")],
    "10.65.2.0/26": [
        block(2),
        block(2, same_subnet=True),
        block(2, "ipip"),
        RouteUpdate("10.65.2.0/26", RouteType.LOCAL_WORKLOAD, "vxlan", "here", "172.30.0.1"),
        RouteUpdate("10.65.2.0/26", RouteType.REMOTE_WORKLOAD, "vxlan", "n3", "172.30.0.3"),
        RouteRemove("10.65.2.0/26"),
    ],
    "fd65:2::/122": [
        RouteUpdate("fd65:2::/122", RouteType.REMOTE_WORKLOAD, "vxlan", "n2", "fd30::2"),
        RouteRemove("fd65:2::/122"),
    ],
    "eth0": [],
}
INTERFACES = [ETH0, Interface("eth0", 2, up=True, addresses=ETH0.addresses, mtu=1400), BOND]


@hypothesis_settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.one_of(
            *(st.tuples(st.just(key), st.sampled_from(v)) for key, v in WORLD.items() if v),
            st.tuples(st.just("eth0"), st.sampled_from(INTERFACES)),
            st.just(("", None)),
        ),
        max_size=14,
    )
)
def test_what_is_asked_depends_on_the_state(steps) -> None:
    """A step of nothing is a moment at which what has gathered is handed over."""
    settings = Settings(
        "here", render=RenderSettings(), tunnels=TunnelSettings(program_no_encap=True)
    )
    node, last = FakeNode(settings), {}
    node.has(ETH0)
    interfaces = {"eth0": ETH0}
    for key, what in steps:
        if isinstance(what, Interface):
            node.has(what)
            interfaces[what.name] = what
        elif what is None:
            node.resolve()
        elif not isinstance(what, RouteRemove | VtepRemove | HostRemove):
            last[key] = what
            node.desire(what)
        elif last.pop(key, None) is not None:
            node.desire(what)
    node.resolve()
    fresh = FakeNode(settings)
    fresh.has(*interfaces.values())
    fresh.told(*last.values())
    assert node.state() == fresh.state()
    assert node.problems == fresh.problems


def test_another_address_of_this_node_is_not_looked_for_on_the_device_of_the_last_one() -> None:
    settings = Settings(
        "here", render=RenderSettings(), tunnels=TunnelSettings(program_no_encap=True)
    )
    events = (
        EncapUpdate(ipip=True, vxlan=True, vxlan_v6=True),
        HostUpdate("here", "172.30.0.1", "fd30::1"),
        RouteUpdate(
            "10.65.2.0/26", RouteType.REMOTE_WORKLOAD, "vxlan", "n2", "172.30.0.2", same_subnet=True
        ),
    )
    node = FakeNode(settings)
    node.has(ETH0)
    node.told(*events)
    moved = HostUpdate("here", "172.30.0.9", "")
    node.told(moved)
    fresh = FakeNode(settings)
    fresh.has(ETH0)
    fresh.told(*events, moved)
    assert node.state() == fresh.state()
