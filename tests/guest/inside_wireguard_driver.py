"""WireGuard's device, key and peers in a kernel that has it: run in the guest by
test_wireguard_driver.py.

    node a ──172.31.2.0/24── node b        b and c both have 10.9.0.1, so that a net can move
           ──172.31.3.0/24── node c
"""

from __future__ import annotations

import asyncio
import os
import shlex
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
import structlog.testing

from dataplane.drivers.links import LinkDriver
from dataplane.netlink import Request, Socket
from dataplane.overlay.devices import Tunnel
from dataplane.wireguard import napi
from dataplane.wireguard.codec import PeerChange
from dataplane.wireguard.driver import WireguardError
from dataplane.wireguard.kernel import KernelDevice
from dataplane.wireguard.state import PeerWish, shown
from tests.guest.wireguard_ends import PATIENCE, End, Flow
from tests.kernel.conftest import Namespace
from tests.kernel.conftest import inside as inside
from tests.kernel.conftest import netns as netns
from tests.kernel.conftest import veth as veth

NET, KEPT = "10.9.0.0/26", "10.8.0.0/26"
ROUNDS = 100

# What root can read, private key and all; given a process, whether that key is in its memory.
READER = """
import asyncio, sys
from dataplane.netlink import GENERIC, Socket, attributes
from dataplane.wireguard import codec

async def read():
    socket = Socket(GENERIC)
    (family,) = await socket.query(codec.find_family(), "looking")
    request = codec.get_device(codec.parse_family(family.body), int(sys.argv[1]))
    return dict(attributes((await socket.query(request, "reading"))[0].body, 4))

def regions(process):
    with open(f"/proc/{process}/maps") as maps, open(f"/proc/{process}/mem", "rb") as memory:
        for line in maps:
            where, rights = line.split()[:2]
            if "w" in rights:
                start, end = (int(part, 16) for part in where.split("-"))
                memory.seek(start)
                yield memory.read(end - start)

found = asyncio.run(read())
private, public = found[3], found[4]
assert len(private) == 32 and any(private)
print(private.hex(), public.hex())
for process in sys.argv[2:]:
    scanned = [(len(part), private in part, public in part) for part in regions(process)]
    sizes, privates, publics = zip(*scanned)
    print(sum(sizes) > 1000000, any(privates), any(publics))
"""


class Mesh:
    def __init__(self, ends: list[End]) -> None:
        self.a, self.b, self.c = ends

    def to_b(self, *nets: str) -> PeerWish:
        return PeerWish("b", ("172.31.2.2", 51820), frozenset(nets), 1)

    def to_c(self, *nets: str) -> PeerWish:
        return PeerWish("c", ("172.31.3.2", 51820), frozenset(nets), 1)


async def read(end: End, *processes: int) -> str:
    index = (await end.look()).index
    argv = [sys.executable, "-c", READER, str(index), *map(str, processes)]
    return await asyncio.to_thread(end.node.run, shlex.join(argv))


async def refreshed(end: End) -> bool:
    """Whether the refresh look has found anything."""
    end.driver.refresh_seconds = 1e-9
    try:
        return await end.driver.check()
    finally:
        end.driver.refresh_seconds = 90.0


@pytest.fixture
async def mesh(
    inside: Namespace,
    netns: Callable[[str], Namespace],
    veth: Callable[[Namespace, str, Namespace, str], None],
) -> AsyncIterator[Mesh]:
    nodes = [inside, netns("b"), netns("c")]
    for number, node in enumerate(nodes[1:], 2):
        veth(inside, f"eth{number}", node, "eth0")
        inside.run(f"ip addr add 172.31.{number}.1/24 dev eth{number}")
        node.run(f"ip addr add 172.31.{number}.2/24 dev eth0")
        node.run("ip addr add 10.9.0.1/32 dev lo; ip addr add 10.8.0.1/32 dev lo")
    for node in nodes:
        node.run("sysctl -qw net.ipv4.conf.all.rp_filter=0 net.ipv4.conf.default.rp_filter=0")
    made = Mesh([End(node, f"10.200.0.{n}") for n, node in enumerate(nodes, 1)])
    for end in (made.b, made.c, made.a):
        await end.start()
    inside.run(f"ip route add {NET} dev wireguard.cali; ip route add {KEPT} dev wireguard.cali")
    for number, end in ((2, made.b), (3, made.c)):
        wish = PeerWish("a", (f"172.31.{number}.1", 51820), frozenset(("10.200.0.1/32",)))
        await end.desire({made.a.key: wish})
    yield made
    for end in (made.a, made.b, made.c):
        end.stop()


