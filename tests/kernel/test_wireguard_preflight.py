"""The pre-flight of WireGuard against a kernel: a port that is taken, routes and rules of others, a
way that carries less than its ends, nobody at the other end.  WireGuard itself is not needed.
"""

from __future__ import annotations

import asyncio
import signal
import socket
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from dataplane.families import Family
from dataplane.settings import WireguardSettings
from felixpy.wireguard import machine, probes
from felixpy.wireguard.facts import Facts
from felixpy.wireguard.preflight import check_machine
from felixpy.wireguard.probes import Reached, Target
from tests.kernel.agent_lab import PATIENCE, Lab, eventually
from tests.kernel.conftest import Namespace

pytestmark = pytest.mark.kernel

Connect = Callable[[Namespace, str, Namespace, str], None]
SETTINGS = WireguardSettings(table=1, rule_priority=99, mark=0x200000)
BOTH = {socket.AF_INET: "0.0.0.0", socket.AF_INET6: "::"}


@pytest.fixture(params=BOTH)
def taken(inside: Namespace, request: pytest.FixtureRequest) -> Iterator[None]:
    assert inside.name
    with socket.socket(request.param, socket.SOCK_DGRAM) as other:
        other.bind((BOTH[request.param], 51820))
        yield


@pytest.mark.usefixtures("taken")
def test_a_port_that_another_program_has() -> None:
    found = machine.check_port(4, 51820, "wireguard.cali", None)
    assert (found.verdict, found.holds) == ("fail", True)
    assert machine.check_port(6, 51821, "wg-v6.cali", None).verdict == "ok"


ROUTING = [
    # what others have done, what is in the way
    ("true", set[str]()),
    ("ip {f} route add blackhole {net} table 1", {"routing table"}),
    ("ip {f} route add blackhole {net} table 1 proto 80", set()),
    ("ip {f} route add blackhole {net} table 2", set()),
    ("ip {f} rule add priority 99 table 7", {"rule priority"}),
    ("ip {f} rule add priority 98 table 7", set()),
    ("ip {f} rule add priority 500 fwmark 0x200000/0x200000 table 7", {"mark"}),
    ("ip {f} rule add priority 500 fwmark 0x40000/0xe40000 table 7", {"mark"}),
    ("ip {f} rule add priority 500 fwmark 0x40000/0x40000 table 7", set()),
    ("ip {f} rule add not priority 99 fwmark 0x200000/0x200000 table 1 proto 80", set()),
    ("ip {f} rule add not priority 99 iif lo table 1 proto 80", set()),
    ("ip {f} rule add not priority 99 iif lo table 1", {"rule priority"}),
    (
        "ip {f} rule add not priority 99 fwmark 0x200000/0x200000 table 1",
        {"rule priority", "mark"},
    ),
]


@pytest.mark.parametrize("family", [4, 6])
@pytest.mark.parametrize(("others", "failing"), ROUTING)
async def test_routes_and_rules_of_others(
    inside: Namespace, family: Family, others: str, failing: set[str]
) -> None:
    net = "10.9.0.0/16" if family == 4 else "fd09::/64"
    inside.run(others.format(f=f"-{family}", net=net))
    found = await machine.check_routing(family, SETTINGS, active=False)
    assert [each.check for each in found] == ["routing table", "rule priority", "mark"]
    assert {each.check for each in found if each.verdict == "fail"} == failing
    assert all(each.holds == (each.verdict == "fail") for each in found)


@pytest.mark.parametrize("form", ["fwmark 0x200000/0x200000", "iif lo"])
async def test_a_table_that_a_rule_of_ours_leads_to_is_ours(inside: Namespace, form: str) -> None:
    """Routes of WireGuard have the protocol that Felix gives them, which is anybody's."""
    inside.run(
        "ip route add throw 10.9.0.0/16 table 1 proto 3;"
        f"ip rule add not priority 99 {form} table 1 proto 80"
    )
    found = await machine.check_routing(4, SETTINGS, active=False)
    assert {each.verdict for each in found} == {"ok"}


