"""What the driver says to a device, and when; the kernel itself is the guest lane's."""

from __future__ import annotations

import errno
import os
from collections.abc import Mapping

import pytest
from msgspec import structs

from dataplane.interfaces import Interface
from dataplane.settings import WireguardSettings
from dataplane.wireguard import polls
from dataplane.wireguard.codec import REMOVE_ME, UPDATE_ONLY, PeerChange
from dataplane.wireguard.driver import WireguardDriver, WireguardError
from dataplane.wireguard.state import DeviceState, PeerState, PeerWish
from tests.fakes.wireguard_device import OWN_KEY, FakeDevice

A, B = b"a" * 32, b"b" * 32
AT_A, AT_B, ELSEWHERE = ("172.30.0.1", 51820), ("172.30.0.2", 51820), ("172.30.0.9", 9)
N1, N2 = "10.1.0.0/26", "10.2.0.0/26"
UP = Interface("wireguard.cali", 7, up=True, generation=1)
WISHES = {A: PeerWish("a", AT_A, frozenset((N1,))), B: PeerWish("b", AT_B, frozenset((N2,)))}
PEERS = {key: PeerState(wish.endpoint, wish.nets) for key, wish in WISHES.items()}
AS_IT_SHOULD_BE = DeviceState(7, OWN_KEY, 51820, 0x200000, PEERS)
NEW = [PeerChange(A, 0, AT_A, None, (N1,)), PeerChange(B, 0, AT_B, None, (N2,))]


class Lab:
    def __init__(self, kernel: FakeDevice, wishes: Mapping[bytes, PeerWish] = WISHES) -> None:
        self.kernel = kernel
        self.driver = WireguardDriver(4, WireguardSettings(), kernel=kernel)
        self.driver.interface_changed("wireguard.cali", UP)
        self.driver.desire(wishes)

    async def apply(self) -> list[object]:
        await self.driver.apply_additions()
        await self.driver.apply_removals()
        return list(self.kernel.take())

    async def refresh(self) -> bool:
        self.driver.refresh_seconds = 1e-9
        try:
            return await self.driver.check()
        finally:
            self.driver.refresh_seconds = 90.0


async def settled() -> Lab:
    lab = Lab(FakeDevice(AS_IT_SHOULD_BE))
    assert await lab.apply() == []
    return lab


async def test_from_nothing() -> None:
    lab = Lab(FakeDevice())
    assert lab.driver.pending
    assert lab.driver.state is None
    assert await lab.apply() == [(51820, 0x200000), "key", NEW]
    assert lab.driver.state == lab.kernel.state == AS_IT_SHOULD_BE
    assert lab.driver.public_key == OWN_KEY
    assert (lab.driver.written, lab.driver.pending) == (3, False)
    assert await lab.apply() == []


async def test_what_is_there_is_adopted() -> None:
    lab = await settled()
    assert (lab.driver.written, lab.driver.public_key) == (0, OWN_KEY)
    wrong = structs.replace(AS_IT_SHOULD_BE, port=1234)
    assert await Lab(FakeDevice(wrong)).apply() == [(51820, None)]
    wrong = structs.replace(AS_IT_SHOULD_BE, mark=0x100000)
    assert await Lab(FakeDevice(wrong)).apply() == [(None, 0x200000)]


async def test_a_device_that_is_not_up_is_left_alone() -> None:
    lab = Lab(FakeDevice())
    for interface in (structs.replace(UP, up=False), None):
        lab.driver.interface_changed("wireguard.cali", interface)
        assert not lab.driver.pending
        assert await lab.apply() == []
    lab.driver.interface_changed("wg-v6.cali", UP)
    assert not lab.driver.pending
    assert lab.driver.next_check() == float("inf")
    assert await lab.driver.look() is None
    assert lab.kernel.reads == 0


async def test_a_key_is_known_while_the_device_bounces_and_gone_with_it() -> None:
    lab = await settled()
    lab.driver.interface_changed("wireguard.cali", structs.replace(UP, up=False, generation=2))
    assert lab.driver.public_key == OWN_KEY
    lab.driver.interface_changed("wireguard.cali", structs.replace(UP, generation=3))
    assert (lab.driver.public_key, lab.driver.pending) == (OWN_KEY, True)
    assert await lab.apply() == []
    lab.driver.interface_changed("wireguard.cali", structs.replace(UP, index=8, generation=4))
    assert lab.driver.public_key is None
    lab.kernel.state = DeviceState(8, None, 0, 0, {})
    assert await lab.apply() == [(51820, 0x200000), "key", NEW]
    lab.driver.interface_changed("wireguard.cali", None)
    assert lab.driver.state is None


