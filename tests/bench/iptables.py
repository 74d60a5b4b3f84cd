"""Figures of the iptables driver, in a network namespace of its own: run as root.

.venv/bin/python -m tests.bench.iptables [nft|legacy] [rules ...]
"""

from __future__ import annotations

import asyncio
import ctypes
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import structlog

from dataplane.chains import Chain
from dataplane.drivers.iptables import IptablesDriver, detect
from dataplane.runner import Runner
from dataplane.settings import Intervals, Settings

_RULES_PER_CHAIN = 20
_NEW_NAMESPACE = 0x40000000


def policy(number: int, port: int) -> Chain:
    rules = tuple(
        f"-p tcp --source 10.{number % 250}.{rule}.0/24 -m multiport --destination-ports {port}"
        " --jump MARK --set-mark 0x10000/0x10000"
        for rule in range(_RULES_PER_CHAIN)
    )
    return Chain(f"cali-pi-{number}", rules)


async def driver_of(kind: str, chains: int) -> IptablesDriver:
    backend = await detect(kind, 4, Runner())
    settings = Settings(hostname="bench", intervals=Intervals(tables=0, tables_after_write=0))
    driver = IptablesDriver(4, settings, backend, Runner())
    jumps = tuple(f"--jump cali-pi-{number}" for number in range(chains))
    driver.desire_chain("filter", Chain("cali-FORWARD", jumps))
    for number in range(chains):
        driver.desire_chain("filter", policy(number, 80))
    driver.desire_hook("filter", "FORWARD", ("--jump cali-FORWARD",), ())
    return driver


async def timed(work: Callable[[], Awaitable[None]]) -> float:
    started = time.perf_counter()
    await work()
    return (time.perf_counter() - started) * 1000


async def measure(kind: str, rules: int) -> None:
    chains = rules // _RULES_PER_CHAIN
    driver = await driver_of(kind, chains)
    print(f"{kind}, {rules} rules")
    print(f"  start into an empty kernel    {await timed(driver.apply):9.1f} ms")
    changes = []
    for turn in range(30 if kind == "nft" else 8):
        driver.desire_chain("filter", policy(turn % chains, 1000 + turn))
        changes.append(await timed(driver.apply))
    print(f"  change of a chain of {_RULES_PER_CHAIN}, median {statistics.median(changes):8.2f} ms")
    for _ in range(3):
        await asyncio.sleep(0.3)
    changes = []
    for turn in range(30 if kind == "nft" else 8):
        await asyncio.sleep(0.02)
        driver.desire_chain("filter", Chain("cali-FORWARD-2"))
        driver.desire_chain("filter", policy(0, 2000 + turn))
        changes.append(await timed(driver.apply))
    print(f"  the same after a pause        {statistics.median(changes):9.2f} ms")
    if kind == "nft":
        await repair(driver)
        process = driver._writer._process.pid  # type: ignore[attr-defined]
        status = Path(f"/proc/{process}/status").read_text()
        print(f"  memory of the writer          {status.split('VmRSS:')[1].split()[0]:>9} KiB")
    await driver.close()
    second = await driver_of(kind, chains)
    second.desire_chain("filter", policy(0, 2000 + turn))
    started = time.process_time()
    elapsed = await timed(second.apply)
    print(f"  start over the same rules     {elapsed:9.1f} ms, CPU of ours"
          f" {(time.process_time() - started) * 1000:.0f} ms")  # fmt: skip
    await second.close()
    print(f"  memory of this process        {resource.getrusage(0).ru_maxrss:9d} KiB at most")


async def repair(driver: IptablesDriver) -> None:
    """From somebody's deletion of our jump to its return."""
    figures = []
    for _ in range(3):
        await asyncio.sleep(0.5)
        await Runner().run("iptables-nft", "-D", "FORWARD", "1")
        started = time.perf_counter()
        while not driver.dirty():
            await asyncio.sleep(driver.next_check() or 0.001)
            await driver.check()
        await driver.apply()
        figures.append((time.perf_counter() - started) * 1000)
    print(f"  a jump that was deleted is back after {statistics.median(figures):.1f} ms")


def main() -> None:
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(40))
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(_NEW_NAMESPACE) != 0:
        sys.exit("tests.bench.iptables: needs root")
    kind = sys.argv[1] if len(sys.argv) > 1 else "nft"
    for rules in [int(text) for text in sys.argv[2:]] or [2000, 30000]:
        asyncio.run(measure(kind, rules))
        subprocess.run([f"iptables-{kind}", "-F"], check=True)
        subprocess.run([f"iptables-{kind}", "-X"], check=True)


if __name__ == "__main__":
    main()
