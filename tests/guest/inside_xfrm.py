"""States of xfrm in a kernel that has ESP: run in the guest by test_xfrm.py.

    node a, inside ── 192.0.2.1, fd00::1 ──veth── 192.0.2.2, fd00::2 ── node b, by the ip tool

What can be asked of policies alone is in tests/kernel/test_xfrm_policies.py.
"""

from __future__ import annotations

import asyncio
import errno
import itertools
import re
import secrets
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import closing

import pytest

from dataplane.ipsec.kernel import (
    Change,
    Changed,
    Expired,
    KernelState,
    PolicyPut,
    StateAdd,
    StateDelete,
    Xfrm,
    open_xfrm,
)
from dataplane.ipsec.keys import Algorithm, Key, Material
from dataplane.ipsec.values import (
    PolicyId,
    PolicyWish,
    Selector,
    StateId,
    StateWish,
    Template,
)
from tests.kernel.conftest import Namespace
from tests.kernel.conftest import inside as inside
from tests.kernel.conftest import netns as netns
from tests.kernel.conftest import veth as veth
from tests.kernel.process_memory import remains

REQID, PATIENCE = 7, 60.0
GCM = Algorithm("rfc4106(gcm(aes))", 128)
CBC = Algorithm(auth="hmac(sha256)", trunc_bits=128, encryption="cbc(aes)")
A, B = {4: "192.0.2.1", 6: "fd00::1"}, {4: "192.0.2.2", 6: "fd00::2"}
TO_A, TO_B = 0x1235, 0x1245
PINGS = 5
NEIGHBOURS = (135, 136)  # types of ICMPv6

# Names, bytes of the key or keys, as a key file may have them: section 2.2 of the IPsec reference.
ALGORITHMS = [
    *((Algorithm("rfc4106(gcm(aes))", bits), (n,)) for bits in (128, 96, 64) for n in (20, 28, 36)),
    *((Algorithm("rfc4309(ccm(aes))", 128), (n,)) for n in (19, 27, 35)),
    (Algorithm("rfc7539esp(chacha20,poly1305)", 128), (36,)),
    *(
        (Algorithm(auth="hmac(sha256)", trunc_bits=bits, encryption="cbc(aes)"), (32, n))
        for bits in (96, 128)
        for n in (16, 24, 32)
    ),
    *(
        (Algorithm(auth="hmac(sha256)", trunc_bits=128, encryption="rfc3686(ctr(aes))"), (32, n))
        for n in (20, 28, 36)
    ),
    (Algorithm(auth="hmac(sha384)", trunc_bits=192, encryption="cbc(aes)"), (48, 32)),
    (Algorithm(auth="hmac(sha512)", trunc_bits=256, encryption="cbc(aes)"), (64, 32)),
    (Algorithm(auth="hmac(sha1)", trunc_bits=96, encryption="cbc(aes)"), (20, 16)),
    (Algorithm(auth="cmac(aes)", trunc_bits=96, encryption="cbc(aes)"), (16, 16)),
    (Algorithm(auth="xcbc(aes)", trunc_bits=96, encryption="cbc(aes)"), (16, 16)),
    (Algorithm(auth="hmac(sha256)", trunc_bits=128, encryption="cbc(camellia)"), (32, 32)),
]
IMPOSSIBLE = [
    (Algorithm("rfc4106(gcm(aes))", 128), (19,)),
    (Algorithm("rfc4106(gcm(aes))", 104), (20,)),
    (Algorithm("rfc4106(gcm(nothing))", 128), (20,)),
    (Algorithm(auth="hmac(sha256)", trunc_bits=128, encryption="cbc(aes)"), (32, 20)),
]

# Reads the keys of all states, and is told of those that come, as the agent does.
READER = """
import asyncio, sys
from dataplane.ipsec.kernel import open_xfrm

async def main():
    xfrm = open_xfrm(7)
    listener = await xfrm.listen()
    print(len(await xfrm.read_states(4)), flush=True)
    await listener.receive()
    print(len(await xfrm.read_states(4)), flush=True)
    sys.stdin.readline()

marker = bytes(b ^ 0x55 for b in bytes.fromhex(sys.argv[1]))
asyncio.run(main())
"""


