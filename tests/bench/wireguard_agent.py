"""How long an agent takes that is told to encrypt for a cluster of 500 nodes: `python -m
tests.bench.wireguard_agent`, as root, on a kernel that has WireGuard.

It works in a network namespace of its own, which ends with it.  The nodes are manifests, nobody
answers: what is waited for is the last peer and the last route, which leads around WireGuard until
there is a handshake.  `felixpy.log` of the directory that it names says what happened when.
"""

from __future__ import annotations

import asyncio
import base64
import ctypes
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from felixpy.status import read
from felixpy.wireguard.machine import read_device
from tests.guest.wireguard_table import routes

NODES, BLOCKS = 500, 4
NETS = NODES * (BLOCKS + 1)  # its address in the tunnel is one more
TABLE = 1
PATIENCE = 300.0


def resources() -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Kind, name, and what else there is."""
    for n in range(1, NODES + 2):
        key = base64.b64encode(n.to_bytes(32, "big")).decode() if n > 1 else ""
        address = f"172.16.{n >> 8}.{n & 255}/16"
        spec = {
            "bgp": {"ipv4Address": address},
            "wireguard": {"interfaceIPv4Address": net(n, 0).replace("/26", "")},
        }
        yield "Node", f"n{n}", {"spec": spec, "status": {"wireguardPublicKey": key} if key else {}}
        for i in range(BLOCKS):
            block = {
                "cidr": net(n, i),
                "affinity": f"host:n{n}",
                "allocations": [],
                "attributes": [],
            }
            yield "IPAMBlock", f"b{n}-{i}", {"spec": block}


def net(n: int, i: int) -> str:
    number = n * BLOCKS + i
    return f"10.{128 + (number >> 10)}.{number >> 2 & 255}.{(number & 3) << 6}/26"


def manifest(kind: str, name: str, body: dict[str, Any]) -> str:
    return json.dumps(
        {"apiVersion": "projectcalico.org/v3", "kind": kind, "metadata": {"name": name}, **body}
    )


def switch(*, on: bool) -> str:
    return manifest("FelixConfiguration", "default", {"spec": {"wireguardEnabled": on}})


def write(path: Path, text: str) -> None:
    scratch = path.with_name(f".{path.name}")
    scratch.write_text(text)
    scratch.rename(path)


def until(what: Callable[[], bool], pause: float = 0.02) -> float:
    """UNIX time."""
    deadline = time.monotonic() + PATIENCE
    while not what():
        if time.monotonic() > deadline:
            raise SystemExit("it has not come about")
        time.sleep(pause)
    return time.time()


def is_well(run: Path) -> bool:
    status = next((read(path.parent) for path in run.glob("**/status.json")), None)
    return status is not None and status.state == "running"


def nets() -> int:
    state = asyncio.run(read_device("wireguard.cali"))
    return 0 if state is None else sum(len(peer.nets) for peer in state.peers.values())


def cpu(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().split()
    return (int(fields[13]) + int(fields[14])) / os.sysconf("SC_CLK_TCK")


def main(directory: Path) -> None:
    manifests, run = directory / "manifests", directory / "run"
    manifests.mkdir()
    texts = [manifest(*each) for each in resources()]
    write(manifests / "cluster.yaml", "\n---\n".join(texts))
    write(manifests / "felix.yaml", switch(on=False))
    config = directory / "felixpy.cfg"
    config.write_text(
        f"[global]\nFelixHostname = n1\nDatastorePath = {manifests}\nRunDir = {run}\n"
        "MTUFile = none\nLogSeveritySys = none\nIptablesBackend = NFT\n"
    )
    with (directory / "felixpy.log").open("wb") as log:
        argv = [sys.executable, "-m", "felixpy", "run", "--config", str(config)]
        agent = subprocess.Popen(argv, stdout=log, stderr=log)
        try:
            until(lambda: is_well(run), 0.5)
            measure(manifests, agent.pid)
        finally:
            agent.terminate()
            agent.wait()


def measure(manifests: Path, pid: int) -> None:
    used, begin = cpu(pid), time.time()
    write(manifests / "felix.yaml", switch(on=True))
    device = until(lambda: Path("/sys/class/net/wireguard.cali").exists())
    known = until(lambda: nets() == NETS, 0.2)
    led = until(lambda: len(routes(TABLE)) > NETS, 0.2)
    used = cpu(pid) - used
    print(f"from the word to the device          {device - begin:8.2f} s")
    print(f"from the device to {NODES} peers         {known - device:8.2f} s")
    print(f"from there to {NETS} routes            {led - known:8.2f} s")
    print(f"CPU of the agent                     {used:8.2f} s")


if __name__ == "__main__":
    if ctypes.CDLL(None, use_errno=True).unshare(0x40020000) != 0:  # CLONE_NEWNET, CLONE_NEWNS
        raise SystemExit(f"needs root: {os.strerror(ctypes.get_errno())}")
    commands = "link set lo up\nlink add eth0 type dummy\nlink set eth0 up\n"
    commands += "addr add 172.16.0.1/16 dev eth0\n"
    # its own /sys, as `ip netns exec` would have it
    subprocess.run(["mount", "--make-rslave", "/"], check=True)
    subprocess.run(["umount", "-l", "/sys"], check=True)
    subprocess.run(["mount", "-t", "sysfs", "sysfs", "/sys"], check=True)
    subprocess.run(["ip", "-batch", "-"], input=commands, text=True, check=True)
    with tempfile.TemporaryDirectory(prefix="bench-") as scratch:
        print(scratch)
        main(Path(scratch))
        if "--log" in sys.argv:
            print(Path(scratch, "felixpy.log").read_text())
