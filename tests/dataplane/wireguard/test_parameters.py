"""What a changed parameter does to a mesh that is there: another agent over the same kernel."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from calc_graph.updates import RouteType
from dataplane.interfaces import Interface
from dataplane.settings import WireguardSettings
from dataplane.wireguard import napi
from dataplane.wireguard.driver import WireguardDriver
from dataplane.wireguard.state import DeviceState, PeerState, PeerWish
from tests.dataplane.wireguard.builders import OWN_KEY, behind, key, node
from tests.dataplane.wireguard.one_family import Node, settled
from tests.fakes.wireguard import FakeKernel
from tests.fakes.wireguard_device import FakeDevice

A, B = "10.0.1.0/26", "10.0.2.0/26"
DEVICE = Interface("wireguard.cali", 7, up=True, generation=1)
WISH = PeerWish("a", ("172.30.0.97", 51820), frozenset({A}))
HOST_A, HOST_B = "172.30.0.97/32", "172.30.0.98/32"
HOSTS = [
    *behind("a", HOST_A, types=RouteType.REMOTE_HOST),
    *behind("b", HOST_B, types=RouteType.REMOTE_HOST),
]
TOLD = [*node("a", A), *node("c", B), *HOSTS]


def routes(kernel: FakeKernel) -> Any:
    return kernel.routes


def endpoint(kernel: FakeKernel) -> Any:
    return kernel.port, kernel.peers[key("a")].endpoint


def keepalive(kernel: FakeKernel) -> Any:
    return kernel.peers[key("a")].keepalive


CHANGES: list[tuple[dict[str, Any], Callable[[FakeKernel], Any], Any, Any]] = [
    # what is set, what is looked at, what that was before, and what it is with it
    (
        {"ports": (51999, 51821)},
        endpoint,
        (51820, ("172.30.0.97", 51820)),
        (51999, ("172.30.0.97", 51999)),
    ),
    ({"keepalive": 25}, keepalive, 0, 25),
    ({"mark": 0x400000}, lambda kernel: kernel.mark, 0x200000, 0x400000),
    (
        {"host_encryption": True},
        routes,
        {A: "device", B: "throw"},
        {A: "device", B: "throw", HOST_A: "device", HOST_B: "throw"},
    ),
]


@pytest.mark.parametrize(
    ("given", "look", "before", "after"), CHANGES, ids=[next(iter(c[0])) for c in CHANGES]
)
async def test_it_takes_effect_and_back(
    given: dict[str, Any], look: Callable[[FakeKernel], Any], before: Any, after: Any
) -> None:
    n = await settled(*TOLD, ready=("a",))
    assert look(n.kernel) == before
    for settings, expected in ((given, after), ({}, before)):
        n.kernel.may_be_clear |= {HOST_A}  # what is not to be encrypted any more is not
        n = await restarted(n, **settings)
        assert look(n.kernel) == expected
        assert n.kernel.peers[key("a")].handshake  # no session was lost over it
        assert await n.apply() == []


async def test_strictness_and_its_end() -> None:
    """What it has closed to a node with a key opens once that has answered: an agent that starts
    cannot tell it from what was encrypted before.
    """
    without_key = "10.0.3.0/26"
    more = behind("d", without_key)
    n = await restarted(await settled(*TOLD, *more, ready=("a",)), *more, strict=True)
    assert n.kernel.routes == {A: "device", B: "unreachable", without_key: "unreachable"}
    n = await restarted(n, *more)
    assert n.kernel.routes == {A: "device", B: "unreachable", without_key: "throw"}
    await n.settle("c")
    assert n.kernel.routes == {A: "device", B: "device", without_key: "throw"}


async def test_hosts_that_are_to_stay_in_clear() -> None:
    n = await restarted(await settled(*TOLD, ready=("a",)), host_encryption=True)
    n.kernel.may_be_clear |= {HOST_A}
    n = await restarted(n, host_encryption=True, clear_hosts=("172.30.0.97",))
    assert n.kernel.routes[A] == "device"
    assert HOST_A not in n.kernel.routes
    assert n.kernel.peers[key("a")].nets == {A}


async def restarted(n: Node, *more: Any, **given: Any) -> Node:
    again = Node(n.kernel, **given)
    again.has_device()
    again.told(*TOLD, *more)
    await again.settle("a")
    return again


@pytest.mark.parametrize("on", [True, False], ids=["on", "off"])
async def test_threads_of_the_kernel_once_there_is_a_peer(
    on: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(napi, "DEVICES", tmp_path)
    (tmp_path / "wireguard.cali").mkdir()
    file = tmp_path / "wireguard.cali" / "threaded"
    file.write_text("0\n" if on else "1\n")
    kernel = FakeDevice()
    driver = WireguardDriver(4, WireguardSettings(threading=on), kernel=kernel)
    driver.interface_changed("wireguard.cali", DEVICE)
    await driver.apply_additions()
    assert file.read_text() == ("0\n" if on else "1\n")  # the kernel refuses it without a peer
    driver.desire({key("a"): WISH})
    await driver.apply_additions()
    assert file.read_text() == ("1" if on else "0")


@pytest.mark.parametrize(
    ("there", "on", "complaint"),
    [(False, True, "this kernel has no threads for it"), (False, False, ""), (True, True, "")],
)
def test_a_kernel_without_threads(
    there: bool, on: bool, complaint: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(napi, "DEVICES", tmp_path)
    (tmp_path / "wg").mkdir()
    if there:
        (tmp_path / "wg" / "threaded").write_text("0\n")
    assert napi.set_threading("wg", on=on) == complaint


async def test_a_node_that_comes_back_has_its_session_still() -> None:
    """Section 3.7: deleted and made again within one apply, nothing is reset."""
    peer = PeerState(WISH.endpoint, WISH.nets, 0, 1.0)
    kernel = FakeDevice(DeviceState(7, OWN_KEY, 51820, 0x200000, {key("a"): peer}))
    driver = WireguardDriver(4, WireguardSettings(), kernel=kernel)
    driver.interface_changed("wireguard.cali", DEVICE)
    for wishes in ({key("a"): WISH}, {}, {key("a"): WISH}):
        driver.desire(wishes)
    await driver.apply_additions()
    await driver.apply_removals()
    assert kernel.take() == []