@pytest.fixture
async def xfrm(inside: Namespace) -> AsyncIterator[Xfrm]:
    with closing(open_xfrm(REQID)) as opened:
        yield opened


def key_of(algorithm: Algorithm, lengths: tuple[int, ...]) -> Key:
    octets = bytearray(secrets.token_bytes(sum(lengths)))
    return Key(5, algorithm, octets, lengths[0] if len(lengths) == 2 else 0)


def material(octets: bytes, algorithm: Algorithm = GCM) -> Material:
    return Material(algorithm, bytearray(octets), 0 if algorithm.aead else 32)


def pair(family: int = 4) -> tuple[StateWish, StateWish]:
    """Receiving and sending."""
    near, far = A[family], B[family]
    return (
        StateWish(StateId(near, TO_A), far, 5, receives=True, life="ab"),
        StateWish(StateId(far, TO_B), near, 5, receives=False, life="ab"),
    )


def shared(family: int = 4) -> tuple[StateWish, StateWish]:
    near, far = A[family], B[family]
    return (
        StateWish(StateId(near, 5), {4: "0.0.0.0", 6: "::"}[family], 5, receives=True),
        StateWish(StateId(far, 5), near, 5, receives=False),
    )


def shown(inside: Namespace) -> dict[str, str]:
    """Destination -> what `ip -s -d xfrm state` has to say, on one line."""
    found: dict[str, str] = {}
    destination = ""
    for line in inside.run("ip -s -d xfrm state").splitlines():
        if line.startswith("src "):
            destination = line.split()[3]
            found[destination] = line
        elif line:
            found[destination] += f" {line.strip()}"
    return {name: " ".join(text.split()) for name, text in found.items()}


async def added(xfrm: Xfrm, *changes: Change) -> None:
    assert await xfrm.change(changes) == [0] * len(changes)


async def states(xfrm: Xfrm, family: int = 4) -> dict[StateId, KernelState]:
    return {state.id: state for state in await xfrm.read_states(4 if family == 4 else 6)}


@pytest.mark.parametrize("family", [4, 6])
@pytest.mark.parametrize("algorithm", [GCM, CBC], ids=str)
async def test_layout_pair(inside, xfrm, family, algorithm):
    receiving, sending = pair(family)
    octets = secrets.token_bytes(20 if algorithm.aead else 64)
    other = secrets.token_bytes(len(octets))
    await added(
        xfrm,
        StateAdd(receiving, material(octets, algorithm)),
        StateAdd(sending, material(other, algorithm)),
    )
    lines = shown(inside)
    into, out = lines[A[family]], lines[B[family]]
    assert into.startswith(f"src {B[family]} dst {A[family]} proto esp spi 0x00001235(")
    assert out.startswith(f"src {A[family]} dst {B[family]} proto esp spi 0x00001245(")
    for line, key in ((into, octets), (out, other)):
        assert f"reqid {REQID}(" in line
        assert "mode tunnel" in line
        assert "flag esn" in line
        assert "replay_window 1024" in line
        assert "limit: soft (INF)(bytes), hard (INF)(bytes)" in line
        assert "limit: soft (INF)(packets), hard (INF)(packets)" in line
        if algorithm.aead:
            assert f"aead rfc4106(gcm(aes)) 0x{key.hex()} (160 bits) 128" in line
        else:
            assert f"auth-trunc hmac(sha256) 0x{key[:32].hex()} (256 bits) 128" in line
            assert f"enc cbc(aes) 0x{key[32:].hex()} (256 bits)" in line
    assert "output-mark 0xd00/0xf00" in into
    assert "output-mark" not in out

    found = await states(xfrm, family)
    assert set(found) == {receiving.id, sending.id}
    assert await xfrm.read_states(10 - family) == []
    for wish, key in ((receiving, octets), (sending, other)):
        state = found[wish.id]
        assert state.fits(wish, REQID)
        assert state.algorithm == algorithm
        assert (state.esn, state.replay_window, state.soft_packets) == (True, 1024, 0)
        assert state.fingerprint == material(key, algorithm).fingerprint
        assert state.counters.added > 0
        assert (state.counters.packets, state.counters.used) == (0, 0)
    assert found[receiving.id].fingerprint != found[sending.id].fingerprint


