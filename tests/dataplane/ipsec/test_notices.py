from __future__ import annotations

import asyncio
import errno

import pytest

from dataplane.ipsec.kernel import Changed, Expired, Xfrm, XfrmListener
from dataplane.ipsec.notices import Notices
from dataplane.ipsec.values import StateId
from dataplane.netlink import NetlinkError
from tests.fakes.xfrm import FakeXfrm

STATE = StateId("192.168.77.2", 0x13)


class Heard:
    def __init__(self, kernel: Xfrm) -> None:
        self.changes = 0
        self.expired: list[Expired] = []
        self.notices = Notices(lambda: kernel, self._changed, self.expired.append)

    def _changed(self) -> None:
        self.changes += 1


async def test_it_waits_only_once_it_has_begun() -> None:
    heard = Heard(FakeXfrm())
    assert heard.notices.next_check() == float("inf")
    heard.notices.begin()
    assert heard.notices.next_check() == 0.0


@pytest.mark.parametrize(
    ("notice", "changes", "expired"),
    [
        (Changed(states=True, policies=False), 1, 0),
        (Changed(states=False, policies=True), 1, 0),
        (Expired(STATE, hard=False), 0, 1),
        (Expired(STATE, hard=True), 1, 1),
    ],
)
async def test_what_the_kernel_tells_is_passed_on(
    notice: Changed | Expired, changes: int, expired: int
) -> None:
    kernel = FakeXfrm()
    heard = Heard(kernel)
    look = asyncio.create_task(heard.notices.check())
    await asyncio.sleep(0)
    assert not look.done()
    kernel.notices.put_nowait([notice])
    assert await look
    assert (heard.changes, len(heard.expired)) == (changes, expired)


class Deaf(FakeXfrm):
    async def listen(self) -> XfrmListener:
        raise NetlinkError("listening", errno.ENOMEM)


async def test_one_that_fails_begins_again_a_while_later() -> None:
    heard = Heard(Deaf())
    heard.notices.begin()
    with pytest.raises(NetlinkError):
        await heard.notices.check()
    assert heard.changes == 1
    assert heard.notices.next_check() > asyncio.get_running_loop().time()
