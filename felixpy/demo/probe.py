"""Runs inside a workload's namespace: a TCP server, and attempts to reach others.

    probe.py PORT      serve PORT; read "ADDRESS PORT" lines, answer each with "open" or "closed"

Run as a program of its own, so it imports nothing of felixpy.
"""

from __future__ import annotations

import socket
import sys
import threading

PATIENCE = 0.25  # seconds; all is on one machine, and a SYN is repeated after 1 s only


def serve(port: int) -> None:
    listener = socket.create_server(("", port))
    while True:
        connection, _ = listener.accept()
        connection.close()


def reach(address: str, port: int) -> str:
    try:
        with socket.create_connection((address, port), timeout=PATIENCE):
            return "open"
    except OSError:
        return "closed"


def main() -> None:
    threading.Thread(target=serve, args=(int(sys.argv[1]),), daemon=True).start()
    for line in sys.stdin:
        address, port = line.split()
        sys.stdout.write(reach(address, int(port)) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