@pytest.mark.parametrize("family", [4, 6])
async def test_layout_shared(inside, xfrm, family):
    receiving, sending = shared(family)
    octets = secrets.token_bytes(20)
    await added(xfrm, *(StateAdd(wish, material(octets)) for wish in (receiving, sending)))
    for destination, line in shown(inside).items():
        assert "proto esp spi 0x00000005(5)" in line
        assert "replay-window 0" in line
        assert "flag esn" not in line
        assert "limit: soft 2147483648(packets), hard (INF)(packets)" in line
        assert ("output-mark 0xd00/0xf00" in line) == (destination == A[family])
    found = await states(xfrm, family)
    for wish in (receiving, sending):
        state = found[wish.id]
        assert state.fits(wish, REQID)
        assert (state.esn, state.replay_window, state.soft_packets) == (False, 0, 1 << 31)
        assert state.fingerprint == material(octets).fingerprint


async def test_what_cannot_be_done(inside, xfrm):
    receiving, sending = pair()
    octets = secrets.token_bytes(20)
    assert await xfrm.change(
        [
            StateDelete(receiving.id),
            StateAdd(receiving, material(octets)),
            StateAdd(receiving, material(secrets.token_bytes(20))),
            StateAdd(sending, material(secrets.token_bytes(19))),
            StateAdd(sending, material(octets)),
            StateDelete(sending.id),
        ]
    ) == [errno.ESRCH, 0, errno.EEXIST, errno.EINVAL, 0, 0]
    (left,) = await xfrm.read_states(4)
    assert left.fits(receiving, REQID)
    assert left.fingerprint == material(octets).fingerprint


async def test_many_at_once(inside, xfrm):
    """More than go out at once; those of others stay."""
    foreign = "src 192.0.2.9 dst 192.0.2.8 proto esp spi 0xc0000001"
    inside.run(f"ip xfrm state add {foreign} reqid 1 mode transport {by_tool(bytes(range(20)))}")
    wishes = [
        StateWish(
            StateId("192.0.2.1", i << 4 | 5), f"198.51.{i >> 8}.{i & 255}", 5, True, life="ab"
        )
        for i in range(1, 502)
    ]
    keys = [secrets.token_bytes(20) for _ in wishes]
    changes = [StateAdd(wish, material(key)) for wish, key in zip(wishes, keys, strict=True)]
    await added(xfrm, *changes)
    found = await states(xfrm)
    assert len(found) == 502
    for wish, key in zip(wishes, keys, strict=True):
        assert found[wish.id].fits(wish, REQID)
        assert found[wish.id].fingerprint == material(key).fingerprint
    await added(xfrm, *(StateDelete(wish.id) for wish in wishes))
    (left,) = await xfrm.read_states(4)
    assert (left.source, left.mode, left.reqid) == ("192.0.2.9", 0, 1)


@pytest.mark.parametrize("family", [4, 6])
async def test_what_this_kernel_can_do(inside, xfrm, family):
    for algorithm, lengths in ALGORITHMS:
        assert await xfrm.trial(key_of(algorithm, lengths), family) == "", algorithm
    for algorithm, lengths in IMPOSSIBLE:
        reason = await xfrm.trial(key_of(algorithm, lengths), family)
        assert reason.startswith(f"this kernel cannot do {algorithm}: "), algorithm
    assert shown(inside) == {}