async def test_felixs_own_rule_is_ours_once_its_device_is_there(inside: Namespace) -> None:
    inside.run("ip rule add not priority 99 fwmark 0x200000/0x200000 table 1")
    found = await machine.check_routing(4, SETTINGS, active=True)
    assert {each.verdict for each in found} == {"ok"}


async def test_everything_of_the_machine_leaves_nothing_behind(
    inside: Namespace, netns: Callable[[str], Namespace], veth: Connect, tmp_path: Path
) -> None:
    veth(inside, "eth0", netns("other"), "eth0")
    inside.run("ip link set eth0 mtu 1400")
    before = inside.run("ip -o link; ip rule; ip route show table all; ss -uln")
    facts = Facts("n1", SETTINGS, mtu_interfaces="^eth0$")
    found = await check_machine(facts, tmp_path, {4: None, 6: None})
    assert [e.text for e in found if e.check == "MTU"] == [
        "1340 inside, 1400 outside",
        "1320 inside, 1400 outside",
    ]
    assert not any(each.holds for each in found)
    assert inside.run("ip -o link; ip rule; ip route show table all; ss -uln") == before


# ---------------------------------------------------------------- the way to another node

ADDRESSES: dict[Family, tuple[str, str, str, str]] = {
    4: ("10.7.1.1/24", "10.7.1.254", "10.7.2.254", "10.7.2.1"),
    6: ("fd07:1::1/64", "fd07:1::fe", "fd07:2::fe", "fd07:2::1"),
}


@pytest.fixture
def far(inside: Namespace, netns: Callable[[str], Namespace], veth: Connect) -> Namespace:
    """Another node, behind a router; `inside` sends packets of 1500 bytes, the router 1400."""
    router, far = netns("router"), netns("far")
    for each in (inside, router, far):  # addresses that are good at once
        each.run("sysctl -qw net.ipv6.conf.default.accept_dad=0 net.ipv6.conf.all.accept_dad=0")
    veth(inside, "eth0", router, "near")
    veth(router, "far", far, "eth0")
    router.run("sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1")
    for family, (own, near, beyond, other) in ADDRESSES.items():
        length, nodad = own.partition("/")[2], "nodad" if family == 6 else ""
        inside.run(
            f"ip addr add {own} dev eth0 {nodad} && ip -{family} route add default via {near}"
        )
        router.run(f"ip addr add {near}/{length} dev near {nodad}")
        router.run(f"ip addr add {beyond}/{length} dev far {nodad}")
        far.run(f"ip addr add {other}/{length} dev eth0 {nodad}")
        far.run(f"ip -{family} route add default via {beyond}")
    router.run("ip link set far mtu 1400")
    return far


async def reach(family: Family, address: str = "") -> Reached:
    address = address or ADDRESSES[family][3]
    target = Target("n2", family, address, 51820, 1500)
    return (await probes.probe_all([target], 0x200000, 0.5))["n2"]


@pytest.mark.parametrize("family", [4, 6])
async def test_nobody_listens_there_and_the_way_is_narrow(far: Namespace, family: Family) -> None:
    assert far.name
    assert await reach(family) == Reached(refused=True, proved=1400, mtu=1400)


@pytest.mark.parametrize("family", [4, 6])
async def test_who_listens_and_says_nothing_is_not_proven_but_the_way_is(
    far: Namespace, family: Family
) -> None:
    kind, everywhere = ("AF_INET", "0.0.0.0") if family == 4 else ("AF_INET6", "::")
    code = (
        f"import socket, time; s = socket.socket(socket.{kind}, socket.SOCK_DGRAM);"
        f" s.bind(('{everywhere}', 51820)); time.sleep(60)"
    )
    far.start("python3", "-c", code)
    eventually(lambda: "51820" in far.run("ss -uln"), "a listener")
    assert await reach(family) == Reached(proved=1400, mtu=1400)


