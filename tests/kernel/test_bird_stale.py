"""What a real BIRD leaves in the kernel when only a metric changes, and how it is taken away.

n1, with a configuration of ours, hears of nets from two routers above; of one net from both.
"""

from __future__ import annotations

import asyncio
import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from calc_graph.bgp.resources import BgpFilter, FilterRule, SetPriority
from calc_graph.bgp.updates import BgpFilterUpdate
from dataplane.bird.settings import BirdSettings
from dataplane.bird.stale import Removed, remove_stale
from tests.dataplane.bird.golden_cases import N1, SPEAKER, Case, tor
from tests.kernel.bgp_routers import comes_to
from tests.kernel.conftest import Namespace, enter

pytestmark = pytest.mark.kernel

ONE, BOTH, ONE_V6, BOTH_V6 = "192.0.2.0/24", "203.0.113.0/24", "2001:db8:2::/48", "2001:db8:3::/48"
NETS = (ONE, BOTH, ONE_V6, BOTH_V6)
ROUTERS = (("10.0.0.254", "fd00::254"), ("10.0.0.253", "fd00::253"))
ADDRESSES = [address for router in ROUTERS for address in router]
USUAL, RAISED = 1024, 512


def _router(*addresses: str) -> str:
    """One of them: the first says all, the second what both say."""
    lines = [f"router id {addresses[0]};", "protocol device { }"]
    for address in addresses:
        family, own = (6, "fd00::1") if ":" in address else (4, "10.0.0.1")
        nets = [net for net in NETS if (":" in net) == (":" in address)]
        said = nets if address.endswith("254") else nets[1:]
        routes = " ".join(f"route {net} blackhole;" for net in said)
        lines += [
            f"protocol static s{family} {{ ipv{family}; {routes} }}",
            f"protocol bgp b{family} {{ connect delay time 1; strict bind on;",
            f"  local {address} as 65001; neighbor {own} as 64512; multihop;",
            f"  ipv{family} {{ next hop self; import none; export all; }}; }}",
        ]
    return "\n".join(lines) + "\n"


def _n1(rules: tuple[FilterRule, ...]) -> str:
    given = BgpFilterUpdate("all", BgpFilter(import_v4=rules, import_v6=rules))
    sessions = [tor(address, filters=("all",)) for address in ADDRESSES]
    return Case((SPEAKER, N1, given, *sessions)).version().text


def _metrics(space: Namespace) -> dict[str, set[int]]:
    """Of each of the nets, whichever way they lead."""
    shown = space.run("ip -4 route show proto bird; ip -6 route show proto bird")
    found: dict[str, set[int]] = {}
    for net, metric in re.findall(r"^(\S+) .*?metric (\d+)", shown, re.MULTILINE):
        if net in NETS:
            found.setdefault(net, set()).add(int(metric))
    return found


def _all(metrics: set[int]) -> dict[str, set[int]]:
    return dict.fromkeys(NETS, metrics)


def _hops(space: Namespace, net: str) -> int:
    family = "-6" if ":" in net else "-4"
    return space.run(f"ip {family} route show {net}").count("via ")


def _mend(space: Namespace, settings: BirdSettings) -> list[Removed]:
    def inside() -> list[Removed]:
        enter(space.path)
        return asyncio.run(remove_stale(settings))

    with ThreadPoolExecutor(1) as pool:
        return pool.submit(inside).result()


@pytest.fixture
def wired(netns, veth) -> tuple[Namespace, Namespace]:
    one, above = netns("n1"), netns("above")
    veth(one, "eth0", above, "eth0")
    one.run("ip addr add 10.0.0.1/24 dev eth0 && ip addr add fd00::1/64 dev eth0 nodad")
    for address in ADDRESSES:
        above.run(f"ip addr add {address}/{'64 nodad' if ':' in address else '24'} dev eth0")
    return one, above


def test_a_route_with_the_metric_of_earlier_goes(wired, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    one, above = wired
    configuration = tmp_path / "n1.conf"
    configuration.write_text(_n1((FilterRule(True),)))
    one.start("bird", "-f", "-c", str(configuration), "-s", "n1.ctl", "-P", "n1.pid")
    for number, addresses in enumerate(ROUTERS):
        Path(f"r{number}.conf").write_text(_router(*addresses))
        files = (f"r{number}.conf", "-s", f"r{number}.ctl", "-P", f"r{number}.pid")
        above.start("bird", "-f", "-c", *files)
    settings = BirdSettings(control_socket=tmp_path / "n1.ctl")
    comes_to(_all({USUAL}), _metrics, one)
    comes_to(2, _hops, one, BOTH)
    comes_to(2, _hops, one, BOTH_V6)
    nobody = BirdSettings(control_socket=tmp_path / "nobody")
    assert _mend(one, nobody) == []  # where nothing is amiss BIRD is not asked

    for rule, stale, right in (
        (FilterRule(True, operations=(SetPriority(RAISED),)), USUAL, RAISED),
        (FilterRule(True), RAISED, USUAL),
    ):
        configuration.write_text(_n1((rule,)))
        one.run("birdc -s n1.ctl configure", check=False)
        comes_to(_all({USUAL, RAISED}), _metrics, one)
        assert set(_mend(one, settings)) == {Removed(net, stale) for net in NETS}
        assert _metrics(one) == _all({right})
        assert (_hops(one, ONE), _hops(one, BOTH)) == (1, 2)
        assert (_hops(one, ONE_V6), _hops(one, BOTH_V6)) == (1, 2)
        assert _mend(one, settings) == []


def test_what_bird_did_not_write_stays_and_so_does_what_it_does_not_hold(wired, tmp_path):
    one, _ = wired
    configuration = tmp_path / "n1.conf"
    configuration.write_text(_n1(()))
    socket = tmp_path / "n1.ctl"
    one.start("bird", "-f", "-c", str(configuration), "-s", str(socket), "-P", str(tmp_path / "p"))
    comes_to(True, socket.exists)
    for metric in (512, 1024):
        one.run(f"ip route add {ONE} via 10.0.0.254 metric {metric} proto static")
    assert _mend(one, BirdSettings(control_socket=socket)) == []
    shown = one.run(f"ip route show {ONE}")
    assert shown.count("proto static") == 2
