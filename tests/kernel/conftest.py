"""Network namespaces for the tests that ask the kernel: made with unique names, gone with the test.

    inside   the test runs in a fresh namespace, its event loop, threads and child processes too:

                 async def test_sets(inside: Namespace) -> None:
                     await driver.apply_additions()            # in the namespace
                     assert "10.0.0.1" in inside.run("ipset save")

    netns    more namespaces, such as workloads: `w1 = netns("w1")`; `w1.run("ip addr")`
    veth     a factory of cables: `veth(inside, "caliw1", w1, "eth0")`, both ends up

Code under test runs where `inside` is; in another namespace only commands run (`Namespace.run`,
`Namespace.start`).  /proc/sys/net is the one of the namespace: the kernel goes by the thread.
"""

from __future__ import annotations

import contextlib
import ctypes
import itertools
import os
import shlex
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

_CLONE_NEWNET = 0x40000000
_libc = ctypes.CDLL(None, use_errno=True)
_numbers = itertools.count()
_LISTINGS = 10  # of a ruleset that is being written


def enter(namespace: Path) -> None:
    """Move the calling thread, and what it starts from now on, into a namespace."""
    fd = os.open(namespace, os.O_RDONLY | os.O_CLOEXEC)
    try:
        if _libc.setns(fd, _CLONE_NEWNET) != 0:
            raise OSError(ctypes.get_errno(), f"cannot enter {namespace}")
    finally:
        os.close(fd)


class Namespace:
    """A network namespace with its loopback interface up."""

    def __init__(self, label: str) -> None:
        self.name = f"fxt-{os.getpid()}-{next(_numbers)}-{label}"
        self._started: list[subprocess.Popen[str]] = []
        _host(f"ip netns add {self.name}")
        self.run("ip link set lo up")

    @property
    def path(self) -> Path:
        return Path("/run/netns") / self.name

    def run(self, command: str, *, stdin: str = "", check: bool = True) -> str:
        """What a shell command prints in this namespace; its failure raises, with its errors."""
        return _host(f"ip netns exec {self.name} sh -c {shlex.quote(command)}", stdin, check)

    def saved(self, options: str = "", *commands: str) -> str:
        """What iptables-nft-save says, of both families unless one's command is named.

        It fails where a rule and the IP set that it matches on end while it prints: asked again.
        """
        return "".join(
            self._listing(f"{command}-nft-save {options}")
            for command in commands or ("iptables", "ip6tables")
        )

    def _listing(self, command: str) -> str:
        for _ in range(_LISTINGS - 1):
            with contextlib.suppress(AssertionError):
                return self.run(command)
        return self.run(command)

    def await_carrier(self, interface: str) -> None:
        """The kernel takes its time to see that a cable has two ends."""
        for _ in range(200):
            if "LOWER_UP" in self.run(f"ip link show {interface}"):
                return
            time.sleep(0.01)
        raise AssertionError(f"{interface} has no carrier")

    def start(self, *argv: str) -> subprocess.Popen[str]:
        """A process in this namespace, ended with it; its output is piped."""
        process = subprocess.Popen(
            ["ip", "netns", "exec", self.name, *argv],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self._started.append(process)
        return process

    def delete(self) -> None:
        for process in self._started:
            process.kill()
            process.communicate()
        _host(f"ip netns delete {self.name}")


def _host(command: str, stdin: str = "", check: bool = True) -> str:
    done = subprocess.run(
        ["sh", "-c", command], input=stdin, capture_output=True, text=True, check=False, timeout=60
    )
    if check and done.returncode != 0:
        raise AssertionError(f"{command}: exit {done.returncode}: {done.stderr.strip()}")
    return done.stdout


@pytest.fixture
def netns() -> Iterator[Callable[[str], Namespace]]:
    made: list[Namespace] = []

    def make(label: str = "ns") -> Namespace:
        namespace = Namespace(label)
        made.append(namespace)
        return namespace

    yield make
    for namespace in reversed(made):
        namespace.delete()


@pytest.fixture
def inside(netns: Callable[[str], Namespace]) -> Iterator[Namespace]:
    namespace = netns("in")
    home = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    enter(namespace.path)
    yield namespace
    restored = _libc.setns(home, _CLONE_NEWNET)
    os.close(home)
    assert restored == 0, "cannot leave the namespace of the test"


@pytest.fixture
def veth() -> Callable[[Namespace, str, Namespace, str], None]:
    def connect(near: Namespace, near_name: str, far: Namespace, far_name: str) -> None:
        near.run(f"ip link add {near_name} type veth peer name {far_name} netns {far.name}")
        near.run(f"ip link set {near_name} up")
        far.run(f"ip link set {far_name} up")
        near.await_carrier(near_name)

    return connect
