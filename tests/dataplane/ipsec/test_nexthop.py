"""When the kernel is asked for ways to other nodes, and what is made of its answers."""

from __future__ import annotations

import errno
import struct
from collections.abc import Sequence

import pytest

from dataplane import rtnetlink
from dataplane.interfaces import Interface
from dataplane.ipsec.nexthop import NextHops
from dataplane.netlink import Message, Request, attribute
from dataplane.rtnetlink import KernelRoute, NextHop, RouteKey

NODE, OTHER = "192.168.77.2", "192.168.78.3"
ETH0 = Interface("eth0", 2, up=True, generation=1)


class Kernel:
    """In place of the socket: address -> the body of an answer, or an error number."""

    port = 0

    def __init__(self) -> None:
        self.answers: dict[str, bytes | int] = {}
        self.asked: list[str] = []

    async def ask(self, requests: Sequence[Request]) -> list[Message | int]:
        found: list[Message | int] = []
        for request in requests:
            address = rtnetlink.render_address(request.body[-4:])
            self.asked.append(address)
            answer = self.answers[address]
            found.append(answer if isinstance(answer, int) else Message(24, answer))
        return found

    def close(self) -> None:
        """There is nothing to close."""


def answer(device: int = 2, gateway: bytes = b"", mtu: int = 0, kind: int = 1) -> bytes:
    body = struct.pack("=BBBBBBBBI", 2, 32, 0, 0, 254, 0, 0, kind, 0x200)
    body += attribute(4, struct.pack("=I", device))
    if gateway:
        body += attribute(5, gateway)
    return body + (attribute(8, attribute(2, struct.pack("=I", mtu))) if mtu else b"")


@pytest.fixture
def kernel() -> Kernel:
    return Kernel()


@pytest.fixture
def ways(kernel: Kernel) -> NextHops:
    made = NextHops(4)
    made._socket = kernel  # type: ignore[assignment]
    return made


def told(net: str, length: int, protocol: int = 12) -> Message:
    key = RouteKey(rtnetlink.parse_address(net)[1], length, 0)
    route = KernelRoute(key, 2, protocol, 0)
    return Message(rtnetlink.NEWROUTE, rtnetlink.replace_route(4, rtnetlink.MAIN, route).body)


async def test_all_are_asked_for_once(kernel: Kernel, ways: NextHops) -> None:
    kernel.answers = {NODE: answer(), OTHER: answer(3, bytes([192, 168, 77, 254]), 1400)}
    ways.desire(frozenset({NODE, OTHER}))
    assert ways.pending
    await ways.look()
    await ways.look()
    assert kernel.asked == [NODE, OTHER]
    assert ways.ways == {NODE: NextHop(2), OTHER: NextHop(3, bytes([192, 168, 77, 254]), 1400)}
    assert (ways.unreachable, ways.pending) == ({}, False)


@pytest.mark.parametrize(
    "refusal",
    [errno.ENETUNREACH, answer(kind=rtnetlink.UNREACHABLE), answer() + attribute(18, bytes(18))],
    ids=["error", "kind", "gateway of IPv6"],
)
async def test_what_leads_nowhere_is_told(
    kernel: Kernel, ways: NextHops, refusal: bytes | int
) -> None:
    kernel.answers = {NODE: refusal}
    ways.desire(frozenset({NODE}))
    await ways.look()
    assert ways.ways == {}
    assert list(ways.unreachable) == [NODE]


@pytest.mark.parametrize(
    ("message", "again"),
    [
        (told("0.0.0.0", 0), True),
        (told("192.168.77.0", 24), True),
        (told(NODE, 32), True),
        (told("192.168.79.0", 24), False),
        (told("10.60.2.0", 26), False),
        (told("192.168.77.0", 24, protocol=50), False),
        (Message(rtnetlink.NEWROUTE, answer(kind=1)), False),
    ],
    ids=["default", "around", "the node's own", "beside", "a net of it", "ours", "a clone"],
)
async def test_they_are_asked_for_again_when_a_route_to_them_changes(
    kernel: Kernel, ways: NextHops, message: Message, *, again: bool
) -> None:
    kernel.answers = {NODE: answer()}
    ways.desire(frozenset({NODE}))
    await ways.look()
    assert ways.notice(message) is again
    assert ways.pending is again
    assert not ways.notice(message)  # it is known already


async def test_and_when_an_interface_changes(kernel: Kernel, ways: NextHops) -> None:
    kernel.answers = {NODE: answer()}
    ways.desire(frozenset({NODE}))
    ways.interface_changed("eth0", ETH0)
    await ways.look()
    ways.interface_changed("eth0", ETH0)
    assert not ways.pending
    ways.interface_changed("eth0", None)
    assert ways.pending


async def test_a_look_finds_what_nobody_has_told(kernel: Kernel, ways: NextHops) -> None:
    kernel.answers = {NODE: answer()}
    ways.desire(frozenset({NODE}))
    assert ways.next_check() == float("inf")
    await ways.look()
    assert not await ways.check()
    kernel.answers = {NODE: answer(3)}
    assert await ways.check()
    assert ways.next_check() < float("inf")
