"""Flows between network namespaces, in words, and what becomes of them.

    x1 -> node tcp 80              a connection in both families
    w1 -> node udp 53 v6           in one
    w1 -> node udp 67 sport 68     from a certain port
    w1 -> w2 icmp                  an echo
    w1 -> w2 ip 4                  a bare packet of a protocol, one way
    x1 -> floating@w1 tcp 80       to another name's address, which is to lead to w1
    x1 -> node@w1 tcp 80 to 8080   and to another port

in   where the names are, flows
out  for each flow and family: open, refused (somebody says so), heard (it arrived, the answer did
     not), elsewhere (another one answered) or silent; and from where it was seen to come
"""

from __future__ import annotations

import contextlib
import itertools
import re
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Literal, NamedTuple, TypeVar

from tests.kernel.conftest import Namespace, enter

State = Literal["open", "refused", "heard", "silent", "elsewhere"]
T = TypeVar("T")

PATIENCE = 5.0  # seconds within which what is to arrive has arrived
GRACE = 0.05  # seconds more for what is not to arrive
_KINDS = {"tcp": socket.SOCK_STREAM, "udp": socket.SOCK_DGRAM, "ip": socket.SOCK_RAW}
_FAMILIES = {4: socket.AF_INET, 6: socket.AF_INET6}
_ECHO = {4: b"\x08\0\0\0\0\0\0\1", 6: b"\x80\0\0\0\0\0\0\1"}
_TOKEN_LENGTH = 16
_FORGED = re.compile(rb"fxpkt:([0-9a-f]{8})")
_tokens = itertools.count(1)


class Flow(NamedTuple):
    """`name` is whose address it is sent to; `number` a port or a protocol, `heard_at` the one at
    which it is to arrive.
    """

    text: str
    source: str
    name: str
    target: str
    protocol: str
    number: int
    heard_at: int
    source_port: int
    family: Literal[4, 6]


class Outcome(NamedTuple):
    state: State
    seen: str = ""  # address
    seen_port: int = 0


def parse(text: str) -> list[Flow]:
    """Flows between commas, each in the families that it names, or both."""
    flows = []
    for part in filter(None, map(str.strip, text.split(","))):
        words = part.split()
        source, _arrow, address, protocol = words[:4]
        name, _, target = address.partition("@")
        rest = words[4:]
        number = 0 if protocol == "icmp" else int(rest.pop(0))
        source_port = int(rest[rest.index("sport") + 1]) if "sport" in rest else 0
        heard_at = int(rest[rest.index("to") + 1]) if "to" in rest else number
        families: list[Literal[4, 6]] = [4] if "v4" in rest else [6] if "v6" in rest else [4, 6]
        flows += [
            Flow(
                part, source, name, target or name, protocol, number, heard_at, source_port, family
            )
            for family in families
        ]
    return flows


def within(space: Namespace, work: Callable[[], T]) -> T:
    """The result of a call that is made in a namespace, by a thread of its own."""
    results: list[T] = []
    errors: list[Exception] = []

    def run() -> None:
        enter(space.path)
        try:
            results.append(work())
        except (OSError, AssertionError) as error:
            errors.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    if errors:
        raise errors[0]
    return results[0]


def ask(
    spaces: Mapping[str, Namespace],
    addresses: Mapping[str, tuple[str, str]],
    flows: Mapping[Flow, State],
) -> dict[Flow, Outcome]:
    """What becomes of each; there is time for those that are expected to be open or refused.

    `addresses` are those of each name, IPv4 and IPv6.
    """
    with contextlib.ExitStack() as stack:
        ears = {
            key: stack.enter_context(contextlib.closing(_Ear(*key)))
            for key in {_ear_of(flow, spaces) for flow in flows}
        }
        asked = {
            flow: stack.enter_context(
                contextlib.closing(
                    _Question(spaces[flow.source], flow, addresses[flow.name][flow.family == 6])
                )
            )
            for flow in flows
        }

        def look() -> dict[Flow, Outcome]:
            for ear in ears.values():
                ear.answer()
            return {
                flow: question.outcome(ears[_ear_of(flow, spaces)])
                for flow, question in asked.items()
            }

        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            now = look()
            if all(wanted in ("silent", now[flow].state) for flow, wanted in flows.items()):
                break
            time.sleep(0.005)
        time.sleep(GRACE)
        return look()


@contextlib.contextmanager
def ear(
    space: Namespace,
    family: int,
    number: int,
    *,
    raw: bool = False,
    group: str = "",
    device: str = "",
) -> Iterator[Callable[[], list[int]]]:
    """What `forging` has sent to a UDP port, or of a protocol, since the last question: tokens.

    `group` is an address of several hosts that it listens to as well, at a device.
    """

    def listen() -> socket.socket:
        made = _socket("ip" if raw else "udp", number, family)
        if not raw:
            made.bind(("", number))
        if group:
            members = socket.inet_pton(socket.AF_INET6, group) + struct.pack(
                "=I", socket.if_nametoindex(device)
            )
            made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_JOIN_GROUP, members)
        return made

    with within(space, listen) as listening:

        def heard() -> list[int]:
            time.sleep(GRACE)
            tokens = []
            with contextlib.suppress(BlockingIOError):
                while True:
                    found = _FORGED.search(listening.recv(2048))
                    tokens += [int(found[1], 16)] if found else []
            return tokens

        yield heard


