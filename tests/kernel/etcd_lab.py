"""A real etcd, each member on a host of its own: a namespace with a cable to a common switch.

with Cluster(directory) as cluster:   three members, answering; `members=1` for one
    cluster.put(key, value)           by whichever member is running; also delete, compact
    cluster.kill(2); cluster.start(2) pause, resume, unplug, plug, stop
    cluster.snapshot(path)
    cluster.restore(path)             all of it taken back to a snapshot
    cluster.attach(namespace, 100)    another host at the switch: 10.99.0.100 and fd99::100
    cluster.endpoints                 as the agent's configuration has them

Next to the address for others each member listens on its own loopback, without TLS: there the test
speaks to it, over etcd's JSON gateway, whatever becomes of the cables.
"""

from __future__ import annotations

import base64
import contextlib
import functools
import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, Self

from tests.kernel.conftest import Namespace, enter

PORT: Final = 2379
_LOCAL_PORT, _PEER_PORT = 2378, 2380
_PATIENCE: Final = 20.0


class Namespaces:
    """To be had where a fixture that lasts for one test only is not enough."""

    def __init__(self) -> None:
        self._made: list[Namespace] = []

    def __call__(self, label: str = "ns") -> Namespace:
        namespace = Namespace(f"et{label}")
        self._made.append(namespace)
        return namespace

    def close(self) -> None:
        while self._made:
            self._made.pop().delete()


@contextlib.contextmanager
def within(namespace: Namespace) -> Iterator[None]:
    """What this thread opens in it stays there."""
    home = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        enter(namespace.path)
        try:
            yield
        finally:
            enter(Path(f"/proc/self/fd/{home}"))
    finally:
        os.close(home)


class UnansweredError(Exception):
    """No member has carried out what it was asked."""


class _Gateway(http.client.HTTPConnection):
    def __init__(self, namespace: Namespace) -> None:
        super().__init__("127.0.0.1", _LOCAL_PORT, timeout=2.0)
        self._namespace = namespace

    def connect(self) -> None:
        with within(self._namespace):
            super().connect()
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


