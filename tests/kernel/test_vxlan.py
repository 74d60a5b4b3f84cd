"""Three nodes, VXLAN over IPv4 and IPv6, real traffic: this node is ours, the others Calico's."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable

import pytest

from calc_graph.updates import EncapUpdate, RouteRemove, VtepRemove
from dataplane.cleanup import clean
from dataplane.drivers import links as links_module
from dataplane.settings import Settings, TunnelSettings
from tests.kernel.conftest import Namespace
from tests.kernel.vxlan_lab import (
    ALL_WAYS,
    BOTH,
    NO_TUNNEL,
    Lab,
    blocks,
    cluster,
    host,
    mac,
    vtep,
)

pytestmark = pytest.mark.kernel

DEVICES = {4: "vxlan.calico", 6: "vxlan-v6.calico"}
EVERYTHING_OURS = Settings(
    "n1", iptables_backend="nft", tunnels=TunnelSettings(program_no_encap=True)
)
STATE = "; ".join(
    f"ip -d addr show {name} | grep -v valid_lft; bridge fdb show dev {name} | sort;"
    f" ip neigh show dev {name} nud permanent | sort; ip -6 neigh show dev {name} nud permanent"
    for name in DEVICES.values()
)


@pytest.fixture
async def lab(inside: Namespace, netns: Callable[[str], Namespace]) -> AsyncIterator[Lab]:
    made = Lab(inside, netns)
    yield made
    await made.stop()


@pytest.fixture
async def running(lab: Lab) -> Lab:
    """All nodes in VXLAN pools of both families."""
    for n in (2, 3):
        lab.populate(n, "vxlan")
    await lab.start()
    await lab.told(*cluster("vxlan", BOTH))
    return lab


async def test_nodes_reach_each_other_in_both_families(running: Lab) -> None:
    lab = running
    assert lab.reached() == ALL_WAYS
    v4, v6 = (lab.node.run(f"ip -d addr show {name}") for name in DEVICES.values())
    assert f"link/ether {mac(1)}" in v4
    assert "mtu 1450" in v4
    assert "id 4096 local 172.30.0.1 dev eth0" in v4
    assert "dstport 4789 nolearning" in v4
    assert "inet 10.65.1.0/32" in v4
    assert f"link/ether {mac(1, 6)}" in v6
    assert "mtu 1430" in v6
    assert "id 4096 local fd30::1 dev eth0" in v6
    assert "inet6 fd65:1::/128" in v6
    assert {r for r in lab.routes() if "eth0" not in r and "cali1" not in r} == {
        "blackhole 10.65.1.0/26 proto 80",
        "10.65.2.0/26 via 10.65.2.0 dev vxlan.calico onlink mtu 1450",
        "10.65.3.0/26 via 10.65.3.0 dev vxlan.calico onlink mtu 1450",
    }
    assert {r for r in lab.routes(6) if "/122" in r} == {
        "blackhole fd65:1::/122 dev lo proto 80 metric 1024 pref medium",
        "fd65:2::/122 via fd65:2:: dev vxlan-v6.calico metric 1024 onlink mtu 1430 pref medium",
        "fd65:3::/122 via fd65:3:: dev vxlan-v6.calico metric 1024 onlink mtu 1430 pref medium",
    }
    assert {line.split()[0] for line in lab.node.run(f"bridge fdb show dev {DEVICES[4]}").split(
        "\n"
    ) if line} == {mac(2), mac(3)}  # fmt: skip
    senders = lab.node.run("ipset list cali40all-vxlan-net")
    assert "172.30.0.2\n172.30.0.3" in senders or "172.30.0.3\n172.30.0.2" in senders


async def test_a_restart_writes_nothing(running: Lab) -> None:
    lab = running
    await lab.start()
    count = len(lab.applied)
    await lab.told(*cluster("vxlan", BOTH))
    written = [{k: n for k, n in a.written.items() if n} for a in lab.applied[count:]]
    assert [w for w in written if w] == []


async def test_the_same_subnet_needs_no_tunnel(lab: Lab) -> None:
    for n in (2, 3):
        lab.populate(n, "no-encap")
    await lab.start()
    await lab.told(*cluster("vxlan", BOTH, same_subnet=True))
    assert lab.reached() == ALL_WAYS
    assert "10.65.2.0/26 via 172.30.0.2 dev eth0 proto 80 onlink" in lab.routes()
    # and across subnets, in place
    await lab.told(*(route for n in (2, 3) for route in blocks(n, "vxlan")))
    assert "10.65.2.0/26 via 10.65.2.0 dev vxlan.calico onlink mtu 1450" in lab.routes()
    assert lab.reached() == ALL_WAYS


async def test_nobody_else_may_speak_to_the_tunnel(running: Lab) -> None:
    """Node 3 is taken out of the cluster, but goes on sending."""
    lab = running
    await lab.told(VtepRemove("n3"), *(RouteRemove(route.cidr) for route in blocks(3, "vxlan")))
    assert lab.pings(2, 1, 4)
    lab.node.run(
        "ip route add 10.65.3.0/26 via 172.30.0.3; ip -6 route add fd65:3::/122 via fd30::3"
    )
    assert not lab.pings(3, 1, 4)
    assert not lab.pings(3, 1, 6)
    assert mac(3) not in lab.node.run(STATE)
    assert "10.65.3" not in lab.node.run("ip neigh show nud permanent")


async def test_a_node_that_moves_to_another_address_and_mac(running: Lab) -> None:
    lab = running
    lab.nodes[2].run(
        "ip addr add 172.30.0.22/24 dev eth0; ip link set vxlan.calico down;"
        "ip link set vxlan.calico address 66:00:00:00:00:22; ip link set vxlan.calico up;"
        "ip link set vxlan.calico type vxlan local 172.30.0.22 dev eth0;"
        f"ip neigh replace 10.65.1.0 lladdr {mac(1)} dev vxlan.calico nud permanent;"
        "ip route replace 10.65.1.0/26 via 10.65.1.0 dev vxlan.calico onlink"
    )
    moved = vtep(2).__class__("n2", "66:00:00:00:00:22", "10.65.2.0", "172.30.0.22")
    await lab.told(moved)
    assert lab.pings(1, 2, 4)
    assert lab.pings(2, 1, 4)
    assert mac(2) not in lab.node.run(STATE)


# ---------------------------------------------------------------- what others do

HANDS = [
    "ip link set {} down",
    "ip link del {}",
    "ip link set {} mtu 1300",
    "ip link set {} address 66:00:00:00:00:99",
    "ip addr flush dev {} scope global",
    "ip addr add {} dev {}",
    "ip link del {}; ip link add {} type veth peer name other1",
    "ip link del {}; ip link add {} type vxlan id 77 dstport 4790 dev eth0",
    "ip link del {}; ip link add {} type vxlan id 4096 dstport 4789 dev eth0 group 239.1.1.1",
    "ip link del {}; ip link add {} type vxlan dstport 4791 external; ip link set {} up",
    "ip route flush dev {}",
]


@pytest.mark.parametrize("deed", HANDS)
async def test_devices_come_back(running: Lab, deed: str) -> None:
    lab = running

    def shown(family: int) -> list[str]:
        """Without indexes, which another device has others of, and fe80, which comes later."""
        name = DEVICES[family]
        told = lab.node.run(
            f"ip -d addr show {name}; bridge fdb show dev {name} | sort;"
            f"ip -{family} neigh show dev {name} nud permanent; ip -{family} route show dev {name}",
            check=False,
        )
        lines = [line.partition(f" {name}: ")[2] or line.strip() for line in told.splitlines()]
        return [line for line in lines if "fe80" not in line and "valid_lft" not in line]

    before = {family: shown(family) for family in DEVICES}
    for name in DEVICES.values():
        if name == DEVICES[6] and "dstport 479" in deed:
            deed = deed.replace("4790", "4792").replace("4791", "4793").replace("77", "78")
        deed_here = deed.replace("other", f"o{len(name)}")
        if "group" in deed and name == DEVICES[6]:
            deed_here = deed_here.replace("239.1.1.1", "ff05::1")
        if "addr add" in deed:
            deed_here = deed.format("10.9.9.9/24" if name == DEVICES[4] else "fd99::9/64", name)
        lab.node.run(deed_here.format(*[name] * 3))
    await lab.settle(1.0)
    for family in DEVICES:
        now = shown(family)
        assert sorted(set(now) ^ set(before[family])) == []
        assert len(now) == len(before[family])
    assert lab.reached() == ALL_WAYS


async def test_entries_of_others_go_and_ours_come_back(lab: Lab) -> None:
    often = Settings("n1", iptables_backend="nft")
    await lab.start(often)
    await lab.told(*cluster("vxlan", BOTH))
    assert lab.dataplane is not None
    before = lab.node.run(STATE)
    lab.node.run(
        f"ip neigh del 10.65.2.0 dev vxlan.calico; bridge fdb del {mac(3)} dev vxlan.calico;"
        "ip neigh add 10.65.9.0 lladdr 66:00:00:00:00:09 dev vxlan.calico nud permanent;"
        "bridge fdb add 66:00:00:00:00:09 dst 172.30.0.9 dev vxlan.calico"
    )
    for vteps in lab.dataplane._drivers.vteps.values():
        assert await vteps.check() == (vteps is lab.dataplane._drivers.vteps[4])
    lab.desire()
    await lab.settle()
    assert lab.node.run(STATE) == before


# ---------------------------------------------------------------- transitions


@pytest.mark.parametrize("family", [4, 6])
async def test_pools_change_their_mode_under_a_flow_without_a_loss(
    lab: Lab, family: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(links_module, "LINGER_SECONDS", 1.0)
    for n in (2, 3):
        lab.populate(n, "no-encap")
    await lab.start(EVERYTHING_OURS)
    await lab.told(*cluster("no-encap"))
    assert lab.reached() == ALL_WAYS
    with lab.flow(family) as lost:
        await lab.told(*cluster("vxlan", BOTH))
        assert any("vxlan" in route for route in lab.routes(family) if "onlink" in route)
        lab.populate(2, "vxlan")
        await lab.settle()
        await lab.told(*cluster("no-encap"))
        lab.populate(2, "no-encap")
        await lab.until(lambda: "vxlan" not in lab.node.run("ip link"))
        await lab.settle()
    assert lost == [0]
    assert not any("vxlan" in route for route in lab.routes(family))
    assert "4789" not in lab.node.saved("-t raw")


@pytest.mark.parametrize("family", [4, 6])
async def test_the_node_moves_to_another_device_without_a_loss_of_tunnels(
    running: Lab, family: int
) -> None:
    """Its address moves to a bridge over the device, as to a bond; VXLAN moves in place."""
    lab = running
    index = lab.node.run(f"cat /sys/class/net/{DEVICES[family]}/ifindex")
    lab.node.run(
        "ip link add br1 type bridge; ip link set br1 up; ip link set eth0 master br1;"
        "sysctl -qw net.ipv6.conf.br1.accept_dad=0;"
        "ip addr flush dev eth0 scope global; ip addr add 172.30.0.1/24 dev br1;"
        "ip addr add fd30::1/64 dev br1 nodad"
    )
    name = DEVICES[family]
    await lab.until(lambda: "dev br1" in lab.node.run(f"ip -d link show {name}"))
    await lab.settle()
    assert lab.node.run(f"cat /sys/class/net/{name}/ifindex") == index
    lab.node.await_carrier("br1")
    assert {way for way in ALL_WAYS if way[2] == family} <= lab.reached()


async def test_a_pool_taken_away_leaves_nothing(
    running: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    lab = running
    assert lab.dataplane is not None
    lab.dataplane._drivers.links._linger = 0.0
    gone = [RouteRemove(route.cidr) for n in (1, 2, 3) for route in blocks(n, "vxlan")]
    await lab.told(NO_TUNNEL, *gone)
    assert "vxlan" not in lab.node.run("ip link")
    assert {r for r in lab.routes() if "eth0" not in r} == {
        "10.65.1.2 dev cali1 scope link metric 1024"
    }
    assert not any("/122" in route for route in lab.routes(6))
    assert "vxlan" not in lab.node.run("ipset list -name") + lab.node.saved()


async def test_a_block_moves_to_another_node(running: Lab) -> None:
    lab = running
    lab.nodes[3].run("ip route replace 10.65.2.2 dev cali3")
    lab.workloads[3].run("ip addr add 10.65.2.2/32 dev eth0")
    block = blocks(2, "vxlan")[0]
    moved = block.__class__(block.cidr, block.types, "vxlan", "n3", "172.30.0.3")
    await lab.told(moved)
    assert "10.65.2.0/26 via 10.65.3.0 dev vxlan.calico onlink mtu 1450" in lab.routes()
    assert lab.pings(1, 2, 4)


async def test_what_is_not_known_yet_is_said_and_does_not_stop_the_rest(lab: Lab) -> None:
    lab.populate(2, "vxlan")
    await lab.start()
    lab.desire(*(update for update in cluster("vxlan", BOTH) if update not in UNKNOWN))
    await lab.settle()
    assert lab.applied[-1].problems == {
        "vxlan.calico": "this node has no address inside the tunnel yet",
        "vxlan-v6.calico": "this node has no address inside the tunnel yet",
    }
    assert "10.65.1.2 dev cali1 scope link metric 1024" in lab.routes()
    assert lab.dataplane is not None
    assert lab.dataplane.in_force
    await lab.told(*UNKNOWN)
    assert lab.pings(1, 2, 4)


async def test_another_device_is_in_the_way(lab: Lab) -> None:
    lab.populate(2, "vxlan")
    lab.node.run("ip link add flannel.1 type vxlan id 4096 dstport 4789 dev eth0")
    await lab.start()
    lab.desire(*cluster("vxlan", EncapUpdate(ipip=False, vxlan=True, vxlan_v6=False)))
    await lab.settle()
    assert lab.applied[-1].problems == {
        "vxlan.calico": "another device has VXLAN identifier 4096 on port 4789"
    }
    lab.node.run("ip link del flannel.1")
    await lab.settle()
    assert lab.applied[-1].problems == {}
    assert lab.pings(1, 2, 4)


async def test_a_kernel_without_ipip_is_said_and_the_rest_goes_on(lab: Lab) -> None:
    lab.populate(2, "vxlan")
    await lab.start()
    lab.desire(*cluster("vxlan", EncapUpdate(ipip=True, vxlan=True, vxlan_v6=True)))
    await lab.settle()
    if "tunl0" in lab.node.run("ip link"):
        assert lab.applied[-1].problems == {}
    else:
        assert lab.applied[-1].problems == {"tunl0": "this kernel has no IPIP (module ipip)"}
    assert lab.pings(1, 2, 4)


async def test_cleanup_takes_tunnels_and_routes(running: Lab) -> None:
    lab = running
    await lab.stop()
    settings = Settings("n1", iptables_backend="nft")
    lab.node.run("ip route add 10.77.0.0/16 via 172.30.0.2")
    looked = await clean(settings, dry_run=True)
    assert (looked.tunnels, looked.errors) == (2, ())
    assert (await clean(settings, dry_run=False)) == looked
    assert "vxlan" not in lab.node.run("ip link")
    assert {r for r in lab.routes() if "kernel" not in r} == {
        "10.77.0.0/16 via 172.30.0.2 dev eth0"
    }
    assert (await clean(settings, dry_run=False)).tunnels == 0


UNKNOWN = [cluster("vxlan")[2], host(1)][:1]


async def test_a_device_called_tunl0_is_replaced_only_if_nobody_uses_it(lab: Lab) -> None:
    lab.node.run(
        "ip link add tunl0 type veth peer name other0; ip link set tunl0 up;"
        "ip route add 10.99.0.0/16 dev tunl0 proto static"
    )
    await lab.start()
    lab.desire(*cluster("ipip", EncapUpdate(ipip=True, vxlan=False, vxlan_v6=False)))
    await lab.settle()
    used = "a device of that name is no IPIP tunnel, and others' routes use it"
    assert lab.applied[-1].problems == {"tunl0": used}
    lab.node.run("ip route del 10.99.0.0/16")
    assert lab.dataplane is not None
    lab.dataplane._drivers.links.refresh_seconds = 0.1
    await lab.until(lambda: "other0" not in lab.node.run("ip link"))