def _ear_of(flow: Flow, spaces: Mapping[str, Namespace]) -> tuple[Namespace, str, int, int]:
    """One hears all that comes to a namespace, by whatever name."""
    return spaces[flow.target], flow.protocol, flow.heard_at, flow.family


class _Ear:
    """Answers with what it hears, to where that seems to come from."""

    def __init__(self, space: Namespace, protocol: str, number: int, family: int) -> None:
        self.heard: dict[bytes, tuple[str, int]] = {}
        self._connections: list[tuple[socket.socket, tuple[str, int]]] = []
        self._protocol, self._socket = protocol, None
        if protocol != "icmp":  # the kernel answers
            self._socket = within(space, lambda: self._listen(number, family))

    def _listen(self, number: int, family: int) -> socket.socket:
        ear = _socket(self._protocol, number, family)
        if self._protocol == "tcp":  # connections of the last question may still be closing
            ear.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if self._protocol != "ip":
            ear.bind(("", number))
        if self._protocol == "tcp":
            ear.listen(50)
        return ear

    def answer(self) -> None:
        while self._socket is not None:
            try:
                if self._protocol == "tcp":
                    connection, peer = self._socket.accept()
                    connection.setblocking(False)
                    self._connections.append((connection, peer[:2]))
                else:
                    data, peer = self._socket.recvfrom(2048)
                    self.heard[data[-_TOKEN_LENGTH:]] = peer[:2]
                    if self._protocol == "udp":
                        self._reply(data, peer)
            except BlockingIOError:
                break
        for connection, peer in self._connections:
            with contextlib.suppress(BlockingIOError, ConnectionError):
                if data := connection.recv(2048):
                    self.heard[data] = peer
                    connection.send(data)

    def _reply(self, data: bytes, peer: tuple[str, int]) -> None:
        assert self._socket is not None
        with contextlib.suppress(PermissionError):  # the host's own policy forbids it
            self._socket.sendto(data, peer)

    def close(self) -> None:
        for connection, _ in self._connections:
            connection.close()
        if self._socket is not None:
            self._socket.close()


class _Question:
    """A flow that has been begun; `outcome` goes on with it."""

    def __init__(self, space: Namespace, flow: Flow, address: str) -> None:
        self._flow = flow
        self._token = b"%0*d" % (_TOKEN_LENGTH, next(_tokens))
        self._sent = self._refused = self._answered = False
        self._socket = within(space, lambda: self._begin(address))

    def _begin(self, address: str) -> socket.socket:
        flow = self._flow
        asking = _socket(flow.protocol, flow.number, flow.family)
        with contextlib.ExitStack() as unless_begun:
            unless_begun.callback(asking.close)
            if flow.source_port:
                asking.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                asking.bind(("", flow.source_port))
            if flow.protocol == "tcp":
                asking.connect_ex((address, flow.number))
            else:
                asking.connect((address, flow.number if flow.protocol == "udp" else 0))
            unless_begun.pop_all()
        return asking

    def outcome(self, ear: _Ear) -> Outcome:
        try:
            if not self._refused:
                self._go_on()
        except ConnectionRefusedError:
            self._refused = True
        except (BlockingIOError, PermissionError, TimeoutError):
            pass  # under way; forbidden to this machine itself
        seen = ear.heard.get(self._token)
        if seen is not None:
            complete = self._answered or self._flow.protocol == "ip"
            return Outcome("open" if complete else "heard", *seen)
        if self._answered:
            return Outcome("open" if self._flow.protocol == "icmp" else "elsewhere")
        return Outcome("refused" if self._refused else "silent")

    def _go_on(self) -> None:
        if not self._sent:
            if self._flow.protocol != "tcp":
                self._sent = True  # once, whatever comes of it
            head = _ECHO[self._flow.family] if self._flow.protocol == "icmp" else b""
            self._socket.send(head + self._token)
            self._sent = True
        elif not self._answered:
            self._answered = self._socket.recv(2048).endswith(self._token)

    def close(self) -> None:
        self._socket.close()


def _socket(protocol: str, number: int, family: int) -> socket.socket:
    """Not blocking; of one family only."""
    kind, which = _KINDS.get(protocol, socket.SOCK_DGRAM), 0
    if protocol == "ip":
        which = number
    elif protocol == "icmp":
        which = socket.IPPROTO_ICMP if family == 4 else socket.IPPROTO_ICMPV6
    made = socket.socket(_FAMILIES[family], kind, which)
    made.setblocking(False)
    if family == 6 and protocol in ("tcp", "udp"):
        made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    return made