async def nothing_is_told(listener) -> bool:
    try:
        async with asyncio.timeout(0.5):
            await listener.receive()
    except TimeoutError:
        return True
    return False


def by_tool(octets: bytes, more: str = "") -> str:
    return f"aead 'rfc4106(gcm(aes))' 0x{octets.hex()} 128 {more}"


async def test_what_others_change_is_told(inside, xfrm):
    receiving, sending = pair()
    octets = secrets.token_bytes(20)
    with closing(await xfrm.listen()) as listener:
        await added(xfrm, *(StateAdd(wish, material(octets)) for wish in (receiving, sending)))
        await added(xfrm, StateDelete(sending.id))
        assert await xfrm.trial(key_of(GCM, (20,))) == ""
        assert await nothing_is_told(listener)
        foreign = "src 192.0.2.9 dst 192.0.2.8 proto esp spi 9"
        for deed in (
            f"add {foreign} mode tunnel {by_tool(octets)}",
            f"delete {foreign}",
            f"delete src 192.0.2.2 dst 192.0.2.1 proto esp spi {TO_A}",
        ):
            inside.run(f"ip xfrm state {deed}")
            assert await listener.receive() == [Changed(states=True, policies=False)], deed
        await added(xfrm, StateAdd(receiving, material(octets)))
        inside.run("ip xfrm state flush")
        assert Changed(states=True, policies=False) in await listener.receive()


async def test_a_lifetime_that_ends_is_told(inside, xfrm):
    name = StateId("192.0.2.8", 9)
    with closing(await xfrm.listen()) as listener:
        inside.run(
            "ip xfrm state add src 192.0.2.9 dst 192.0.2.8 proto esp spi 9 mode tunnel"
            f" {by_tool(bytes(range(20)))} limit time-soft 2 limit time-hard 4"
        )
        told: list[Changed | Expired] = []
        async with asyncio.timeout(PATIENCE):
            while Expired(name, hard=True) not in told:
                told += await listener.receive()
    assert [one for one in told if isinstance(one, Expired)] == [
        Expired(name, hard=False),
        Expired(name, hard=True),
    ]
    assert await xfrm.read_states(4) == []


@pytest.fixture
async def far(
    inside: Namespace, xfrm: Xfrm, netns: Callable[[str], Namespace], veth: Callable[..., None]
) -> Namespace:
    """Node b, with what node a says to it and hears from it in tunnels."""
    b = netns("b")
    veth(inside, "eth0", b, "eth0")
    for node, ends in ((inside, A), (b, B)):
        node.run(f"ip addr add {ends[4]}/24 dev eth0; ip addr add {ends[6]}/64 dev eth0 nodad")
    for family in (4, 6):
        await added(xfrm, *(PolicyPut(policy) for policy in policies(family)))
        length = 32 if family == 4 else 128
        for direction, source, destination in (("out", B, A), ("in", A, B)):
            near, far_end = source[family], destination[family]
            b.run(
                f"ip xfrm policy add src {near}/{length} dst {far_end}/{length} dir {direction}"
                f" priority 1000 tmpl src {near} dst {far_end} proto esp reqid {REQID} mode tunnel"
            )
    for kind, direction in itertools.product(NEIGHBOURS, ("in", "out")):
        b.run(
            f"ip xfrm policy add src ::/0 dst ::/0 proto ipv6-icmp type {kind} dir {direction}"
            " priority 10"
        )
    return b


def policies(family: int) -> Iterator[PolicyWish]:
    """Neighbours are found in clear, else nothing would ever get to the other end."""
    length = 32 if family == 4 else 128
    near, far = f"{A[family]}/{length}", f"{B[family]}/{length}"
    yield PolicyWish(
        PolicyId("out", Selector(near, far)),
        1000,
        "allow",
        Template(A[family], B[family], TO_B),
    )
    yield PolicyWish(
        PolicyId("in", Selector(far, near)), 1000, "allow", Template(B[family], A[family])
    )
    if family == 6:
        for kind in NEIGHBOURS:
            yield PolicyWish(PolicyId("in", Selector("::/0", "::/0", 58, kind)), 10)
            yield PolicyWish(PolicyId("out", Selector("::/0", "::/0", 58, kind)), 10)


