"""What every healthy node refuses, and what is worth a look."""

from __future__ import annotations

from pathlib import Path

import pytest

from dataplane.bird import reasons
from dataplane.bird.parse.routes import RouteStatus
from dataplane.bird.settings import BirdSettings
from felixpy.bgp.refusals import Ordinary, refusals
from tests.felixpy.bgp.bird_socket import bird_at
from tests.felixpy.bgp.bird_values import MESH

BLOCKS = ("10.65.1.0/26", "10.65.4.0/24", "fd65::1:0/122")
NOT_OURS = reasons.NOT_OURS


def route(
    net: str, source: str, why: int = NOT_OURS, *, kind: str = "unicast", kernel: int = 0
) -> RouteStatus:
    return RouteStatus(net, "p", kind, source=source, why=why, kernel_source=kernel)


OUT = [
    # what is not announced                                   ordinary
    (route("192.0.2.0/24", "BGP"), True),
    (route("10.65.2.0/26", "BGP"), True),
    (route("10.0.0.0/24", "device"), True),
    (route("10.65.1.7/32", "inherit"), True),
    (route("10.65.4.7/32", "inherit"), True),
    (route("fd65::1:7/128", "inherit"), True),
    (route("10.65.1.64/32", "inherit"), False),
    (route("10.65.0.0/16", "inherit"), False),
    (route("fd65::2:7/128", "inherit"), False),
    (route("10.0.0.254/32", "static"), True),  # the way to a peer
    (route("10.65.1.0/26", "static", kind="blackhole"), False),  # it is being given back
    (route("10.66.0.7/32", "inherit", reasons.NOT_EXPORTED), True),
    (route("10.66.0.0/26", "static", reasons.NOT_EXPORTED, kind="blackhole"), True),
    (route("10.65.2.0/26", "BGP", reasons.UNKNOWN_FILTER), False),
    (route("10.65.1.7/32", "inherit", reasons.FILTER), False),
]


@pytest.mark.parametrize(("refused", "ordinary"), OUT)
def test_on_the_way_out(refused: RouteStatus, ordinary: bool) -> None:
    assert Ordinary(BLOCKS, BirdSettings()).refused_out(refused) == ordinary


IN = [
    (route("10.65.2.0/26", "inherit", reasons.KERNEL_IMPORT, kernel=80), 80, True),
    (route("10.65.2.0/26", "inherit", reasons.KERNEL_IMPORT, kernel=97), 97, True),
    (route("10.65.2.0/26", "inherit", reasons.KERNEL_IMPORT, kernel=3), 3, False),
    (route("10.65.2.0/26", "inherit", reasons.KERNEL_IMPORT, kernel=4), 80, False),
    (route("0.0.0.0/0", "inherit", reasons.KERNEL_IMPORT, kernel=16), 80, True),
    (route("::/0", "inherit", reasons.KERNEL_IMPORT, kernel=9), 80, True),
    (route("0.0.0.0/0", "BGP", reasons.DEFAULT_ROUTE), 80, False),
    (route("10.65.1.0/26", "BGP", reasons.NOT_OWNED), 80, False),
]


@pytest.mark.parametrize(("refused", "protocol", "ordinary"), IN)
def test_on_the_way_in(refused: RouteStatus, protocol: int, ordinary: bool) -> None:
    settings = BirdSettings(device_route_protocol=protocol)
    assert Ordinary(BLOCKS, settings).refused_in(refused) == ordinary


async def test_bird_is_asked(tmp_path: Path) -> None:
    settings = BirdSettings(control_socket=tmp_path / "b.ctl")
    with bird_at(settings.control_socket):
        found = {
            (each.route.net, each.told_to): each.ordinary
            for each in await refusals(settings, [MESH.name])
        }
    assert found == {
        ("198.51.100.0/24", ""): False,
        ("10.65.9.0/26", ""): False,
        ("192.0.2.0/24", ""): False,
        ("10.0.0.0/24", MESH.name): True,
        ("10.65.1.7/32", MESH.name): True,
        ("10.65.77.7/32", MESH.name): False,
    }
