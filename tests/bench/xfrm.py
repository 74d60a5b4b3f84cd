"""How fast states and policies of IPsec are written and read: `python -m tests.bench.xfrm`, as
root.  A kernel without ESP is shown without states; the guest of tests/guest has it.

It works in a network namespace of its own, which ends with it.
"""

from __future__ import annotations

import asyncio
import ctypes
import os
import resource
import struct
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from pathlib import Path

from dataplane.ipsec.kernel import (
    Change,
    PolicyPut,
    StateAdd,
    StateDelete,
    Xfrm,
    open_xfrm,
)
from dataplane.ipsec.keys import Algorithm, Key, Material
from dataplane.ipsec.values import Direction, PolicyId, PolicyWish, Selector, StateId, StateWish
from dataplane.ipsec.values import Template as Tunnel

PEERS, DUMPED_POLICIES = 500, 3000
OWN, REQID = "172.16.0.1", 1
AES = Algorithm("rfc4106(gcm(aes))", 128)
KEY = bytes(range(1, 21))
SELECTOR = "=16s16s8sHBBB3xiI"
POLICY = struct.Struct("=IHHII" + SELECTOR[1:] + "12QIIBBBB4x")
TEMPLATE = struct.Struct("=HH16s4sB3xH2x16sIBBBxIII")


def show(what: str, seconds: float, per: int = 1) -> None:
    each = f"{seconds / per * 1e6:10.1f} us each" if per > 1 else ""
    print(f"{what:<66}{seconds * 1000:9.1f} ms{each}", flush=True)


async def timed(what: str, work: Awaitable[object], per: int = 1) -> float:
    start = time.perf_counter()
    await work
    seconds = time.perf_counter() - start
    show(what, seconds, per)
    return seconds


def taken(what: str, work: Callable[[], object], per: int) -> None:
    start = time.process_time()
    work()
    show(what, time.process_time() - start, per)


def resident() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 2**20


def node(number: int) -> str:
    return f"172.16.{1 + (number >> 8)}.{number & 255}"


def net(number: int) -> str:
    return f"10.{128 + (number >> 10)}.{number >> 2 & 255}.{(number & 3) << 6}/26"


def wish(peer: int, direction: Direction, key: int) -> PolicyWish:
    """Key 0: none yet, so that the way out is closed."""
    anywhere, far = "0.0.0.0/0", net(peer)
    if direction != "out":
        name = PolicyId(direction, Selector(far, anywhere))
        return PolicyWish(name, 1006, "allow", Tunnel(node(peer), OWN))
    name = PolicyId("out", Selector(anywhere, far))
    if not key:
        return PolicyWish(name, 1006, "block")
    return PolicyWish(name, 1006, "allow", Tunnel(OWN, node(peer), 1 << 4 | key))


def ways_in() -> list[Change]:
    """And what is said to the peers' hosts, which are policies like these."""
    directions: tuple[Direction, ...] = ("in", "fwd")
    policies = [PolicyPut(wish(i, way, 0)) for i in range(PEERS) for way in directions]
    hosts = [
        PolicyWish(
            PolicyId("out", Selector("10.127.0.0/26", f"{node(i)}/32")),
            1000,
            "allow",
            Tunnel(OWN, node(i), 1 << 4 | 1),
        )
        for i in range(PEERS)
    ]
    return [*policies, *(PolicyPut(host) for host in hosts)]


def ways_out(key: int) -> list[Change]:
    return [PolicyPut(wish(i, "out", key)) for i in range(PEERS)]


def receiving(key: int) -> list[StateAdd]:
    return [
        _state(StateWish(StateId(OWN, i + 2 << 4 | key), node(i), key, True, life="ab"))
        for i in range(PEERS)
    ]


def sending(key: int) -> list[StateAdd]:
    return [
        _state(StateWish(StateId(node(i), 1 << 4 | key), OWN, key, False, life="ab"))
        for i in range(PEERS)
    ]


def _state(made: StateWish) -> StateAdd:
    return StateAdd(made, Key(made.key, AES, bytearray(KEY)).material(made))


def gone(changes: Iterable[StateAdd]) -> list[Change]:
    return [StateDelete(change.wish.id) for change in changes]


async def start(xfrm: Xfrm, with_states: bool) -> None:
    closed, inward = ways_out(0), ways_in()
    total = await timed("500 blocks out", done(xfrm, closed), PEERS)
    if with_states:
        total += await timed("500 receiving states", done(xfrm, receiving(1)), PEERS)
    total += await timed("1500 policies in, fwd and to hosts", done(xfrm, inward), 3 * PEERS)
    if with_states:
        total += await timed("500 sending states", done(xfrm, sending(1)), PEERS)
    total += await timed("500 ways out turned from block to tunnel", done(xfrm, ways_out(1)), PEERS)
    show("START: 2,000 policies, 500 turned, 1,000 states", total)