class Cluster:
    """`tls`: flags of etcd for the address that others speak to.

    Of the same members, clusters have the same id if they have the same `token`.
    """

    def __init__(
        self, directory: Path, *, members: int = 3, tls: tuple[str, ...] = (), ipv6: bool = False
    ) -> None:
        self._directory = directory
        self._scheme = "https" if tls else "http"
        self._tls = tls
        self._ipv6 = ipv6
        self._make = Namespaces()
        self.switch = self._make("switch")
        self.switch.run("ip link add br0 type bridge && ip link set br0 up")
        self.token = "first"
        self.hosts = {number: self._make(f"m{number}") for number in range(1, members + 1)}
        self._running: dict[int, subprocess.Popen[bytes]] = {}
        self._paused: set[int] = set()
        self._gateways: dict[int, _Gateway] = {}
        self._asking = threading.Lock()  # a stream of writes has a thread of its own
        self._user: tuple[str, str] | None = None
        for number, host in self.hosts.items():
            self.attach(host, number)

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self.kill(*self._running)
        self._make.close()

    # ---------------------------------------------------------------- cables

    def attach(self, host: Namespace, number: int) -> None:
        self.switch.run(
            f"ip link del p{number} 2>/dev/null;"  # of a host whose end the kernel has not got to
            f" ip link add p{number} type veth peer name eth9 netns {host.name}"
            f" && ip link set p{number} master br0 up"
        )
        # an address made of the cable's would be another one each time
        host.run(
            f"ip link set eth9 addrgenmode none up && ip addr add 10.99.0.{number}/24 dev eth9"
            f" && ip addr add fd99::{number}/64 dev eth9 nodad"
        )
        self.switch.await_carrier(f"p{number}")

    def unplug(self, number: int) -> None:
        """Packets to and from it are lost, and nobody is told."""
        self.switch.run(f"ip link set p{number} nomaster")

    def plug(self, number: int) -> None:
        self.switch.run(f"ip link set p{number} master br0")

    def address(self, number: int) -> str:
        return f"fd99::{number}" if self._ipv6 else f"10.99.0.{number}"

    @property
    def endpoints(self) -> str:
        return ",".join(self._url(self.address(number), PORT) for number in self.hosts)

    def _url(self, address: str, port: int, scheme: str = "") -> str:
        host = f"[{address}]" if ":" in address else address
        return f"{scheme or self._scheme}://{host}:{port}"

    # ---------------------------------------------------------------- members

    def start(self, *numbers: int) -> None:
        """All of them where none is named; returns when the cluster takes writes."""
        for number in numbers or self.hosts:
            self._launch(number)
        self.await_quorum()

    def _launch(self, number: int) -> None:
        peer = functools.partial(self._url, port=_PEER_PORT, scheme="http")
        own = peer(f"10.99.0.{number}")
        everyone = [f"m{n}={peer(f'10.99.0.{n}')}" for n in self.hosts]
        client = self._url(self.address(number), PORT)
        local = f"http://127.0.0.1:{_LOCAL_PORT}"
        command = [
            *("ip", "netns", "exec", self.hosts[number].name, "etcd", "--name", f"m{number}"),
            *("--data-dir", str(self._data(number)), "--unsafe-no-fsync"),
            *("--listen-client-urls", f"{client},{local}", "--advertise-client-urls", client),
            *("--listen-peer-urls", own, "--initial-advertise-peer-urls", own),
            *("--initial-cluster", ",".join(everyone), "--initial-cluster-token", self.token),
            *("--heartbeat-interval", "30", "--election-timeout", "300"),
            *("--logger", "zap", "--log-level", "error", *self._tls),
        ]
        with self._log(number).open("ab") as output:
            self._running[number] = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=output, stderr=output
            )

    def _data(self, number: int) -> Path:
        return self._directory / f"m{number}"

    def _log(self, number: int) -> Path:
        return self._directory / f"m{number}.log"

    def kill(self, *numbers: int) -> None:
        """As a crash does."""
        for number in numbers:
            self._running[number].kill()
        for number in numbers:
            self._running.pop(number).wait()
            self._paused.discard(number)
            self._forget(number)

    def pause(self, number: int) -> None:
        """The process stands still; its host is well."""
        self._running[number].send_signal(signal.SIGSTOP)
        self._paused.add(number)
        self._forget(number)

    def resume(self, number: int) -> None:
        self._running[number].send_signal(signal.SIGCONT)
        self._paused.discard(number)

    def _forget(self, number: int) -> None:
        with self._asking:
            if gateway := self._gateways.pop(number, None):
                gateway.close()

    # ---------------------------------------------------------------- what is in it

    def await_quorum(self) -> None:
        self._ask("kv/range", key=_text("quorum"))

    def put(self, key: str, value: str) -> int:
        """Returns its revision."""
        answer = self._ask("kv/put", key=_text(key), value=_text(value))
        return int(answer["header"]["revision"])

    def delete(self, key: str) -> int:
        answer = self._ask("kv/deleterange", key=_text(key))
        return int(answer["header"]["revision"])

    def clear(self) -> None:
        """Whole again, and empty."""
        for number in self.hosts:
            self.plug(number)
        missing = [number for number in self.hosts if number not in self._running]
        if missing:
            self.start(*missing)
        self._ask("kv/deleterange", key=_text("\0"), range_end=_text("\0"))

    def compact(self, revision: int) -> None:
        self._ask("kv/compaction", revision=revision, physical=True)

    def _ask(self, path: str, **fields: object) -> dict[str, Any]:
        deadline = time.monotonic() + _PATIENCE
        body = json.dumps(fields)
        while time.monotonic() < deadline:
            for number in sorted(set(self._running) - self._paused):
                with (
                    contextlib.suppress(OSError, http.client.HTTPException, UnansweredError),
                    self._asking,
                ):
                    return self._ask_one(number, path, body)
            time.sleep(0.02)
        logs = "\n".join(self._log(number).read_text()[-2000:] for number in self.hosts)
        raise AssertionError(f"no member answers {path}: {logs}")

    def _ask_one(self, number: int, path: str, body: str) -> dict[str, Any]:
        headers = {}
        if self._user is not None:  # anew each time: what changes users or roles ends all tokens
            login = json.dumps(dict(zip(("name", "password"), self._user, strict=True)))
            token = self._exchange(number, "auth/authenticate", login, {})["token"]
            headers["Authorization"] = token
        return self._exchange(number, path, body, headers)

    def _exchange(
        self, number: int, path: str, body: str, headers: dict[str, str]
    ) -> dict[str, Any]:
        gateway = self._gateways.setdefault(number, _Gateway(self.hosts[number]))
        try:
            gateway.request("POST", f"/v3/{path}", body, headers)
            response = gateway.getresponse()
            content = response.read()
        except (OSError, http.client.HTTPException):
            gateway.close()
            raise
        if response.status != 200:
            raise UnansweredError(content)
        answer: dict[str, Any] = json.loads(content)
        return answer

    # ---------------------------------------------------------------- users

    def ask_for_passwords(self, password: str) -> None:
        """From now on; root has this one."""
        self.etcdctl(f"user add root:{password}")
        self.etcdctl("user grant-role root root")
        self.etcdctl("auth enable")
        self._user = ("root", password)

    def ask_for_no_passwords(self) -> None:
        self.etcdctl("auth disable")
        self._user = None
        self.etcdctl("user delete root")
        self.etcdctl("role delete root", check=False)

    def add_user(self, name: str, password: str, *prefixes: str) -> None:
        """One that may read and write what begins with these, by a role of the same name."""
        self.etcdctl(f"role add {name}")
        for prefix in prefixes:
            self.permit(name, prefix)
        self.etcdctl(f"user add {name}:{password}")
        self.etcdctl(f"user grant-role {name} {name}")

    def permit(self, role: str, prefix: str) -> None:
        self.etcdctl(f"role grant-permission {role} --prefix readwrite {prefix}")

    def forbid(self, role: str, prefix: str) -> None:
        self.etcdctl(f"role revoke-permission {role} --prefix {prefix}")

    def etcdctl(self, command: str, *, check: bool = True) -> str:
        """On the first of the hosts."""
        local = f"--endpoints=http://127.0.0.1:{_LOCAL_PORT}"
        if self._user is not None:
            local += f" --user={':'.join(self._user)}"
        return self.hosts[1].run(f"ETCDCTL_API=3 etcdctl {local} {command}", check=check)

    # ---------------------------------------------------------------- going back in time

    def snapshot(self, path: Path) -> None:
        self.etcdctl(f"snapshot save {path}")

    def wipe(self, token: str) -> None:
        """Nothing is left, nobody runs; started, it is another cluster if the token is another."""
        self.kill(*self._running)
        self.token = token
        for number in self.hosts:
            shutil.rmtree(self._data(number))

    def restore(self, path: Path, token: str) -> None:
        """Everything is as it was then; the cluster's id is the same if the token is."""
        self.wipe(token)
        peers = {n: self._url(f"10.99.0.{n}", _PEER_PORT, "http") for n in self.hosts}
        everyone = ",".join(f"m{number}={url}" for number, url in peers.items())
        for number, url in peers.items():
            self.etcdctl(
                f"snapshot restore {path} --name m{number} --data-dir {self._data(number)}"
                f" --initial-cluster {everyone} --initial-cluster-token '{token}'"
                f" --initial-advertise-peer-urls {url}"
            )
        self.start()


def _text(value: str) -> str:
    return base64.b64encode(value.encode()).decode()
