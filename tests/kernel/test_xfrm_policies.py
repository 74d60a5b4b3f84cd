"""Policies of xfrm in the kernel, as the ip tool has them, and what is told of changes.

For states with a key the kernel has to have ESP: tests/guest/inside_xfrm.py.
"""

from __future__ import annotations

import asyncio
import errno
import functools
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, closing

import pytest
from msgspec import structs
from pyroute2.netlink.exceptions import NetlinkError as Refused

from dataplane.ipsec import codec
from dataplane.ipsec.kernel import (
    Changed,
    Expired,
    KernelPolicy,
    PolicyDelete,
    PolicyPut,
    StateDelete,
    Xfrm,
    open_xfrm,
)
from dataplane.ipsec.keys import Algorithm, Key
from dataplane.ipsec.netlink import KernelListener
from dataplane.ipsec.values import PolicyId, PolicyWish, Selector, StateId, Template
from dataplane.xfrm.sockets import AsyncXFRMSocket
from tests.kernel.conftest import Namespace

pytestmark = pytest.mark.kernel

REQID = 7
BLOCKED = PolicyWish(PolicyId("out", Selector("0.0.0.0/0", "10.65.2.0/26")), 1006, "block")
OPEN = PolicyWish(BLOCKED.id, 1006, "allow", Template("192.0.2.1", "192.0.2.2", 0x1235))
OTHER = PolicyWish(BLOCKED.id, 1006, "allow", Template("192.0.2.1", "192.0.2.3", 0x1236))
MARKED = PolicyWish(structs.replace(BLOCKED.id, mark=0xE00), 506, "allow", OPEN.template)

SHOWN = [
    (
        BLOCKED,
        "src 0.0.0.0/0 dst 10.65.2.0/26 dir out action block priority 1006 ptype main",
    ),
    (
        MARKED,
        "src 0.0.0.0/0 dst 10.65.2.0/26 dir out priority 506 ptype main mark 0xe00/0xf00"
        " tmpl src 192.0.2.1 dst 192.0.2.2 proto esp spi 0x00001235 reqid 7 mode tunnel",
    ),
    (
        PolicyWish(
            PolicyId("fwd", Selector("10.65.2.0/26", "0.0.0.0/0")),
            1006,
            "allow",
            Template("0.0.0.0", "192.0.2.1"),
        ),
        "src 10.65.2.0/26 dst 0.0.0.0/0 dir fwd priority 1006 ptype main"
        " tmpl src 0.0.0.0 dst 192.0.2.1 proto esp reqid 7 mode tunnel",
    ),
    (
        PolicyWish(
            PolicyId("in", Selector("fd65:2::/122", "::/0"), 0xD00),
            1006,
            "allow",
            Template("fd00::2", "fd00::1", optional=True),
        ),
        "src fd65:2::/122 dst ::/0 dir in priority 1006 ptype main mark 0xd00/0xf00"
        " tmpl src fd00::2 dst fd00::1 proto esp reqid 7 mode tunnel level use",
    ),
    (
        PolicyWish(PolicyId("out", Selector("192.0.2.1/32", "192.0.2.2/32", 6, 0, 179)), 100),
        "src 192.0.2.1/32 dst 192.0.2.2/32 proto tcp dport 179 dir out priority 100 ptype main",
    ),
    (
        PolicyWish(PolicyId("in", Selector("::/0", "::/0", 58, 135)), 10),
        "src ::/0 dst ::/0 proto ipv6-icmp type 135 dir in priority 10 ptype main",
    ),
]


@pytest.fixture
async def xfrm(inside: Namespace) -> AsyncIterator[Xfrm]:
    with closing(open_xfrm(REQID)) as opened:
        yield opened


def shown(inside: Namespace, details: str = "") -> list[str]:
    """One line for each policy; `details`, such as -s, are options of the tool."""
    lines: list[str] = []
    for line in inside.run(f"ip {details} -d xfrm policy").splitlines():
        if line.startswith("\t"):
            lines[-1] += f" {line.strip()}"
        elif line:
            lines.append(line.strip())
    return [" ".join(line.split()) for line in lines]


async def only(xfrm: Xfrm) -> KernelPolicy:
    (found,) = await xfrm.read_policies(4)
    return found


@pytest.mark.parametrize(("wish", "line"), SHOWN)
async def test_the_tool_shows_what_was_wished_for(inside, xfrm, wish, line):
    assert await xfrm.change([PolicyPut(wish)]) == [0]
    assert shown(inside) == [line]
    families = [await xfrm.read_policies(4), await xfrm.read_policies(6)]
    assert [[policy.wish(REQID) for policy in found] for found in families] == (
        [[], [wish]] if ":" in line else [[wish], []]
    )
    assert await xfrm.change([PolicyDelete(wish.id)]) == [0]
    assert shown(inside) == []


