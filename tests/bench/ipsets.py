"""How fast IP sets are written and read: `python -m tests.bench.ipsets`, as root.

It works in a network namespace of its own, which ends with it.  The same through processes, for
comparison: `ipset restore` and `ipset save`.
"""

from __future__ import annotations

import asyncio
import ctypes
import logging
import os
import statistics
import subprocess
import time

import structlog

from calc_graph.updates import IpsetType
from dataplane.drivers.ipsets import IpsetDriver

MEMBERS, SETS, ROUNDS = 50_000, 300, 200
NAME = "cali40s:bench"


def show(what: str, seconds: float) -> None:
    print(f"{what:<58}{seconds * 1000:10.2f} ms")


async def timed(what: str, driver: IpsetDriver) -> None:
    start = time.perf_counter()
    await driver.apply_additions()
    await driver.apply_removals()
    show(what, time.perf_counter() - start)


async def one_by_one(what: str, driver: IpsetDriver, *, add: bool) -> None:
    taken = []
    for i in range(ROUNDS):
        member = [f"11.0.0.{i}/32"]
        start = time.perf_counter()
        driver.change(NAME, member if add else [], [] if add else member)
        await driver.apply_additions()
        await driver.apply_removals()
        taken.append(time.perf_counter() - start)
    show(f"{what} (median of {ROUNDS})", statistics.median(taken))


def by_process(members: list[str]) -> None:
    lines = "".join(f"add bench {member}\n" for member in members)
    script = f"create bench hash:net maxelem 1048576\n{lines}COMMIT\n"
    start = time.perf_counter()
    subprocess.run(["ipset", "restore"], input=script, text=True, check=True)
    show(f"for comparison: ipset restore of {MEMBERS:,} members", time.perf_counter() - start)
    start = time.perf_counter()
    saved = subprocess.run(["ipset", "save"], capture_output=True, text=True, check=True).stdout
    found = {line.split()[2] for line in saved.splitlines() if line.startswith("add")}
    show(f"for comparison: ipset save, parsed, {len(found):,} members", time.perf_counter() - start)
    start = time.perf_counter()
    subprocess.run(["ipset", "add", "bench", "11.0.0.1"], check=True)
    show("for comparison: ipset add", time.perf_counter() - start)
    subprocess.run(["ipset", "destroy", "bench"], check=True)


async def main() -> None:
    members = [f"10.{i >> 16}.{i >> 8 & 255}.{i & 255}/32" for i in range(MEMBERS)]
    by_process(members)
    driver = IpsetDriver(4)
    start = time.perf_counter()
    driver.desire(NAME, IpsetType.NET, members)
    show(f"{MEMBERS:,} members desired", time.perf_counter() - start)
    await timed("the same, written", driver)
    await one_by_one("one member added", driver, add=True)
    await one_by_one("one member removed", driver, add=False)
    start = time.perf_counter()
    await driver.check()
    show(f"check of {MEMBERS:,} members", time.perf_counter() - start)
    again = IpsetDriver(4)
    again.desire(NAME, IpsetType.NET, members)
    await timed("restart with nothing to write", again)
    for i in range(SETS):
        again.desire(f"cali40s:{i}", IpsetType.NET, [f"10.0.{i >> 8}.{i & 255}/32"])
    await timed(f"{SETS} sets made", again)
    for i in range(SETS):
        again.drop(f"cali40s:{i}")
    await timed(f"{SETS} sets destroyed", again)


if __name__ == "__main__":
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.INFO))
    if ctypes.CDLL(None, use_errno=True).unshare(0x40000000) != 0:  # CLONE_NEWNET
        raise SystemExit(f"needs root: {os.strerror(ctypes.get_errno())}")
    asyncio.run(main())
