"""Which of several routes to one destination goes, whatever BIRD says meanwhile."""

from __future__ import annotations

import errno
import socket
from collections.abc import Sequence

import pytest

from dataplane.bird import stale as module
from dataplane.bird.parse.routes import RouteStatus
from dataplane.bird.settings import BirdSettings
from dataplane.bird.stale import Removed, remove_stale
from dataplane.families import Family
from dataplane.netlink import Message, NetlinkError, Request
from dataplane.rtnetlink import (
    BY_BIRD,
    DELROUTE,
    MAIN,
    KernelRoute,
    RouteKey,
    delete_route,
    parse_net,
    parse_route,
    replace_route,
)

NET, NET_V6 = "10.65.2.7/32", "fd65::2:7/128"
_DEVICE = 3


class Kernel:
    """Has routes of BIRD's, as (net, metric), and loses those that it is told to delete."""

    def __init__(self, *routes: tuple[str, int]) -> None:
        self.routes = list(routes)
        self.code = 0
        self.asked: list[str] = []
        self.says: dict[str, list[list[int]]] = {}

    def __call__(self, _: int) -> Kernel:
        return self

    async def query(self, request: Request, _: str) -> list[Message]:
        bodies = [(net, _route(net, metric)) for net, metric in self.routes]
        return [Message(0, body) for _, body in bodies if body[0] == request.body[0]]

    async def execute(self, requests: Sequence[Request]) -> list[int]:
        if self.code:
            return [self.code] * len(requests)
        bodies = [request.body for request in requests if request.type == DELROUTE]
        codes = []
        for body in bodies:
            found = [each for each in self.routes if _deletion(*each) == body]
            codes.append(0 if found else errno.ESRCH)
            for each in found:
                self.routes.remove(each)
        return codes

    def close(self) -> None:
        """There is nothing to close."""

    async def exported(self, _: BirdSettings, net: str, protocol: str) -> list[RouteStatus]:
        """As the list in `says` has it, its last entry for ever."""
        self.asked.append(f"{net} {protocol}")
        answers = self.says[net]
        metrics = answers.pop(0) if len(answers) > 1 else answers[0]
        return [RouteStatus(net, "tor", metric=metric) for metric in metrics]


def _key(net: str, metric: int) -> tuple[Family, RouteKey]:
    family, address, length = parse_net(net)
    return family, RouteKey(address, length, metric)


def _route(net: str, metric: int) -> bytes:
    family, key = _key(net, metric)
    return replace_route(family, MAIN, KernelRoute(key, _DEVICE, BY_BIRD, 0)).body


def _deletion(net: str, metric: int) -> bytes:
    family, key = _key(net, metric)
    return delete_route(family, MAIN, key, _DEVICE, BY_BIRD).body


def test_what_the_fake_kernel_lists_can_be_read() -> None:
    parsed = parse_route(_route(NET_V6, 512))
    assert parsed is not None
    assert (parsed.family, parsed.table, parsed.route.key.metric) == (6, MAIN, 512)
    assert _route(NET, 1)[0] == socket.AF_INET


CASES = [
    # in the kernel      BIRD's answers, one after the other     what is left, and what goes
    ([(NET, 1024), (NET, 512)], {NET: [[512]]}, [(NET, 512)], [Removed(NET, 1024)]),
    ([(NET, 1024), (NET, 512)], {NET: [[1024]]}, [(NET, 1024)], [Removed(NET, 512)]),
    (
        [(NET, 1), (NET, 2), (NET, 3), (NET_V6, 1), (NET_V6, 2)],
        {NET: [[2]], NET_V6: [[1]]},
        [(NET, 2), (NET_V6, 1)],
        [Removed(NET, 1), Removed(NET, 3), Removed(NET_V6, 2)],
    ),
    # in IPv6 no metric is one
    ([(NET_V6, 1024), (NET_V6, 512)], {NET_V6: [[0]]}, [(NET_V6, 1024)], [Removed(NET_V6, 512)]),
    # it is still at it, has no route there, or says what is not understood
    ([(NET, 1024), (NET, 512)], {NET: [[256]]}, [(NET, 1024), (NET, 512)], []),
    ([(NET, 1024), (NET, 512)], {NET: [[]]}, [(NET, 1024), (NET, 512)], []),
    ([(NET, 1024), (NET, 512)], {NET: [[512, 1024]]}, [(NET, 1024), (NET, 512)], []),
    # it changes its mind while the other one goes, and writes the destination anew
    (
        [(NET, 1024), (NET, 512)],
        {NET: [[512], [1024]]},
        [],
        [Removed(NET, 1024), Removed(NET, 512)],
    ),
    # nothing is amiss
    ([(NET, 512), (NET_V6, 512)], {}, [(NET, 512), (NET_V6, 512)], []),
]


@pytest.mark.parametrize(("routes", "says", "left", "removed"), CASES)
async def test_what_goes(
    monkeypatch: pytest.MonkeyPatch,
    routes: list[tuple[str, int]],
    says: dict[str, list[list[int]]],
    left: list[tuple[str, int]],
    removed: list[Removed],
) -> None:
    kernel = Kernel(*routes)
    kernel.says = {net: list(answers) for net, answers in says.items()}
    monkeypatch.setattr(module, "Socket", kernel)
    monkeypatch.setattr(module, "exported", kernel.exported)
    assert await remove_stale(BirdSettings()) == removed
    assert kernel.routes == left
    asked = {f"{net} kernel{6 if ':' in net else 4}" for net in says}
    assert set(kernel.asked) == asked


@pytest.mark.parametrize("code", [errno.ESRCH, errno.EPERM])
async def test_what_cannot_be_removed(monkeypatch: pytest.MonkeyPatch, code: int) -> None:
    kernel = Kernel((NET, 1024), (NET, 512))
    kernel.says, kernel.code = {NET: [[512]]}, code
    monkeypatch.setattr(module, "Socket", kernel)
    monkeypatch.setattr(module, "exported", kernel.exported)
    if code == errno.ESRCH:  # somebody else was faster
        assert await remove_stale(BirdSettings()) == []
    else:
        with pytest.raises(NetlinkError, match=r"stale route to 10\.65\.2\.7/32"):
            await remove_stale(BirdSettings())