@pytest.fixture
def devices(inside: Namespace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """/sys/class/net of this namespace; nothing takes it away before the guest's end."""
    subprocess.run(["mount", "-t", "sysfs", "none", tmp_path], check=True)
    monkeypatch.setattr(napi, "DEVICES", tmp_path / "class/net")
    return tmp_path / "class/net"


@pytest.fixture
def requests(monkeypatch: pytest.MonkeyPatch) -> list[Request]:
    """Whatever is asked of the kernel to change."""
    asked: list[Request] = []
    execute = Socket.execute

    async def recorded(self: Socket, requests: list[Request]) -> list[int]:
        asked.extend(requests)
        return await execute(self, requests)

    monkeypatch.setattr(Socket, "execute", recorded)
    return asked


async def test_a_device_from_nothing_to_its_adoption(inside: Namespace) -> None:
    with structlog.testing.capture_logs() as logs:
        end = End(inside, "10.200.0.1")
        await end.start()
        told = inside.run("ip -d addr show wireguard.cali")
        assert all(part in told for part in ("wireguard", "mtu 1440", "inet 10.200.0.1/32", "UP"))
        state = await end.look()
        assert (state.port, state.mark, state.peers) == (51820, 0x200000, {})
        other = os.urandom(32)
        wish = PeerWish("x", ("172.31.9.9", 51820), frozenset((NET,)))
        assert await end.desire({other: wish}) == 1
        key = end.key
        await end.restart({other: wish})
        assert end.key == key
        assert (end.links.written, end.driver.written) == (0, 0)
        assert (await end.look()).peers.keys() == {other}
    # another agent's words for the same
    private, public = (await read(end)).split()
    assert public == key.hex()
    told = repr(logs) + repr(vars(end.driver)) + repr(await end.look())
    assert not any(each in told for each in (private, shown(bytes.fromhex(private))))
    end.stop()


async def test_the_private_key_is_nowhere_in_memory(inside: Namespace) -> None:
    end = End(inside, "10.200.0.1")
    await end.start()
    for _ in range(3):
        await end.look()
    _, scanned = (await read(end, os.getpid())).splitlines()
    assert scanned == "True False True", "the public key is there, the private one is not"
    end.stop()


async def one_change_is_one_message(mesh: Mesh, requests: list[Request]) -> None:
    a, b, c = mesh.a, mesh.b.key, mesh.c.key
    wishes = {b: mesh.to_b(NET, KEPT), c: mesh.to_c("10.7.0.0/26")}
    steps = [
        # what is different, and how many messages of the first time that it is
        (wishes, 1),
        (wishes, 0),
        (wishes | {c: mesh.to_c("10.7.0.0/26", "10.7.1.0/26")}, 1),  # one more
        (wishes, 2),  # one less: the kernel is asked whether it can, and cannot
        (wishes | {b: mesh.to_b(NET)}, 1),  # one less
        (wishes | {b: mesh.to_b(KEPT), c: mesh.to_c(NET, "10.7.0.0/26")}, 1),  # a move
        (wishes | {b: mesh.to_b(KEPT)}, 1),
        ({b: mesh.to_b(KEPT)}, 1),  # a peer less
        ({b: PeerWish("b", ("172.31.2.2", 51820), frozenset((KEPT,)), 25)}, 1),
        ({}, 1),
    ]
    for peers, count in steps:
        requests.clear()
        await a.desire(peers)
        assert len(requests) == count, peers
        found = (await a.look()).peers
        assert {k: (p.nets, p.endpoint, p.keepalive) for k, p in found.items()} == {
            k: (w.nets, w.endpoint, w.keepalive) for k, w in peers.items()
        }


async def nothing_is_lost_while_nets_are_taken_away(mesh: Mesh) -> None:
    """Felix, which writes the list anew, lost 32 of 884 (section 3.7 of the routes reference)."""
    a, b = mesh.a, mesh.b.key
    more = [f"10.7.{n}.0/26" for n in range(ROUNDS)]
    await a.desire({b: mesh.to_b(NET, KEPT, *more)})
    await a.handshake(b)
    flow = Flow(a.node, [mesh.b.node], "10.9.0.1")
    messages = 0
    for left in range(ROUNDS - 1, -1, -1):
        messages += await a.desire({b: mesh.to_b(NET, KEPT, *more[:left])})
        await asyncio.sleep(0.01)
    sent, refused, received = flow.end()
    assert (await a.peer(b)).nets == {NET, KEPT}
    print(f"{ROUNDS} nets taken away, {messages} messages: {sent} sent, {received} received")
    assert (refused, received, messages) == ({}, [sent], ROUNDS)
    assert sent > ROUNDS


async def nothing_is_lost_while_a_net_moves(mesh: Mesh) -> None:
    a, b, c = mesh.a, mesh.b.key, mesh.c.key
    ways = (
        {b: mesh.to_b(NET, KEPT), c: mesh.to_c("10.7.0.0/26")},
        {b: mesh.to_b(KEPT), c: mesh.to_c(NET, "10.7.0.0/26")},
    )
    await a.desire(ways[0])
    for key in (b, c):
        await a.handshake(key)
    flow = Flow(a.node, [mesh.b.node, mesh.c.node], "10.9.0.1")
    messages = 0
    for n in range(1, ROUNDS + 1):
        messages += await a.desire(ways[n % 2])
        await asyncio.sleep(0.01)
    sent, refused, received = flow.end()
    print(f"{ROUNDS} moves, {messages} messages: {sent} sent, {received} received")
    assert (refused, sum(received), messages) == ({}, sent, ROUNDS)
    assert all(received)


async def what_others_do_is_put_right(mesh: Mesh) -> None:
    a, b = mesh.a, mesh.b.key
    await a.desire({b: mesh.to_b(NET, KEPT)})
    key = a.key
    other, index = KernelDevice(), (await a.look()).index
    await other.set_device(index, 1234, 5)
    changes = [PeerChange(b, nets=("10.1.0.0/26",)), PeerChange(os.urandom(32))]
    await other.set_peers(index, changes)
    other.close()
    assert await refreshed(a)
    assert await a.apply() == 2  # port and mark, what is too much
    assert not await refreshed(a)
    state = await a.look()
    assert (state.port, state.mark, state.public_key) == (51820, 0x200000, key)
    assert {k: p.nets for k, p in state.peers.items()} == {b: {NET, KEPT}}


async def a_peer_that_roams_is_put_back_at_the_refresh_only(mesh: Mesh) -> None:
    a, b = mesh.a, mesh.b.key
    await a.desire({b: mesh.to_b(NET)})
    await a.handshake(b)
    mesh.b.node.run(
        "sysctl -qw net.ipv4.conf.all.promote_secondaries=1; ip addr add 172.31.2.9/24 dev eth0;"
        "ip addr del 172.31.2.2/24 dev eth0; ip route add 10.200.0.1 dev wireguard.cali"
    )
    async with asyncio.timeout(PATIENCE):
        while (await a.peer(b)).endpoint != ("172.31.2.9", 51820):
            mesh.b.node.run("ping -c1 -W1 -I 10.200.0.2 10.200.0.1", check=False)
    assert await a.apply() == 0
    assert await a.desire({b: mesh.to_b(NET, KEPT)}) == 1
    assert (await a.peer(b)).endpoint == ("172.31.2.9", 51820)
    assert await refreshed(a)
    assert await a.apply() == 1


async def test_a_mesh(mesh: Mesh, requests: list[Request]) -> None:
    """One after the other, because each start of three nodes costs the guest half a minute."""
    await one_change_is_one_message(mesh, requests)
    await nothing_is_lost_while_nets_are_taken_away(mesh)
    await nothing_is_lost_while_a_net_moves(mesh)
    await what_others_do_is_put_right(mesh)
    await a_peer_that_roams_is_put_back_at_the_refresh_only(mesh)


async def test_ipv6_and_threads(inside: Namespace, devices: Path) -> None:
    end = End(inside, "fd00:200::1", 6, threading=True)
    await end.start()
    key = os.urandom(32)
    wish = PeerWish("x", ("fd00:9::9", 51821), frozenset(("fd00:65::/122",)))
    assert await end.desire({key: wish}) == 1
    peer = await end.peer(key)
    assert (peer.endpoint, peer.nets) == (wish.endpoint, wish.nets)
    assert "inet6 fd00:200::1/128" in inside.run("ip addr show wg-v6.cali")
    assert (devices / "wg-v6.cali/threaded").read_text() == "1\n"
    end.stop()


async def test_a_taken_port_is_said_and_no_key_is_made(inside: Namespace) -> None:
    end = End(inside, "10.200.0.1")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        other.bind(("", 51820))
        with pytest.raises(WireguardError, match="UDP port 51820 is taken"):
            await end.start()
        assert end.driver.problems() == {"wireguard.cali": "UDP port 51820 is taken"}
        assert end.driver.public_key is None
    assert await end.apply() == 2
    assert end.driver.problems() == {}
    assert end.key
    end.stop()


async def test_another_device_of_that_name(inside: Namespace) -> None:
    inside.run("ip link add wireguard.cali type veth peer name other; ip link set other up")
    inside.run("ip link set wireguard.cali up; ip route add 10.1.0.0/26 dev wireguard.cali")
    links = LinkDriver()
    links.desire(Tunnel("wireguard.cali", "wireguard", 4, "", 1440))
    links.desire(Tunnel("other", "wireguard", 4, "", 1440))
    await links.apply(4)
    assert links.unavailable == {
        "wireguard.cali": "a device of that name is no WireGuard device, and others' routes use it",
        "other": "a device of that name is no WireGuard device, nor ours",
    }
    links.interface_changed("wireguard.cali", None)
    inside.run("ip route del 10.1.0.0/26")
    await links.apply(4)
    assert "wireguard" in inside.run("ip -d link show wireguard.cali")
    assert links.unavailable.keys() <= {"other"}
    links.close()
