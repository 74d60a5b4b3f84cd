"""Tunnel devices that this kernel cannot have; what it can is the kernel's and the guest's lane."""

from __future__ import annotations

import errno
from collections.abc import Sequence

import pytest

from dataplane.drivers.links import LinkDriver
from dataplane.netlink import Message, NetlinkError, Request, Socket
from dataplane.overlay.devices import Tunnel

TUNNELS = [
    (Tunnel("wireguard.cali", "wireguard", 4, "", 1440), "WireGuard (module wireguard)"),
    (Tunnel("tunl0", "ipip", 4, "10.65.1.0", 1480), "IPIP (module ipip)"),
]


class KernelWithout:
    """Finds no device, and can make none."""

    async def query(self, request: Request, doing: str) -> list[Message]:
        raise NetlinkError(doing, errno.ENODEV)

    async def execute(self, requests: Sequence[Request]) -> list[int]:
        return [errno.EOPNOTSUPP] * len(requests)


@pytest.mark.parametrize(("tunnel", "module"), TUNNELS)
async def test_a_kernel_without_a_module(
    tunnel: Tunnel, module: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    kernel = KernelWithout()
    monkeypatch.setattr(Socket, "query", lambda _, *args: kernel.query(*args))
    monkeypatch.setattr(Socket, "execute", lambda _, *args: kernel.execute(*args))
    links = LinkDriver(refresh_seconds=1e-9)
    links.desire(tunnel)
    await links.apply(4)
    assert links.unavailable == {tunnel.name: f"this kernel has no {module}"}
    assert links.written == 0
    assert await links.check(), "tried again at the refresh look"
    links.leave(tunnel.name)
    assert links.unavailable == {}
