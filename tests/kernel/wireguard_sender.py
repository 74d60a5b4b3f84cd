"""Packets as fast as they go, and where they came: a program of its own, so that it never waits for
the code under test.

    in   file descriptors of a sending and of receiving sockets, an address, a port
    out  "ready" with the first packet; once standard input is closed the attempts, those refused,
         and those that came by each receiving socket
"""

from __future__ import annotations

import select
import socket
import sys


def main(sending: int, receiving: list[int], address: str, port: int) -> None:
    sender = socket.socket(fileno=sending)
    receivers = [socket.socket(fileno=number) for number in receiving]
    came = [0] * len(receivers)
    attempts = refused = 0
    print("ready", flush=True)
    while not select.select([sys.stdin], [], [], 0)[0]:
        for _ in range(20):
            attempts += 1
            try:
                sender.sendto(b"x", (address, port))
            except OSError:
                refused += 1
        for index, receiver in enumerate(receivers):
            came[index] += _drain(receiver)
    for index, receiver in enumerate(receivers):
        came[index] += _drain(receiver)
    print(attempts, refused, *came, flush=True)


def _drain(receiver: socket.socket) -> int:
    count = 0
    try:
        while receiver.recv(16):
            count += 1
    except BlockingIOError:
        pass
    return count


if __name__ == "__main__":
    main(int(sys.argv[1]), [int(n) for n in sys.argv[2].split(",")], sys.argv[3], int(sys.argv[4]))
