from pathlib import Path

import pytest

from dataplane.bird.control import BirdAway, Line, _lines
from dataplane.bird.parse.routes import (
    NextHop,
    RouteStatus,
    parse_routes,
    rejected,
    routes,
    unexported,
)
from dataplane.bird.settings import BirdSettings
from tests.dataplane.bird.fake_bird import recorded, speaking


def of(name: str) -> dict[str, RouteStatus]:
    return {route.net: route for route in parse_routes(_lines(recorded(name)))}


def test_tables() -> None:
    tables = [(route.table, route.net) for route in parse_routes(_lines(recorded("routes")))]
    assert [net for table, net in tables if table == "master6"] == [
        "fd65::1:0/122",
        "fd65::2:0/122",
        "fd00::/64",
    ]
    assert len(tables) == 11


KINDS = [
    # net                protocol         kind           next hop     interface  source
    ("10.65.1.0/26", "own4", "blackhole", "", "", "static"),
    ("198.51.100.0/24", "own4", "unreachable", "", "", "static"),
    ("10.65.2.0/26", "Mesh_10_0_0_2", "unicast", "10.0.0.2", "e0", "BGP"),
    ("10.65.1.9/32", "kernel4", "unicast", "", "e0", "inherit"),
    ("10.0.0.0/24", "direct1", "unicast", "", "e0", "device"),
    ("fd65::2:0/122", "Global_fd00__2", "unicast", "fd00::2", "e0", "BGP"),
]


@pytest.mark.parametrize(("net", "protocol", "kind", "hop", "interface", "source"), KINDS)
def test_kinds(net: str, protocol: str, kind: str, hop: str, interface: str, source: str) -> None:
    found = of("routes")[net]
    assert (found.protocol, found.kind, found.source) == (protocol, kind, source)
    assert (found.next_hop, found.interface, found.primary) == (hop, interface, True)
    assert found.why == 0


def test_path_and_next_hop_of_bgp() -> None:
    found = of("routes")["fd65::2:0/122"]
    assert (found.path, found.bgp_next_hop, found.preference) == ("64512", "fd00::2", 100)


def test_several_next_hops() -> None:
    found = of("routes")["203.0.113.0/24"]
    assert found.next_hops == (NextHop("10.0.0.2", "e0"), NextHop("10.0.0.9", "e0"))
    assert found.next_hop == "10.0.0.2"


def test_why_refused() -> None:
    found = {net: (route.protocol, route.why) for net, route in of("filtered").items()}
    assert found == {
        "198.51.100.0/24": ("Mesh_10_0_0_2", 3),
        "10.65.1.7/32": ("Mesh_10_0_0_2", 4),
        "192.0.2.0/24": ("kernel4", 20),
    }
    assert {net: route.why for net, route in of("noexport").items()} == {
        "203.0.113.0/24": 10,
        "10.0.0.0/24": 10,
    }


def test_a_second_way_to_the_same_destination() -> None:
    lines = (
        Line(1007, "Table master4:"),
        Line(1007, "10.65.2.0/26         unicast [a 2026-11-21 19:33:04] * (100) [AS65001i]"),
        Line(1007, "\tvia 10.0.0.2 on e0"),
        Line(1007, "          unicast [b 2026-11-21 19:33:04 from 10.0.0.10] (100/-) [i]"),
        Line(1007, "\tvia 10.0.0.3 on e1"),
        Line(1012, "\twhy: 5"),
        Line(1012, "\tBGP.community: (64512,1) (64512,2)"),
        Line(0, ""),
    )  # fmt: skip
    first, second = parse_routes(lines)
    assert (first.net, first.protocol, first.primary, first.why) == ("10.65.2.0/26", "a", True, 0)
    assert (second.net, second.protocol, second.primary) == ("10.65.2.0/26", "b", False)
    assert (second.next_hop, second.why, second.since) == ("10.0.0.3", 5, "2026-11-21 19:33:04")


async def test_asked(tmp_path: Path) -> None:
    settings = BirdSettings(control_socket=tmp_path / "ctl")
    with pytest.raises(BirdAway):
        await rejected(settings)
    async with speaking(tmp_path / "ctl", recorded("filtered").encode()):
        assert len(await rejected(settings)) == 3
        assert len(await routes(settings)) == 3


@pytest.mark.parametrize("name", ["unexportable", "unknown-protocol"])
async def test_a_session_that_is_down_has_refused_nothing(tmp_path: Path, name: str) -> None:
    async with speaking(tmp_path / "ctl", recorded(name).encode()):
        assert await unexported(BirdSettings(control_socket=tmp_path / "ctl"), "Off") == []


async def test_a_name_that_is_none(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="name of a protocol"):
        await unexported(BirdSettings(control_socket=tmp_path / "ctl"), "a all; b")
