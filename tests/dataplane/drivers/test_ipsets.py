"""What the IP set driver makes of a kernel that refuses; the real one is the kernel lane's."""

from __future__ import annotations

import errno
from collections.abc import Sequence

import pytest

from calc_graph.updates import IpsetType
from dataplane.drivers import ipset_messages
from dataplane.drivers.ipsets import IpsetDriver, IpsetError
from dataplane.netlink import Message, NetlinkError, Request, attribute, attributes

CREATE, DESTROY, LIST, TYPE = 2, 3, 7, 13
NAME = 2
NEWEST = b"\2\0\0\0" + attribute(4, b"\7") + attribute(10, b"\0")


class Kernel:
    """Knows no sets; answers each command with the number that `refuse` gives for it."""

    def __init__(self, refuse: dict[int, int]) -> None:
        self.refuse = refuse
        self.done: list[int] = []

    async def query(self, request: Request, doing: str) -> list[Message]:
        command = request.type & 0xFF
        if self.refuse.get(command):
            raise NetlinkError(doing, self.refuse[command])
        if command == LIST and NAME in dict(attributes(request.body, 4)):
            raise NetlinkError(doing, errno.ENOENT)
        return [Message(request.type, NEWEST)] if command == TYPE else []

    async def execute(self, requests: Sequence[Request]) -> list[int]:
        self.done += [request.type & 0xFF for request in requests]
        return [self.refuse.get(request.type & 0xFF, 0) for request in requests]


def driver_on(kernel: Kernel, monkeypatch: pytest.MonkeyPatch) -> IpsetDriver:
    driver = IpsetDriver(4)
    monkeypatch.setattr(driver, "_socket", kernel)
    driver.desire("cali40s:a", IpsetType.NET, ["10.0.0.1/32"])
    return driver


@pytest.mark.parametrize(
    ("refuse", "said"),
    [
        ({LIST: errno.EINVAL}, "this kernel has no IP sets: module ip_set is missing"),
        ({TYPE: ipset_messages.UNKNOWN_TYPE}, "cali40s:a: the kernel does not have this type"),
        ({CREATE: 4099}, "cali40s:a: the kernel has reached its limit of sets"),
        ({CREATE: errno.EPERM}, "cali40s:a: Operation not permitted"),
    ],
)
async def test_it_says_what_is_missing_and_goes_on_once_it_is_there(
    refuse: dict[int, int], said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    kernel = Kernel(refuse)
    driver = driver_on(kernel, monkeypatch)
    with pytest.raises(IpsetError, match=said):
        await driver.apply_additions()
    assert driver.pending
    kernel.refuse = {}
    await driver.apply_additions()
    assert not driver.pending


async def test_a_set_in_use_is_said_once(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    kernel = Kernel({DESTROY: ipset_messages.BUSY})
    driver = driver_on(kernel, monkeypatch)
    await driver.apply_additions()
    driver.drop("cali40s:a")
    for _ in range(3):
        await driver.apply_additions()
        await driver.apply_removals()
    assert capsys.readouterr().out.count("ipset.held") == 1
    assert not driver.pending
    kernel.refuse = {}
    await driver.apply_removals()
    kernel.done.clear()
    await driver.apply_removals()
    assert kernel.done == []


async def test_changes_of_a_set_that_nobody_wants_are_refused() -> None:
    driver = IpsetDriver(4)
    with pytest.raises(KeyError):
        driver.change("cali40s:a", ["10.0.0.1/32"], [])
    driver.desire("cali40s:a", IpsetType.NET, [])
    driver.drop("cali40s:a")
    with pytest.raises(KeyError):
        driver.change("cali40s:a", ["10.0.0.1/32"], [])


async def test_a_set_that_came_and_went_before_an_apply_is_never_made(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    kernel = Kernel({})
    driver = driver_on(kernel, monkeypatch)
    driver.drop("cali40s:a")
    await driver.apply_additions()
    await driver.apply_removals()
    assert kernel.done == []
    assert not driver.pending