async def test_a_wide_way(far: Namespace, inside: Namespace) -> None:
    assert far.name
    inside.run("ip link set eth0 mtu 1400")
    target = Target("n2", 4, ADDRESSES[4][3], 51820, 1400)
    found = await probes.probe_all([target], 0, 0.5)
    assert found == {"n2": Reached(refused=True, proved=1400)}


async def test_firewalls_that_are_silent_prove_nothing(far: Namespace) -> None:
    far.run("iptables -A INPUT -p udp -j DROP")
    found = await reach(4)
    assert (found.refused, found.proved, found.error) == (False, 0, "")
    assert found.mtu == 1400  # the router says so, whoever listens


async def test_no_way_at_all(far: Namespace, inside: Namespace) -> None:
    assert far.name
    inside.run("ip route add unreachable 10.7.9.0/24")
    assert (await reach(4, "10.7.9.1")).error == "No route to host"
    inside.run("ip route del default")
    assert (await reach(4)).error == "Network is unreachable"


async def test_many_at_once_take_no_longer_than_one(inside: Namespace) -> None:
    assert inside.name
    targets = [Target(f"n{i}", 4, f"127.0.1.{i}", 51820, 1500) for i in range(1, 151)]
    async with asyncio.timeout(30):
        found = await probes.probe_all(targets)
    assert {each.refused for each in found.values()} == {True}


# ---------------------------------------------------------------- the agent

BEHIND_N2 = "10.66.2.0/26"
CLUSTER = f"""\
apiVersion: projectcalico.org/v3
kind: Node
metadata: {{name: n2}}
spec: {{bgp: {{ipv4Address: 10.7.2.1/24}}}}
---
apiVersion: projectcalico.org/v3
kind: IPPool
metadata: {{name: pool}}
spec: {{cidr: 10.66.0.0/16}}
---
apiVersion: projectcalico.org/v3
kind: IPAMBlock
metadata: {{name: b2}}
spec: {{cidr: {BEHIND_N2}, affinity: "host:n2", allocations: [], attributes: []}}
"""


@pytest.mark.parametrize("strict", ["false", "true"])
def test_an_agent_holds_the_switch_back_until_somebody_confirms(
    netns: Callable[[str], Namespace], tmp_path: Path, strict: str
) -> None:
    lab = Lab(netns, tmp_path)
    lab.write("cluster.yaml", CLUSTER)
    code = "import socket, time; s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM);"
    lab.node.start("python3", "-c", f"{code} s.bind(('0.0.0.0', 51820)); time.sleep(600)")
    eventually(lambda: "51820" in lab.node.run("ss -uln"), "a listener")
    lab.configure(WireguardEnabled="true", WireguardStrict=strict)
    running = lab.launch()
    lab.await_status("another program has 51820", 4)
    code_, said = lab.ask("status", "wireguard")
    assert (code_, "unavailable: the switch is held back" in said) == (4, True)
    assert lab.reaches("w1", "w2")
    closed = strict == "true"
    assert ("lookup 1" in lab.node.run("ip rule")) == closed
    routes = lab.node.run("ip route show table 1 2>/dev/null", check=False)
    assert (f"unreachable {BEHIND_N2}" in routes) == closed
    doctor = (sys.executable, "-m", "felixpy", "doctor", "wireguard", "-c", str(lab.config))
    process = lab.node.start(*doctor)
    said, code_ = process.communicate(timeout=PATIENCE)[0], process.returncode
    assert (code_, "another program has 51820" in said) == (4, True)
    assert lab.ask("confirm", "wireguard")[0] == 0
    eventually(lambda: "held back" not in lab.ask("status")[1], "the switch")
    assert lab.reaches("w1", "w2")
    assert running.end(signal.SIGTERM)[0] == 0