async def rotate(xfrm: Xfrm, with_states: bool) -> None:
    """One receiving state is what the shared layout has."""
    one = _state(StateWish(StateId(OWN, 2), "0.0.0.0", 2, True))
    new = [one, *sending(2)]
    total = 0.0
    if with_states:
        total += await timed("501 states", done(xfrm, new), PEERS + 1)
    total += await timed("500 ways out with another SPI", done(xfrm, ways_out(2)), PEERS)
    if with_states:
        total += await timed("500 states deleted", done(xfrm, gone(sending(1))), PEERS)
    show("ROTATION: 501 NEWSA, 500 UPDPOLICY, 500 DELSA", total)


async def done(xfrm: Xfrm, changes: Sequence[Change]) -> None:
    codes = await xfrm.change(changes)
    assert not any(codes), set(codes)


async def read(xfrm: Xfrm) -> None:
    more = [
        PolicyPut(PolicyWish(PolicyId("out", Selector(net(i), net(i))), 5)) for i in range(1000)
    ]
    await done(xfrm, more)
    policies = await xfrm.read_policies(4)
    assert len(policies) == DUMPED_POLICIES
    await timed("3,000 policies read", xfrm.read_policies(4), DUMPED_POLICIES)
    states = await xfrm.read_states(4)
    if states:
        await timed(f"{len(states)} states read", xfrm.read_states(4), len(states))
    start_at = time.perf_counter()
    assert sum(policy.wish(REQID) is not None for policy in policies) == DUMPED_POLICIES
    show("and compared", time.perf_counter() - start_at, DUMPED_POLICIES)


async def has_esp(xfrm: Xfrm) -> bool:
    reason = await xfrm.trial(Key(1, AES, bytearray(KEY)))
    if reason:
        print(f"without states: {reason}")
    return not reason


def encoders() -> None:
    """The same policy as bytes, in three ways; and states."""
    from pyroute2.netlink import nlmsg

    from dataplane.ipsec import codec
    from dataplane.xfrm import requests
    from dataplane.xfrm.attributes import Template
    from dataplane.xfrm.messages import userpolicy_info

    changes, made_states = ways_out(1), receiving(1)
    buffer = memoryview(bytearray(1 << 12))

    class generic(nlmsg):  # type: ignore[misc]  # noqa: N801
        prefix = "XFRMA_"
        fields = userpolicy_info.fields
        nla_map = tuple((i, "XFRMA_TMPL" if i == 5 else f"X{i}", "cdata") for i in range(6))

    def ours(wanted: Sequence[Change]) -> None:
        for change in wanted:
            codec.write(REQID, change, buffer, 0)

    def messages() -> None:
        for change in changes:
            assert isinstance(change, PolicyPut)
            template = change.wish.template
            assert template is not None
            tunnel = Template(
                requests.address(template.destination),
                requests.address(template.source),
                requests.family_of(template.source),
                template.spi,
                reqid=REQID,
            )
            selector = change.wish.id.selector
            requests.policy(
                "update",
                src=selector.source,
                dst=selector.destination,
                direction=1,
                priority=5,
                templates=[tunnel],
            ).encode_into(buffer, 0)

    def pyroute2() -> None:
        for change in changes:
            codec.write(REQID, change, buffer, 0)
            made = userpolicy_info.decoded_from(bytes(buffer[:252]))
            message = generic()
            message.update({name: made[name] for name in made.names} | {"": 0})
            message["attrs"] = [("XFRMA_TMPL", bytes(64))]
            message["header"] = {"type": 25, "flags": 1, "sequence_number": 1, "pid": 1}
            message.encode()

    def bare() -> None:
        for _ in changes:
            POLICY.pack_into(buffer, 0, 252, 25, 1, 1, 1, bytes(16), bytes(16), bytes(8), 2, 26,
                             *([0] * 22))  # fmt: skip
            TEMPLATE.pack_into(buffer, 184, 68, 5, bytes(16), bytes(4), 50, 2, bytes(16), 1, 1, 0,
                               0, 0, 0, 0)  # fmt: skip

    for work, what in (
        (lambda: ours(changes), "a policy, from wish to bytes, by dataplane.xfrm"),
        (lambda: ours(made_states), "a state with ESN and its key, likewise"),
        (messages, "the policy as a message of pyroute2's kind, by dataplane.xfrm"),
        (pyroute2, "the policy by pyroute2's own encoder"),
        (bare, "two structures packed, nothing looked up: the least there is"),
    ):
        work()
        taken(what, work, len(changes))


async def main() -> None:
    before, since = resident(), time.perf_counter()
    with_kernel = open_xfrm(REQID)
    show("import of pyroute2 and what needs it", time.perf_counter() - since)
    print(f"{'its memory':<66}{resident() - before:9.1f} MiB")
    encoders()
    material = Material(AES, bytearray(KEY))
    taken("fingerprint of a key", lambda: [material.fingerprint for _ in range(1000)], 1000)
    with_states = await has_esp(with_kernel)
    await start(with_kernel, with_states)
    await rotate(with_kernel, with_states)
    await read(with_kernel)
    with_kernel.close()


if __name__ == "__main__":
    if ctypes.CDLL(None, use_errno=True).unshare(0x40000000) != 0:
        raise OSError(os.strerror(ctypes.get_errno()))
    asyncio.run(main())
