"""A workload that talks and listens: a program that runs in a workload's namespace.

    in   {"name": "w1 to w2", "to": "10.65.2.2", "rate": 200}     send this from now on; rate 0: end
         {"name": …, "to": …, "stream": true}                     the same, as a TCP connection
         {"epoch": 3}                                             what is sent belongs to this one
         {"silent": true}                                         nothing any more
         {}                                                       nothing but the answer
    out  {"sent": {"w1 to w2": {"3": 400}}, "refused": {…}, "received": {…},
          "streamed": {…}, "broken": {…}}                         for each line in

`refused`: what the kernel would not send, by name of the error.  `received` is what others have
sent here, `streamed` bytes of TCP that have come here in order, by name and epoch of the sender.
`broken`: connections that ended, and why.
"""

from __future__ import annotations

import contextlib
import errno
import json
import select
import socket
import sys
import time
from collections import Counter, defaultdict

_UDP, _TCP = 9998, 9999
_FORCED_BUFFER = 33
_RECORD = 512  # bytes, 10 times a second


class Flow:
    def __init__(self, name: str, to: str, rate: float, *, stream: bool) -> None:
        self.name, self.to, self.interval, self.stream = name, to, 1 / rate, stream
        self.due = time.monotonic()
        self.unsent = b""
        family = socket.AF_INET6 if ":" in to else socket.AF_INET
        kind = socket.SOCK_STREAM if stream else socket.SOCK_DGRAM
        self.socket = socket.socket(family, kind)
        if stream:
            self.socket.settimeout(30)
            self.socket.connect((to, _TCP))
            self.socket.setblocking(False)

    def send(self, epoch: int) -> None:
        text = f"{self.name}|{epoch}|".encode()
        if self.stream:
            if len(self.unsent) < _RECORD:
                self.unsent += text.ljust(_RECORD, b".")
            self.unsent = self.unsent[self.socket.send(self.unsent) :]
        else:
            self.socket.sendto(text, (self.to, _UDP))


class Workload:
    def __init__(self) -> None:
        self.flows: dict[str, Flow] = {}
        self.epoch = 0
        self.counts: dict[str, dict[str, Counter[str]]] = defaultdict(lambda: defaultdict(Counter))
        self.packets = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
        self.packets.setsockopt(socket.SOL_SOCKET, _FORCED_BUFFER, 1 << 22)
        self.packets.bind(("::", _UDP))
        self.packets.setblocking(False)
        self.listener = socket.create_server(
            ("::", _TCP), family=socket.AF_INET6, dualstack_ipv6=True
        )
        self.streams: dict[socket.socket, bytes] = {}

    def run(self) -> None:
        while True:
            now = time.monotonic()
            for flow in list(self.flows.values()):
                if flow.due <= now:
                    self.send(flow)
            wait = min((flow.due for flow in self.flows.values()), default=now + 60) - now
            watched = [sys.stdin, self.packets, self.listener, *self.streams]
            ready = select.select(watched, [], [], max(wait, 0))[0]
            self.receive()
            for stream in self.streams.keys() & set(ready):
                self.read(stream)
            if self.listener in ready:
                self.streams[self.listener.accept()[0]] = b""
            if sys.stdin in ready and not self.obey(sys.stdin.readline()):
                return

    def send(self, flow: Flow) -> None:
        """One that is late by some packets sends the others at once."""
        flow.due += flow.interval
        epoch = str(self.epoch)
        try:
            flow.send(self.epoch)
        except BlockingIOError:
            return  # a stream that is full; it is TCP that waits
        except OSError as error:
            name = errno.errorcode[error.errno or 0]
            if flow.stream:
                self.counts["broken"][flow.name][name] += 1
                del self.flows[flow.name]
                return
            self.counts["refused"][flow.name][name] += 1
        self.counts["sent"][flow.name][epoch] += 1

    def receive(self) -> None:
        with contextlib.suppress(BlockingIOError):
            while True:
                name, epoch, _ = self.packets.recv(200).decode().split("|")
                self.counts["received"][name][epoch] += 1

    def read(self, stream: socket.socket) -> None:
        try:
            data = stream.recv(65536)
        except OSError as error:
            data = b""
            self.counts["broken"]["from others"][errno.errorcode[error.errno or 0]] += 1
        if not data:
            del self.streams[stream]
            return
        data = self.streams[stream] + data
        while len(data) >= _RECORD:
            name, epoch, _ = data[:_RECORD].decode().split("|")
            self.counts["streamed"][name][epoch] += _RECORD
            data = data[_RECORD:]
        self.streams[stream] = data

    def obey(self, line: str) -> bool:
        if not line:
            return False
        wish = json.loads(line)
        self.epoch = wish.get("epoch", self.epoch)
        if wish.get("silent", False):
            for flow in self.flows.values():
                flow.socket.close()
            self.flows.clear()
        if "name" in wish:
            before = self.flows.pop(wish["name"], None)
            if before is not None:
                before.socket.close()
            stream = wish.get("stream", False)
            rate = 10 if stream else wish.get("rate", 0)
            if rate:
                self.flows[wish["name"]] = Flow(wish["name"], wish["to"], rate, stream=stream)
        print(json.dumps(self.counts), flush=True)
        return True
