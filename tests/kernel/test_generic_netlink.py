"""Answers of generic netlink in this machine's kernel, which may have no WireGuard."""

from __future__ import annotations

import errno

import pytest

from dataplane.netlink import GENERIC, NetlinkError, Request, Socket, attribute
from dataplane.wireguard import codec
from tests.kernel.conftest import Namespace

pytestmark = pytest.mark.kernel


async def test_families_are_found_by_name_and_secrets_overwritten_before_they_are_copied(
    inside: Namespace,
) -> None:
    blanked: list[bytes] = []

    def blank(body: memoryview) -> None:
        blanked.append(bytes(body))
        body[:] = bytes(len(body))

    ask = Request(16, 4, b"\3\1\0\0" + attribute(2, b"nlctrl\0"))
    plain, blind = Socket(GENERIC), Socket(GENERIC, blank)
    (message,) = await plain.query(ask, "asking")
    assert codec.parse_family(message.body) == 16
    (message,) = await blind.query(ask, "asking")
    assert not any(message.body)
    assert codec.parse_family(blanked[0]) == 16
    plain.close()
    blind.close()


async def test_a_secret_request_has_an_answer_of_its_own(inside: Namespace) -> None:
    socket = Socket(GENERIC)
    good = bytearray(b"\3\1\0\0" + attribute(2, b"nlctrl\0"))
    bad = bytearray(b"\3\1\0\0" + attribute(2, b"nothing\0"))
    assert await socket.execute_secret(16, bad) == errno.ENOENT
    assert await socket.execute_secret(16, good) == 0
    with pytest.raises(NetlinkError, match="No such file"):
        await socket.query(Request(16, 4, bytes(bad)), "asking")
    socket.close()