async def test_a_policy_is_exchanged_in_place(inside, xfrm):
    assert await xfrm.change([PolicyPut(BLOCKED, index=0x66000009)]) == [0]
    for wish in (OPEN, OTHER, BLOCKED, OPEN):
        assert await xfrm.change([PolicyPut(wish, index=0x66000011)]) == [0]
        found = await only(xfrm)
        assert (found.wish(REQID), found.index) == (wish, 0x66000009)
        assert found.counters.added > 0


async def test_a_number_that_is_taken(inside, xfrm):
    changes = [PolicyPut(BLOCKED, index=0x66000009), PolicyPut(MARKED, index=0x66000009)]
    assert await xfrm.change(changes) == [0, 0]
    numbers = {policy.id: policy.index for policy in await xfrm.read_policies(4)}
    assert numbers[BLOCKED.id] == 0x66000009
    assert 0 < numbers[MARKED.id] < 0x66000000


async def test_what_cannot_be_done(inside, xfrm):
    another = PolicyWish(BLOCKED.id, 5, "allow")
    assert await xfrm.change(
        [
            PolicyDelete(BLOCKED.id),
            PolicyPut(BLOCKED, replace=False),
            PolicyPut(another, replace=False),
            PolicyDelete(MARKED.id),
            PolicyPut(MARKED, replace=False),
            PolicyDelete(BLOCKED.id),
            StateDelete(StateId("192.0.2.1", 5)),
        ]
    ) == [errno.ENOENT, 0, errno.EEXIST, errno.ENOENT, 0, 0, errno.ESRCH]
    assert (await only(xfrm)).wish(REQID) == MARKED
    assert await xfrm.read_states(4) == []


async def test_many_at_once(inside, xfrm):
    """More than go out at once, with errors among them."""
    names = [
        PolicyId("out", Selector("0.0.0.0/0", f"10.66.{i // 4}.{i % 4 << 6}/26"))
        for i in range(501)
    ]
    changes = [PolicyPut(PolicyWish(name, 1006, "block"), replace=False) for name in names]
    some = changes[:300:7]
    assert await xfrm.change(some) == [0] * len(some)
    expected = [errno.EEXIST if i < 300 and i % 7 == 0 else 0 for i in range(501)]
    assert await xfrm.change(changes) == expected
    assert {policy.id for policy in await xfrm.read_policies(4)} == set(names)
    assert await xfrm.change([]) == []
    together = await asyncio.gather(
        *(xfrm.change([PolicyDelete(name) for name in part]) for part in (names[:250], names))
    )
    assert together == [[0] * 250, [errno.ENOENT] * 250 + [0] * 251]
    assert shown(inside) == []


async def test_several_readers(inside, xfrm):
    assert await xfrm.change([PolicyPut(BLOCKED), PolicyPut(SHOWN[3][0])]) == [0, 0]
    reads = [xfrm.read_policies(family) for family in (4, 6) * 5]
    states = [xfrm.read_states(family) for family in (4, 6) * 5]
    found = await asyncio.gather(*reads, *states)
    assert [[policy.family for policy in part] for part in found[:10]] == [[4], [6]] * 5
    assert found[10:] == [[]] * 10


FOREIGN = [
    ("src 10.1.2.3/24 dst 10.0.0.0/8 dir out mark 1 mask 0xff", "allow", False),
    ("src 10.0.0.0/8 dst 10.1.0.0/16 dev lo dir out", "allow", False),
    ("src 10.0.0.0/8 dst 10.1.0.0/16 dir out if_id 5", "allow", False),
    ("src 10.0.0.0/8 dst 10.1.0.0/16 dir in limit packet-hard 5", "allow", False),
    ("src 10.0.0.0/8 dst 10.1.0.0/16 dir fwd flag icmp", "allow", False),
    ("src 10.0.0.0/8 dst 10.1.0.0/16 dir in ptype sub", "allow", False),
    ("src 10.1.2.3/24 dst 10.0.0.0/8 dir out action block", "block", True),
]


@pytest.mark.parametrize(("line", "action", "plain"), FOREIGN)
async def test_policies_of_others(inside, xfrm, line, action, plain):
    inside.run(f"ip xfrm policy add {line} priority 77")
    found = await only(xfrm)
    assert (found.priority, found.action, found.id is not None) == (77, action, plain)
    if found.id is not None:
        assert await xfrm.change([PolicyDelete(found.id)]) == [0]
        assert shown(inside) == []


async def test_templates_of_others(inside, xfrm):
    inside.run(
        "ip xfrm policy add src 10.0.0.0/8 dst 10.1.0.0/16 dir out"
        " tmpl src 192.0.2.1 dst 192.0.2.2 proto esp reqid 7 mode tunnel"
        " tmpl proto ah reqid 8 mode transport"
    )
    found = await only(xfrm)
    assert [(t.protocol, t.mode, t.reqid) for t in found.templates] == [(50, 1, 7), (51, 0, 8)]
    assert found.wish(REQID) is None


async def nothing_is_told(listener) -> bool:
    try:
        async with asyncio.timeout(0.2):
            await listener.receive()
    except TimeoutError:
        return True
    return False