async def test_additions_before_removals() -> None:
    lab = await settled()
    moved = {A: structs.replace(WISHES[A], nets=frozenset((N2,)))}
    lab.driver.desire(moved)
    await lab.driver.apply_additions()
    assert lab.kernel.take() == [[PeerChange(A, UPDATE_ONLY, nets=(N2,))]]
    assert lab.driver.pending
    await lab.driver.apply_removals()
    less = [PeerChange(A, UPDATE_ONLY, nets_removed=(N1,)), PeerChange(B, REMOVE_ME)]
    assert lab.kernel.take() == [less]
    assert not lab.driver.pending
    assert lab.driver.state == lab.kernel.state


async def test_what_comes_between_additions_and_removals_is_not_forgotten() -> None:
    lab = await settled()
    lab.driver.desire({B: WISHES[B]})
    await lab.driver.apply_additions()
    lab.driver.desire(WISHES)
    await lab.driver.apply_removals()
    assert lab.driver.pending
    assert await lab.apply() == []
    lab.driver.desire({B: WISHES[B]})
    await lab.driver.apply_additions()
    lab.kernel.state = structs.replace(AS_IT_SHOULD_BE, peers={})
    await lab.driver.look()
    await lab.driver.apply_removals()
    assert lab.driver.pending
    assert await lab.apply() == [[NEW[1]]]


async def test_a_change_that_is_taken_back_is_none() -> None:
    lab = await settled()
    lab.driver.desire({})
    lab.driver.desire(WISHES)
    assert await lab.apply() == []


