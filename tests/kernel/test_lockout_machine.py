"""What the lockout guard sees of a machine: sessions, neighbours, and by which interface."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from calc_graph.judge import Flow
from dataplane.settings import Settings
from felixpy.lockout.machine import AGE, Facts, Machine
from tests.kernel.conftest import Namespace

pytestmark = pytest.mark.kernel

Veth = Callable[[Namespace, str, Namespace, str], None]

# A name for the process, then ports: it listens, and keeps what it accepts, with a word to it.
SERVER = """
import ctypes, selectors, socket, sys
ctypes.CDLL(None).prctl(15, sys.argv[1].encode(), 0, 0, 0)
kept, ready = [], selectors.DefaultSelector()
for port in sys.argv[2:]:
    server = socket.create_server(("::", int(port)), family=socket.AF_INET6, dualstack_ipv6=True)
    ready.register(server, selectors.EVENT_READ)
print("listening", flush=True)
while True:
    for key, _ in ready.select():
        kept.append(key.fileobj.accept()[0])
        kept[-1].sendall(b"x")
"""
# Connects to each address and port, and keeps the connections; both ends know them by that word.
CLIENT = """
import socket, sys
pairs = [each.rsplit(",", 1) for each in sys.argv[1:]]
kept = [socket.create_connection((host, int(port)), timeout=5) for host, port in pairs]
assert all(each.recv(1) == b"x" for each in kept)
print("connected", flush=True)
sys.stdin.read()
"""
# The same where nobody accepts them.
UNHEARD = CLIENT.replace('assert all(each.recv(1) == b"x" for each in kept)\n', "")
Asked = tuple[str, str, str | None, str | None]


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def run_python(space: Namespace, text: str, *arguments: str) -> subprocess.Popen[str]:
    """Started, and ready."""
    process = space.start(sys.executable, "-c", text, *arguments)
    assert process.stdout is not None
    assert process.stdout.readline().strip() in ("listening", "connected")
    return process


@pytest.fixture
def far(inside: Namespace, netns: Callable[[str], Namespace], veth: Veth) -> Namespace:
    far = netns("far")
    veth(inside, "eth0", far, "eth0")
    for space, last in ((inside, "10"), (far, "1")):
        space.run(
            f"ip addr add 172.30.0.{last}/24 dev eth0;"
            f"ip addr add fd30::{last}/64 dev eth0 nodad;"
            f"ip addr add fe80::{last}/64 dev eth0 nodad"
        )
        space.await_carrier("eth0")
    return far


async def read(machine: Machine | None = None, ports: tuple[int, ...] = ()) -> Facts:
    return await (machine or Machine(time.monotonic)).read(Settings("n1"), ports)


def asked(facts: Facts, text: str = "") -> set[Asked]:
    """New flows: what they are for people, where they come from and by which interface."""
    return {
        (each.text, str(each.flow.source), each.flow.in_interface, each.flow.out_interface)
        for each in facts.essentials
        if text in each.text and not each.flow.established
    }


async def test_sessions(inside: Namespace, far: Namespace) -> None:
    run_python(inside, SERVER, "sshd", "2222")
    run_python(inside, SERVER, "bird", "179")
    run_python(inside, SERVER, "httpd", "80")
    run_python(far, SERVER, "bird", "179")
    ours = ("172.30.0.10,2222", "172.30.0.10,2222", "fd30::10,2222", "172.30.0.10,80")
    run_python(far, CLIENT, *ours, "172.30.0.10,179")
    run_python(inside, CLIENT, "fd30::1,179", "127.0.0.1,2222")
    facts = await read()
    assert asked(facts) - asked(facts, "neighbour") == {
        ("ssh from 172.30.0.1 to port 2222", "172.30.0.1", "eth0", None),
        ("ssh from fd30::1 to port 2222", "fd30::1", "eth0", None),
        ("ssh from 127.0.0.1 to port 2222", "127.0.0.1", None, None),
        ("BGP with 172.30.0.1", "172.30.0.1", "eth0", None),
        ("BGP with fd30::1", "fd30::10", None, "eth0"),
    }
    assert len(facts.essentials) == 10 + 4, "each with its replies"
    assert facts.view.interfaces["eth0"].addresses >= {"172.30.0.10", "fd30::10", "fe80::10"}
    to_ssh = next(e.flow for e in facts.essentials if e.text.startswith("ssh from 172"))
    assert (to_ssh.protocol, to_ssh.destination_port) == (6, 2222)


async def test_port_22_counts_whoever_listens(inside: Namespace, far: Namespace) -> None:
    """The daemon may be in a PID namespace that is not ours."""
    run_python(inside, SERVER, "unknown", "22")
    run_python(far, CLIENT, "172.30.0.10,22")
    assert asked(await read()) == {("ssh from 172.30.0.1", "172.30.0.1", "eth0", None)}


async def test_a_daemon_that_init_has_started(
    inside: Namespace, far: Namespace, tmp_path: Path
) -> None:
    """init listens, and hands a connection on; the others that it keeps are not ssh."""
    listening = run_python(inside, SERVER, "listener", "2222", "2223")
    run_python(far, CLIENT, "172.30.0.10,2222", "172.30.0.10,2223")
    for pid, name, sockets in (
        ("1", "systemd", inode_of(inside, "-l", "2222") | inode_of(inside, "-l", "2223")),
        ("77", "sshd", inode_of(inside, "", "2222")),
        ("self", "", set()),
    ):
        directory = tmp_path / pid / "fd"
        directory.mkdir(parents=True)
        (tmp_path / pid / "comm").write_text(f"{name}\n")
        for number, inode in enumerate(sorted(sockets)):
            (directory / str(number)).symlink_to(f"socket:[{inode}]")
    assert listening.poll() is None
    found = asked(await read(Machine(time.monotonic, tmp_path)))
    assert found == {("ssh from 172.30.0.1 to port 2222", "172.30.0.1", "eth0", None)}


async def test_who_has_not_logged_in_is_no_session(
    inside: Namespace, far: Namespace, tmp_path: Path
) -> None:
    """Nor is one that nobody has accepted."""
    run_python(inside, SERVER, "sshd", "22")
    run_python(far, CLIENT, "172.30.0.10,22")
    (accepted,) = inode_of(inside, "", "22")
    directory = tmp_path / "77" / "fd"
    directory.mkdir(parents=True)
    (directory / "3").symlink_to(f"socket:[{accepted}]")
    (tmp_path / "77" / "comm").write_text("sshd\n")
    for title, sessions in (("sshd: admin [net]", 0), ("sshd: admin@pts/0", 1)):
        (tmp_path / "77" / "cmdline").write_text(title)
        assert len(asked(await read(Machine(time.monotonic, tmp_path)))) == sessions
    with socket.create_server(("172.30.0.10", 2222)):
        run_python(far, UNHEARD, "172.30.0.10,2222")
        (tmp_path / "77" / "fd" / "4").symlink_to(
            f"socket:[{inode_of(inside, '-l', '2222').pop()}]"
        )
        assert len(asked(await read(Machine(time.monotonic, tmp_path)))) == 1


def inode_of(space: Namespace, option: str, port: str) -> set[str]:
    lines = space.run(f"ss -tneH {option} sport = :{port}").splitlines()
    return {word.removeprefix("ino:") for line in lines for word in line.split() if "ino:" in word}


async def test_the_datastore_is_where_this_process_is_connected_to(
    inside: Namespace, far: Namespace
) -> None:
    run_python(far, SERVER, "etcd", "2379", "2380")
    run_python(inside, SERVER, "etcd", "2379")
    run_python(inside, CLIENT, "172.30.0.1,2379")  # not ours
    clock = Clock()
    machine = Machine(clock)
    found: dict[str, set[Asked]] = {}
    for host in ("fd30::1", "127.0.0.1"):
        with socket.create_connection((host, 2379), timeout=5):
            found[host] = asked(await read(machine, (2379, 2380)), "datastore")
        clock.now += AGE
    assert found == {
        "fd30::1": {("the datastore [fd30::1]:2379", "fd30::10", None, "eth0")},
        "127.0.0.1": {("the datastore 127.0.0.1:2379", "127.0.0.1", None, None)},
    }
    assert asked(await read(machine, (2379,)), "datastore") == found["127.0.0.1"], (
        "it has to come back"
    )


async def test_the_next_hop_of_a_session(inside: Namespace, far: Namespace) -> None:
    """Of one on the link it is the peer itself."""
    far.run("ip addr add fd31::1/128 dev lo")
    inside.run("ip route add fd31::/64 via fe80::1 dev eth0; ip route add default via fd30::7")
    inside.run("ip route add default via 172.30.0.1")
    run_python(inside, SERVER, "sshd", "22")
    run_python(far, CLIENT, "172.30.0.10,22")
    text = "IPv6 neighbour discovery"
    assert asked(await read(), text) == set(), "nobody talks to us by IPv6"
    run_python(far, CLIENT, "fd30::10,22")
    listening = run_python(far, SERVER, "bird", "179")
    run_python(inside, CLIENT, "fd31::1,179")
    assert listening.poll() is None
    hops = {each.rpartition(" ")[2] for each, *_ in asked(await read(), text)}
    assert hops == {"fd30::1", "fe80::1"}


async def test_gateways_where_there_is_nothing_but_ipv6(inside: Namespace, far: Namespace) -> None:
    inside.run("ip route add default via fe80::1 dev eth0")
    facts = await read()
    assert {essential.text for essential in facts.essentials} == {
        "IPv6 neighbour discovery of the next hop fe80::1"
    }
    assert [told(each.flow) for each in facts.essentials] == [
        ("fe80::10", "ff02::1:ff00:1", 135, None, "eth0"),
        ("fe80::1", "fe80::10", 136, "eth0", None),
        ("fe80::1", "fe80::10", 135, "eth0", None),
        ("fe80::10", "fe80::1", 136, None, "eth0"),
    ]


async def test_several_gateways(inside: Namespace, far: Namespace) -> None:
    inside.run(
        "ip route add default nexthop via fd30::1 nexthop via fd30::2;"
        "ip route add default via fe80::7 dev eth0 metric 5000"
    )
    texts = {essential.text.rpartition(" ")[2] for essential in (await read()).essentials}
    assert texts == {"fd30::1", "fd30::2", "fe80::7"}


def told(flow: Flow) -> tuple[Any, ...]:
    source, destination = str(flow.source), str(flow.destination)
    return source, destination, flow.icmp_type, flow.in_interface, flow.out_interface


async def test_workloads_are_no_business_of_host_endpoints(
    inside: Namespace, netns: Callable[[str], Namespace], veth: Veth
) -> None:
    w1 = netns("w1")
    veth(inside, "caliw1", w1, "eth0")
    inside.run("ip addr add 10.65.0.254/24 dev caliw1")
    w1.run("ip addr add 10.65.0.1/24 dev eth0")
    run_python(inside, SERVER, "sshd", "22")
    run_python(w1, CLIENT, "10.65.0.254,22")
    assert (await read()).essentials == ()


async def test_an_answer_is_good_for_a_while(inside: Namespace, far: Namespace) -> None:
    clock = Clock()
    machine = Machine(clock)
    before = await read(machine)
    inside.run("ip route add default via fe80::1 dev eth0")
    assert await read(machine) is before
    clock.now += AGE
    after = await read(machine)
    assert after.essentials
    assert after.view is before.view, "the judge works out who governs what once for each view"


async def test_one_client_is_one_question(inside: Namespace, far: Namespace) -> None:
    run_python(inside, SERVER, "sshd", "22")
    run_python(far, CLIENT, *["172.30.0.10,22"] * 5)
    first = (await read()).essentials
    run_python(far, CLIENT, *["172.30.0.10,22"] * 5)
    assert len(first) == 2
    assert len((await read()).essentials) == 2