async def test_what_others_change_is_told(inside, xfrm):
    with closing(await xfrm.listen()) as listener:
        for wish in (BLOCKED, OPEN, MARKED):
            assert await xfrm.change([PolicyPut(wish)]) == [0]
        assert await xfrm.change([PolicyDelete(MARKED.id)]) == [0]
        assert await nothing_is_told(listener)
        for deed in (
            "add src 10.0.0.0/8 dst 10.1.0.0/16 dir in",
            "update src 10.0.0.0/8 dst 10.1.0.0/16 dir in priority 5",
            "delete src 10.0.0.0/8 dst 10.1.0.0/16 dir in",
            "flush",
        ):
            inside.run(f"ip xfrm policy {deed}")
            assert await listener.receive() == [Changed(states=False, policies=True)], deed
        assert await nothing_is_told(listener)
        with closing(open_xfrm(REQID)) as another:
            assert await another.change([PolicyPut(BLOCKED)]) == [0]
        assert await listener.receive() == [Changed(states=False, policies=True)]
        inside.run("ip xfrm state flush")
        assert await nothing_is_told(listener)  # there was none


async def test_what_was_lost_is_told(inside, xfrm):
    opened = AsyncXFRMSocket(buffer_bytes=4096)
    await opened.bind(groups=1 << 3)  # policies
    with closing(KernelListener(opened)) as listener:
        names = [PolicyId("out", Selector("0.0.0.0/0", f"10.66.{i}.0/24")) for i in range(99)]
        await xfrm.change([PolicyPut(PolicyWish(name, 5)) for name in names])
        told = await listener.receive()
        while told != [Changed(states=True, policies=True)]:
            told = await listener.receive()


PROVISIONAL = (
    "ip xfrm state allocspi src 192.0.2.2 dst 192.0.2.1 proto esp reqid 7 mode tunnel"
    " min 0x1235 max 0x1235"
)


async def test_a_state_that_others_have_reserved(inside, xfrm):
    """Without ESP, too: it has no key yet, and the kernel deletes it soon."""
    inside.run("sysctl -qw net.core.xfrm_acq_expires=1")
    with closing(await xfrm.listen()) as listener:
        inside.run(PROVISIONAL)
        (found,) = await xfrm.read_states(4)
        assert await xfrm.read_states(6) == []
        assert (found.id, found.source) == (StateId("192.0.2.1", 0x1235), "192.0.2.2")
        assert (found.protocol, found.mode, found.reqid) == (50, 1, 7)
        assert (found.algorithm, found.fingerprint, found.limited) == (None, b"", True)
        told: list[Changed | Expired] = []
        async with asyncio.timeout(30):
            while not told:
                told += [one for one in await listener.receive() if isinstance(one, Expired)]
    assert told == [Expired(found.id, hard=True)]
    assert await xfrm.read_states(4) == []


async def test_answers_that_are_lost(inside):
    """It is told, and the next answers are those to the next questions."""
    async with AsyncXFRMSocket(buffer_bytes=1) as socket:
        await socket.bind()
        delete, write = PolicyDelete(BLOCKED.id), functools.partial(codec.write, REQID)
        with pytest.raises(Refused) as refusal:
            await socket.execute_written([delete] * 40, write)
        assert refusal.value.code == errno.ENOBUFS
        assert await socket.execute_written([delete], write) == [errno.ENOENT]


async def test_trial(inside, xfrm):
    """The ip tool gets the same answer."""
    key = Key(3, Algorithm("rfc4106(gcm(aes))", 128), bytearray(range(1, 21)))
    for family, source, destination in ((4, "192.0.2.1", "192.0.2.2"), (6, "fd00::1", "fd00::2")):
        inside.run(
            f"ip xfrm state add src {source} dst {destination} proto esp spi 5 mode tunnel"
            " aead 'rfc4106(gcm(aes))' 0x000102030405060708090a0b0c0d0e0f10111213 128",
            check=False,
        )
        possible = bool(inside.run("ip xfrm state"))
        inside.run("ip xfrm state flush")
        reason = await xfrm.trial(key, family)
        assert (reason == "") == possible
        assert possible or reason.startswith("this kernel")
        assert inside.run("ip xfrm state") == ""


async def test_the_socket_by_itself(inside):
    async with AsyncExitStack() as stack:
        socket = await stack.enter_async_context(AsyncXFRMSocket())
        await socket.bind()
        named = {"src": "10.0.0.0/8", "dst": "10.1.0.0/16", "direction": 1}
        await socket.policy("add", **named, priority=5)
        with pytest.raises(Refused) as refusal:
            await socket.policy("add", **named)
        assert refusal.value.code == errno.EEXIST
        await socket.policy("update", **named, priority=6)
        (found,) = [message async for message in socket.get_policies()]
        assert (found["priority"], found["sel_prefixlen_d"], found["dir"]) == (6, 16, 1)
        await socket.policy("delete", **named)
        with pytest.raises(Refused) as refusal:
            await socket.state("delete", dst="10.0.0.1", spi=5)
        assert refusal.value.code == errno.ESRCH
        assert [message async for message in socket.get_states()] == []
        assert not any(socket._sending)