async def test_an_older_kernel_is_asked_once_whether_it_removes_nets(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    scratch = b"s" * 32
    monkeypatch.setattr(os, "urandom", lambda size: scratch[:size])
    lab = Lab(FakeDevice(AS_IT_SHOULD_BE, removes_nets=False))
    await lab.apply()
    by_scratch = [PeerChange(scratch, nets=(N1,)), PeerChange(scratch, REMOVE_ME)]
    lab.driver.desire({**WISHES, A: PeerWish("a", AT_A, frozenset())})
    flagged = [PeerChange(A, UPDATE_ONLY, nets_removed=(N1,))]
    assert await lab.apply() == [flagged, by_scratch]
    assert lab.driver.written == 1  # what was refused has changed nothing
    lab.driver.desire(WISHES)
    await lab.apply()
    lab.driver.desire({**WISHES, A: PeerWish("a", AT_A, frozenset())})
    assert await lab.apply() == [by_scratch]
    assert lab.driver.state == lab.kernel.state


async def test_a_roamed_endpoint_is_put_back_at_the_refresh_only() -> None:
    lab = await settled()
    lab.kernel.change(A, endpoint=ELSEWHERE)
    state = await lab.driver.look()
    assert state is not None
    assert state.peers[A].endpoint == ELSEWHERE
    lab.driver.desire({**WISHES, A: structs.replace(WISHES[A], keepalive=5)})
    assert await lab.apply() == [[PeerChange(A, UPDATE_ONLY, None, 5)]]
    assert await lab.refresh()
    assert await lab.apply() == [[PeerChange(A, UPDATE_ONLY, AT_A)]]


async def test_what_others_change_is_put_right() -> None:
    lab = await settled()
    assert not await lab.refresh()
    lab.kernel.state = structs.replace(
        AS_IT_SHOULD_BE, port=1, peers={B: PeerState(None, frozenset((N1, N2)))}
    )
    assert await lab.refresh()
    assert await lab.apply() == [(51820, None), [NEW[0], PeerChange(B, UPDATE_ONLY, AT_B)]]
    assert lab.kernel.state == AS_IT_SHOULD_BE


async def test_another_key_in_the_kernel_is_news() -> None:
    lab = await settled()
    lab.kernel.state = structs.replace(AS_IT_SHOULD_BE, public_key=b"x" * 32)
    assert await lab.refresh()
    assert lab.driver.public_key == b"x" * 32
    assert await lab.apply() == []


async def test_a_handshake_is_looked_for_while_somebody_waits() -> None:
    lab = await settled()
    refresh = lab.driver.next_check()
    lab.driver.watch([A])
    assert lab.driver.next_check() < refresh
    lab.kernel.change(B, handshake=1.5)
    assert not await lab.driver.check()
    lab.kernel.change(A, handshake=2.5, received=9)
    assert await lab.driver.check()
    assert not await lab.driver.check()
    assert lab.driver.state is not None
    assert lab.driver.state.peers[A].handshake == 2.5
    lab.driver.watch([])
    assert lab.driver.next_check() == refresh
    assert lab.kernel.take() == []


async def test_looks_become_rare_for_a_node_that_never_answers(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    lab = await settled()
    lab.driver.watch([A])
    await lab.driver.check()
    soon = lab.driver.next_check()
    monkeypatch.setattr(polls, "PATIENCE_SECONDS", -1.0)
    later = polls.SLOW_POLL_SECONDS - polls.POLL_SECONDS
    assert lab.driver.next_check() == pytest.approx(soon + later)


FAILURES = [
    ("read", errno.ENOBUFS, "No buffer space"),
    ("set_device", errno.EADDRINUSE, "UDP port 51820 is taken"),
    ("make_key", errno.ENOMEM, "Cannot allocate"),
    ("set_peers", errno.EINVAL, "Invalid argument"),
]


@pytest.mark.parametrize(("method", "code", "text"), FAILURES)
async def test_what_fails_once_is_done_next_time(method: str, code: int, text: str) -> None:
    lab = Lab(FakeDevice())
    lab.kernel.failing[method] = code
    with pytest.raises(WireguardError, match=text):
        await lab.apply()
    assert lab.driver.pending
    assert lab.kernel.closed == 1
    assert bool(lab.driver.problems()) == (code == errno.EADDRINUSE)
    await lab.apply()
    assert lab.kernel.state == AS_IT_SHOULD_BE
    assert not lab.driver.problems()


async def test_a_failed_addition_removes_nothing() -> None:
    lab = await settled()
    lab.driver.desire({A: structs.replace(WISHES[A], nets=frozenset((N1, N2)))})
    lab.kernel.failing["set_peers"] = errno.ENOMEM
    with pytest.raises(WireguardError):
        await lab.driver.apply_additions()
    lab.kernel.take()
    await lab.driver.apply_removals()
    assert lab.kernel.take() == []
    assert await lab.apply() == [
        [PeerChange(A, UPDATE_ONLY, nets=(N2,))],
        [PeerChange(B, REMOVE_ME)],
    ]


async def test_without_wireguard() -> None:
    lab = Lab(FakeDevice())
    lab.kernel.supported = False
    assert await lab.apply() == []
    assert lab.driver.unavailable == "this kernel has no WireGuard (module wireguard)"
    assert not lab.driver.pending
    lab.kernel.supported = True
    assert await lab.refresh()
    await lab.apply()
    assert lab.kernel.state == AS_IT_SHOULD_BE
    assert lab.driver.unavailable == ""


async def test_a_device_of_another_kind() -> None:
    lab = Lab(FakeDevice())
    lab.kernel.failing["read"] = errno.EOPNOTSUPP
    assert await lab.apply() == []
    assert lab.driver.unavailable == "a device of that name is no WireGuard device"
    lab.driver.interface_changed("wireguard.cali", structs.replace(UP, generation=2))
    assert lab.driver.pending


async def test_a_peer_with_our_own_key_is_left_out_and_told() -> None:
    lab = Lab(FakeDevice(AS_IT_SHOULD_BE), {**WISHES, OWN_KEY: PeerWish("x", AT_A, frozenset())})
    assert await lab.apply() == []
    assert lab.driver.problems() == {"wireguard.cali to x": "it publishes this node's own key"}


def test_what_cannot_be_is_refused() -> None:
    driver = WireguardDriver(4, WireguardSettings(), kernel=FakeDevice())
    with pytest.raises(ValueError, match="two peers"):
        driver.desire({A: WISHES[A], B: structs.replace(WISHES[A], node="b")})
    with pytest.raises(ValueError, match="malformed"):
        driver.desire({b"short": WISHES[A]})


def test_each_family_has_a_device_and_port_of_its_own() -> None:
    driver = WireguardDriver(6, WireguardSettings(), kernel=FakeDevice())
    driver.interface_changed("wireguard.cali", UP)
    assert not driver.pending
    driver.interface_changed("wg-v6.cali", structs.replace(UP, name="wg-v6.cali"))
    assert driver.pending