def b_has(b: Namespace, family: int, to_a: bytes, to_b: bytes) -> None:
    b.run("ip xfrm state flush")
    for source, destination, spi, octets in (
        (B[family], A[family], TO_A, to_a),
        (A[family], B[family], TO_B, to_b),
    ):
        b.run(
            f"ip xfrm state add src {source} dst {destination} proto esp spi {spi} reqid {REQID}"
            f" mode tunnel {by_tool(octets, 'flag esn replay-window 1024')}"
        )


def pings(inside: Namespace, family: int) -> int:
    """How many are answered; it says nothing at all where it may not even begin."""
    said = inside.run(f"ping -c {PINGS} -i 0.2 -W 2 {B[family]}", check=False)
    found = re.search(r"(\d+) received", said)
    return int(found[1]) if found else 0


def packets_shown(line: str) -> tuple[int, int]:
    """Bytes and packets of `lifetime current`."""
    found = re.search(r"lifetime current: (\d+)\(bytes\), (\d+)\(packets\)", line)
    assert found, line
    return int(found[1]), int(found[2])


@pytest.mark.parametrize("family", [4, 6])
async def test_what_passes_is_counted(inside, xfrm, far, family):
    receiving, sending = pair(family)
    to_a, to_b = secrets.token_bytes(20), secrets.token_bytes(20)
    await added(xfrm, StateAdd(receiving, material(to_a)), StateAdd(sending, material(to_b)))
    b_has(far, family, to_a, to_b)
    assert pings(inside, family) == PINGS
    found, lines = await states(xfrm, family), shown(inside)
    for wish, destination in ((receiving, A[family]), (sending, B[family])):
        state = found[wish.id]
        assert state.fits(wish, REQID)
        assert state.counters.packets == PINGS
        assert state.counters.used >= state.counters.added > 0
        assert (state.counters.bytes, state.counters.packets) == packets_shown(lines[destination])

    # a policy that is exchanged in place, under what passes
    out = next(policies(family))
    block = PolicyWish(out.id, out.priority, "block")
    await added(xfrm, PolicyPut(block))
    assert pings(inside, family) == 0
    await added(xfrm, PolicyPut(out))
    assert pings(inside, family) == PINGS

    # what comes again is told by the receiving state, and so by the peer
    b_has(far, family, to_a, to_b)
    assert pings(inside, family) == 0
    assert (await states(xfrm, family))[receiving.id].replayed >= PINGS

    # and so is another key at the other end
    await added(xfrm, StateDelete(receiving.id), StateAdd(receiving, material(to_a)))
    b_has(far, family, secrets.token_bytes(20), to_b)
    assert pings(inside, family) == 0
    found = await states(xfrm, family)
    assert found[receiving.id].integrity_failed >= PINGS
    assert found[receiving.id].counters.packets == 0


async def test_no_key_stays_in_memory(inside, xfrm):
    """Of a process that reads states and is told of them, as root can read its memory."""
    receiving, sending = pair()
    keys = [secrets.token_bytes(20) for _ in range(2)]
    await added(xfrm, StateAdd(receiving, material(keys[0])))
    marker = secrets.token_bytes(20)
    argument = bytes(byte ^ 0x55 for byte in marker).hex()
    child = inside.start(sys.executable, "-c", READER, argument)
    assert child.stdin is not None
    assert child.stdout is not None
    assert child.stdout.readline() == "1\n"
    await added(xfrm, StateAdd(sending, material(keys[1])))
    assert child.stdout.readline() == "2\n"
    assert remains(marker, child.pid)
    assert not any(remains(key, child.pid) for key in keys)
    child.stdin.write("\n")
    child.stdin.flush()
    assert child.wait(timeout=PATIENCE) == 0
