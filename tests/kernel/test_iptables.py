"""The iptables driver against the kernel, with both backends where both can do it."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import socket
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from dataplane.chains import Chain
from dataplane.cleanup import clean
from dataplane.drivers.iptables import IptablesDriver, NftMonitor, detect
from dataplane.errors import ChainsRefusedError, DataplaneError
from dataplane.runner import Runner
from dataplane.settings import Intervals, Settings

pytestmark = pytest.mark.kernel

FORWARD = Chain("cali-FORWARD", ("--jump cali-a", "--jump MARK --set-mark 0/0x10000"))
A = Chain("cali-a", ("-p 17 --jump DROP", "--source 10.0.0.0/8 --jump RETURN"))
HOOK = ("--jump cali-FORWARD",)
TAIL = ('-m comment --comment "Policy explicitly accepted packet." --jump ACCEPT',)

Make = Callable[..., Awaitable[IptablesDriver]]


@pytest.fixture(params=["nft", "legacy"])
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
async def make(inside: Any, kind: str) -> AsyncIterator[Make]:
    made: list[IptablesDriver] = []

    async def maker(*, family: Any = 4, **changes: Any) -> IptablesDriver:
        backend = await detect(kind, family, Runner())
        assert backend.kind == kind
        settings = Settings(hostname="n1", **{"intervals": Intervals(tables=0), **changes})
        made.append(IptablesDriver(family, settings, backend, Runner()))
        return made[-1]

    yield maker
    for driver in made:
        await driver.close()


def desire(driver: IptablesDriver, *chains: Chain) -> None:
    for chain in chains or (FORWARD, A):
        driver.desire_chain("filter", chain)
    driver.desire_hook("filter", "FORWARD", HOOK, TAIL)


class Tables:
    """What `iptables` of one backend says."""

    def __init__(self, inside: Any, kind: str) -> None:
        self._inside = inside
        self._kind = kind

    def __call__(self, arguments: str) -> str:
        return str(self._inside.run(f"iptables-{self._kind} {arguments}"))

    def chain(self, name: str, table: str = "filter") -> list[str]:
        """The rules of a chain: what follows the id."""
        lines = self(f"-t {table} -S {name}").splitlines()[1:]
        return [re.sub(r"^-A \S+ |-m comment --comment \"?cali:\S+ ", "", line) for line in lines]

    def save(self) -> str:
        text = str(self._inside.run(f"iptables-{self._kind}-save"))
        return "\n".join(x for x in text.splitlines() if not x.startswith("#"))


@pytest.fixture
def tables(inside: Any, kind: str) -> Tables:
    return Tables(inside, kind)


async def settle(driver: IptablesDriver) -> None:
    """Look when it is due, and repair, as the apply loop does."""
    for _ in range(50):
        due = driver.next_check()
        if due is not None and due < 1.5:
            await asyncio.sleep(due)
            await driver.check()
        if driver.dirty():
            await driver.apply()
        elif due is None or due > 0.2:
            await asyncio.sleep(0.02)
            if (again := driver.next_check()) is None or again > 0.2:
                return


async def test_from_nothing_to_the_kernel(make: Make, tables: Tables) -> None:
    tables("-A FORWARD -s 1.1.1.1 -j DROP")
    driver = await make()
    desire(driver, FORWARD, A, Chain("cali-unreferenced", ("--jump DROP",)))
    assert driver.dirty()
    await driver.apply()
    assert not driver.dirty()
    assert tables.chain("FORWARD") == [
        "-j cali-FORWARD",
        "-s 1.1.1.1/32 -j DROP",
        '-m comment --comment "Policy explicitly accepted packet." -j ACCEPT',
    ]
    assert tables.chain("cali-FORWARD") == ["-j cali-a", "-j MARK --set-xmark 0x0/0x10000"]
    assert tables.chain("cali-a") == ["-p udp -j DROP", "-s 10.0.0.0/8 -j RETURN"]
    assert "unreferenced" not in tables.save()


async def test_append_mode_puts_our_jump_behind_the_others(make: Make, tables: Tables) -> None:
    tables("-A FORWARD -s 1.1.1.1 -j DROP")
    driver = await make(insert_mode="append")
    desire(driver)
    await driver.apply()
    assert [rule.split()[-1] for rule in tables.chain("FORWARD")] == [
        "DROP",
        "cali-FORWARD",
        "ACCEPT",
    ]


class Witness:
    """`nft monitor`: every change of the tables, but for marks that show how far it has come."""

    def __init__(self, inside: Any, file: Path) -> None:
        self._inside = inside
        self._file = file
        file.touch()
        inside.start("sh", "-c", f"exec nft monitor >{file}")

    async def hears(self, mark: str) -> None:
        """It takes its time to begin, and to tell."""
        async with asyncio.timeout(20):
            while f"table arp {mark}\n" not in self._file.read_text():
                self._inside.run(f"nft add table arp {mark}; nft delete table arp {mark}")
                await asyncio.sleep(0.02)

    def told(self) -> list[str]:
        lines = self._file.read_text().splitlines()
        return [x for x in lines if not x.startswith("#") and " table arp " not in x]


async def test_restart_writes_nothing(
    make: Make, inside: Any, tables: Tables, kind: str, tmp_path: Path
) -> None:
    first = await make()
    desire(first)
    await first.apply()
    await first.close()
    before = tables.save()
    witness = Witness(inside, tmp_path / "told") if kind == "nft" else None
    if witness is not None:
        await witness.hears("begin")
    second = await make()
    desire(second)
    await second.apply()
    assert tables.save() == before
    if witness is not None:
        tables("-N marker")
        await witness.hears("end")
        assert witness.told() == ["create chain ip filter marker"]


async def test_restart_writes_the_difference_and_keeps_counters(
    make: Make, inside: Any, tables: Tables, kind: str
) -> None:
    driver = await make()
    driver.desire_hook("filter", "OUTPUT", ("--jump cali-a",), ())
    driver.desire_chain("filter", Chain("cali-a", ("--jump cali-b", "-p 1 --jump RETURN")))
    driver.desire_chain("filter", Chain("cali-b", ("-p 17 --jump DROP",)))
    await driver.apply()
    inside.run("ping -c 1 127.0.0.1")
    driver = await make()
    driver.desire_hook("filter", "OUTPUT", ("--jump cali-a",), ())
    driver.desire_chain("filter", Chain("cali-a", ("--jump cali-b", "-p 1 --jump RETURN")))
    driver.desire_chain("filter", Chain("cali-b", ("-p 17 --jump ACCEPT",)))
    await driver.apply()
    assert re.search(r"\[2:168\] -A cali-a .*-j RETURN", inside.run(f"iptables-{kind}-save -c"))
    assert tables.chain("cali-b") == ["-p udp -j ACCEPT"]


CHANGES = [
    ("extended", ("-p 6 --jump DROP", "-p 17 --jump DROP", "-p 1 --jump DROP")),
    ("cut short", ("-p 6 --jump DROP",)),
    ("replaced", ("-p 1 --jump DROP", "-p 17 --jump DROP")),
    ("emptied", ()),
    ("turned round", ("-p 17 --jump DROP", "-p 6 --jump DROP")),
]


@pytest.mark.parametrize("rules", [rules for _, rules in CHANGES], ids=[n for n, _ in CHANGES])
async def test_a_chain_is_edited(make: Make, tables: Tables, rules: tuple[str, ...]) -> None:
    driver = await make()
    desire(driver, FORWARD, Chain("cali-a", ("-p 6 --jump DROP", "-p 17 --jump DROP")))
    await driver.apply()
    driver.desire_chain("filter", Chain("cali-a", rules))
    await driver.apply()
    numbers = {"1": "icmp", "6": "tcp", "17": "udp"}
    assert tables.chain("cali-a") == [f"-p {numbers[r.split()[1]]} -j DROP" for r in rules]
    fresh = await make()
    desire(fresh, FORWARD, Chain("cali-a", rules))
    before = tables.save()
    await fresh.apply()
    assert tables.save() == before


async def test_counters_of_rules_before_a_change(make: Make, inside: Any, kind: str) -> None:
    driver = await make()
    driver.desire_hook("filter", "OUTPUT", ("--jump cali-a",), ())
    driver.desire_chain("filter", Chain("cali-a", ("-p 1", "-p 17 --jump DROP")))
    await driver.apply()
    inside.run("ping -c 1 127.0.0.1")
    driver.desire_chain("filter", Chain("cali-a", ("-p 1", "-p 17 --jump ACCEPT")))
    await driver.apply()
    saved = inside.run(f"iptables-{kind}-save -c")
    # The nf_tables backend writes a changed chain whole.
    kept = "2:168" if kind == "legacy" else "0:0"
    assert re.search(rf"\[{kept}\] -A cali-a -p icmp", saved)
    assert "-p udp" in saved


async def test_references_come_and_go(make: Make, tables: Tables) -> None:
    driver = await make()
    old, new, leaf = Chain("cali-old", ("--jump cali-leaf",)), Chain("cali-new"), Chain("cali-leaf")
    desire(driver, Chain("cali-FORWARD", ("--jump cali-old",)), old, new, leaf)
    await driver.apply()
    assert "cali-new" not in tables.save()
    driver.desire_chain("filter", Chain("cali-FORWARD", ("--jump cali-new",)))
    await driver.apply()
    assert ":cali-new " in tables.save()
    assert "cali-old" not in tables.save()
    assert "cali-leaf" not in tables.save()
    driver.desire_chain("filter", old, forced=True)
    await driver.apply()
    assert ":cali-leaf " in tables.save()
    driver.drop_chain("filter", "cali-old")
    await driver.apply()
    assert "cali-leaf" not in tables.save()


async def test_leftovers_are_removed_and_foreign_ones_stay(make: Make, tables: Tables) -> None:
    for command in (
        "-N cali-tw-leftover", "-N cali-FORWARD", "-N felix-old", "-N mine",
        "-N cali-x", "-N cali-y", "-A cali-x -p tcp -j cali-y", "-A felix-old -j cali-x",
        "-A cali-FORWARD -m comment --comment cali:0123456789abcdef -j cali-tw-leftover",
        "-A INPUT -j mine", "-A INPUT -j felix-old",
        "-I FORWARD -m comment --comment cali:fedcba9876543210 -j cali-FORWARD",
        "-A FORWARD -m comment --comment cali:fedcba9876543210 -j cali-FORWARD",
        "-A FORWARD -j mine",
        "-t nat -N cali-leftover",
    ):  # fmt: skip
        tables(command)
    driver = await make()
    desire(driver)
    await driver.apply()
    saved = tables.save()
    assert not re.search(r"leftover|felix-old|cali-x|cali-y", saved)
    assert len(re.findall(r"-A FORWARD .*-j cali-FORWARD", saved)) == 1
    assert tables.chain("INPUT") == ["-j mine"]
    assert tables.chain("FORWARD")[1] == "-j mine"


async def test_a_chain_that_somebody_holds_does_not_stop_the_rest(
    make: Make, tables: Tables
) -> None:
    for command in ("-N cali-held", "-N foreign", "-A foreign -j cali-held", "-N cali-gone"):
        tables(command)
    driver = await make()
    desire(driver)
    await driver.apply()
    assert not driver.dirty()
    saved = tables.save()
    assert ":cali-held " in saved
    assert "-A foreign -j cali-held" in saved
    assert tables.chain("cali-a") != []
    driver.desire_chain("filter", Chain("cali-a", ("-p 6 --jump DROP",)))
    await driver.apply()
    assert tables.chain("cali-a") == ["-p tcp -j DROP"]


DAMAGES = [
    "-F cali-a",
    "-D FORWARD 1",
    "-I cali-FORWARD -j ACCEPT",
    "-I cali-a 2 -p tcp --dport 8056 -j ACCEPT",
    "-A FORWARD -s 9.9.9.9 -j DROP",
    "-I FORWARD -s 9.9.9.9 -j DROP",
    "-F",
    "-N cali-new",
]


@pytest.mark.parametrize("damage", DAMAGES)
async def test_drift_is_repaired_at_once(make: Make, tables: Tables, damage: str) -> None:
    driver = await make()
    desire(driver)
    await driver.apply()
    await settle(driver)
    tables(damage)
    await settle(driver)
    assert tables.chain("FORWARD")[0] == "-j cali-FORWARD"
    assert tables.chain("FORWARD")[-1].endswith("-j ACCEPT")
    assert tables.chain("cali-FORWARD") == ["-j cali-a", "-j MARK --set-xmark 0x0/0x10000"]
    assert tables.chain("cali-a") == ["-p udp -j DROP", "-s 10.0.0.0/8 -j RETURN"]
    assert "cali-new" not in tables.save()
    if "9.9.9.9" in damage:
        assert tables.chain("FORWARD")[1] == "-s 9.9.9.9/32 -j DROP"


async def test_drift_is_repaired_on_the_refresh_interval(
    make: Make, tables: Tables, kind: str
) -> None:
    driver = await make(intervals=Intervals(tables=0.3, tables_after_write=0))
    desire(driver)
    await driver.apply()
    rule = tables.save().split("-A cali-a -p udp ")[1].splitlines()[0]
    # Of the same size: the fingerprint of a legacy table does not show it.
    tables(f"-R cali-a 1 -p tcp {rule.replace('cali:', 'xali:')}")
    await asyncio.sleep(0.3)
    await driver.check()
    await driver.apply()
    assert tables.chain("cali-a") == ["-p udp -j DROP", "-s 10.0.0.0/8 -j RETURN"]


async def test_a_bad_chain_does_not_block_the_others(make: Make, tables: Tables) -> None:
    dispatch = Chain("cali-FORWARD", ("-i a --goto cali-fw-a", "-i b --goto cali-fw-b"))
    driver = await make()
    desire(
        driver,
        dispatch,
        Chain("cali-fw-a", ("--jump cali-pi-1",)),
        Chain("cali-fw-b", ("--jump cali-pi-2",)),
        Chain("cali-pi-1", ("-p 6 --jump ACCEPT",)),
        Chain("cali-pi-2", ("-p 6 --jump ACCEPT",)),
    )
    await driver.apply()
    driver.desire_chain(
        "filter", Chain("cali-pi-1", ("-m set --match-set nosuch src --jump DROP",))
    )
    driver.desire_chain("filter", Chain("cali-pi-2", ("-p 17 --jump ACCEPT",)))
    driver.desire_chain("filter", Chain("cali-fw-c", ("--jump cali-pi-1",)))
    driver.desire_chain("filter", Chain("cali-fw-a", ("--jump cali-pi-1", "--jump ACCEPT")))
    driver.desire_chain("filter", Chain("cali-FORWARD", (*dispatch.rules, "-i c --goto cali-fw-c")))
    with pytest.raises(ChainsRefusedError) as refused:
        await driver.apply()
    assert "nosuch" in refused.value.refused["filter", "cali-pi-1"]
    assert tables.chain("cali-pi-1") == ["-p tcp -j ACCEPT"]
    assert tables.chain("cali-fw-a") == ["-j cali-pi-1"]
    assert tables.chain("cali-pi-2") == ["-p udp -j ACCEPT"]
    assert len(tables.chain("cali-FORWARD")) == 3
    assert tables.chain("cali-fw-c")[0].endswith("-j DROP")
    assert driver.dirty()
    driver.desire_chain("filter", Chain("cali-pi-1", ("-p 1 --jump ACCEPT",)))
    await driver.apply()
    assert not driver.dirty()
    assert tables.chain("cali-fw-c") == ["-j cali-pi-1"]
    assert tables.chain("cali-fw-a") == ["-j cali-pi-1", "-j ACCEPT"]


async def test_what_only_the_kernel_refuses_is_found_too(make: Make, tables: Tables) -> None:
    driver = await make()
    desire(
        driver,
        Chain("cali-FORWARD", ("-i a --goto cali-fw-a", "-i b --goto cali-fw-b")),
        Chain("cali-fw-a", ("-p 6 --jump ACCEPT",)),
        Chain("cali-fw-b", ("-p 6 --jump ACCEPT",)),
    )
    await driver.apply()
    driver.desire_chain("filter", Chain("cali-fw-a", ("-p 6 --jump TPROXY --on-port 3",)))
    driver.desire_chain("filter", Chain("cali-fw-b", ("-p 17 --jump ACCEPT",)))
    with pytest.raises(ChainsRefusedError) as refused:
        await driver.apply()
    assert set(refused.value.refused) == {("filter", "cali-fw-a")}
    assert tables.chain("cali-fw-a") == ["-p tcp -j ACCEPT"]
    assert tables.chain("cali-fw-b") == ["-p udp -j ACCEPT"]


async def test_the_writer_dies(make: Make, tables: Tables, kind: str) -> None:
    driver = await make()
    desire(driver)
    await driver.apply()
    if kind == "nft":
        os.kill(driver._writer._process.pid, signal.SIGKILL)  # type: ignore[attr-defined]
    driver.desire_chain("filter", Chain("cali-a", ("-p 6 --jump DROP",)))
    try:
        await driver.apply()
    except DataplaneError:
        await driver.apply()
    assert tables.chain("cali-a") == ["-p tcp -j DROP"]


async def test_everything_is_removed_from_both_backends(
    make: Make, inside: Any, tables: Tables
) -> None:
    for each in ("nft", "legacy"):
        other = Tables(inside, each)
        other("-N cali-b")
        other("-A FORWARD -j cali-b")
        other("-A FORWARD -s 1.1.1.1 -j DROP")
    driver = await make()
    desire(driver)
    await driver.apply()
    await driver.close()
    assert (await clean(Settings("n1"), dry_run=False)).errors == ()
    for each in ("nft", "legacy"):
        other = Tables(inside, each)
        assert "cali" not in other.save()
        assert other.chain("FORWARD") == ["-s 1.1.1.1/32 -j DROP"]


async def test_both_families(make: Make, inside: Any, kind: str) -> None:
    driver = await make(family=6)
    desire(driver, FORWARD, Chain("cali-a", ("--source fd00::/8 --jump DROP",)))
    await driver.apply()
    assert "-s fd00::/8" in inside.run(f"ip6tables-{kind} -S cali-a")
    assert "cali" not in inside.run(f"iptables-{kind}-save")


async def test_a_chain_is_rewritten_without_a_gap(make: Make, tables: Tables) -> None:
    """Forbidden packets are sent all the while; the chain and the jump to it change each time."""
    driver = await make()
    driver.desire_hook("filter", "INPUT", ("--jump cali-INPUT",), ())
    driver.desire_chain("filter", Chain("cali-INPUT", ("-p 17 --jump DROP",)))
    await driver.apply()
    receiver, sender = (socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(2))
    with receiver, sender:
        receiver.bind(("127.0.0.1", 0))
        receiver.setblocking(False)
        stop = threading.Event()
        sent = 0

        def send() -> None:
            nonlocal sent
            while not stop.is_set():
                sender.sendto(b"x", receiver.getsockname())
                sent += 1

        thread = threading.Thread(target=send)
        thread.start()
        try:
            for turn in range(25):
                padding = tuple(f"--source 10.0.0.{n} --jump DROP" for n in range(turn))
                driver.desire_chain("filter", Chain("cali-INPUT", (*padding, "-p 17 --jump DROP")))
                tail = ("--jump cali-INPUT",) if turn % 2 else ("--jump cali-INPUT", "-p 1")
                driver.desire_hook("filter", "INPUT", tail, ())
                await driver.apply()
        finally:
            stop.set()
            thread.join()
        assert sent > 25
        with pytest.raises(BlockingIOError):
            receiver.recv(1)
    assert len(tables.chain("cali-INPUT")) == 25


async def test_an_unreadable_table_is_not_taken_for_an_empty_one(
    make: Make, inside: Any, kind: str
) -> None:
    """A native nft rule that iptables cannot show, in one of its own chains."""
    driver = await make()
    if kind == "legacy":
        driver._reader._backend = msgspec.structs.replace(driver.backend, save="false")
    else:
        inside.run("iptables-nft -A FORWARD -j ACCEPT")
        inside.run("nft add rule ip filter FORWARD ct state vmap '{ new : drop }'")
    desire(driver)
    with pytest.raises(DataplaneError):
        await driver.apply()
    assert driver.dirty()
    assert "cali" not in inside.run(f"nft list ruleset; iptables-{kind}-save", check=False)


async def test_own_commits_are_not_taken_for_foreign(make: Make, kind: str) -> None:
    driver = await make(intervals=Intervals(tables=0, tables_after_write=0))
    desire(driver)
    await driver.apply()
    for turn in range(5):
        driver.desire_chain("filter", Chain("cali-a", (f"-s 10.0.0.{turn} --jump DROP",)))
        await driver.apply()
    await asyncio.sleep(0.1)
    due = driver.next_check()
    assert due is None if kind == "nft" else due is not None and due > 0.5


async def test_who_keeps_pushing_us_down_is_answered_ever_more_slowly(
    make: Make, tables: Tables
) -> None:
    driver = await make()
    desire(driver)
    await driver.apply()
    for turn in range(6):
        tables(f"-I FORWARD -s 9.9.9.{turn} -j DROP")
        driver._drift.note([driver._tables["filter"]])
        await driver.check()
        if driver.dirty():
            await driver.apply()
    assert tables.chain("FORWARD")[0] == "-s 9.9.9.5/32 -j DROP"
    assert not driver.dirty()
    assert driver.next_check() is not None
    tables(f"-D FORWARD -m comment --comment {_comment(tables)} -j cali-FORWARD")
    driver._drift.note([driver._tables["filter"]])
    await driver.check()
    await driver.apply()
    assert tables.chain("FORWARD")[0] == "-j cali-FORWARD", "a missing jump does not wait"


def _comment(tables: Tables) -> str:
    found = re.search(r'comment "?(cali:[^ "]+)"? -j cali-FORWARD', tables("-S FORWARD"))
    assert found is not None
    return found[1]


async def test_a_predecessor_killed_in_the_middle_of_a_block(make: Make, tables: Tables) -> None:
    first = await make()
    desire(first)
    await first.apply()
    before = tables.save()
    half = await Runner().attach(first.backend.restore, "--noflush")
    await half.write(b"*filter\n:cali-a - -\n:cali-half - -\n-A cali-a --jump ACC")
    await half.end()
    assert tables.save() == before
    second = await make()
    desire(second, FORWARD, Chain("cali-a", ("-p 6 --jump DROP",)))
    await second.apply()
    assert tables.chain("cali-a") == ["-p tcp -j DROP"]


async def test_what_cannot_be_removed_is_said_and_the_rest_goes(
    make: Make, inside: Any, tables: Tables, kind: str
) -> None:
    for command in ("-N cali-held", "-N foreign", "-A foreign -j cali-held", "-N cali-gone"):
        tables(command)
    driver = await make()
    await driver.close()
    cleaned = await clean(Settings("n1"), dry_run=False)
    assert any("cali-held" in error for error in cleaned.errors)
    saved = tables.save()
    assert "cali-gone" not in saved
    assert "-A foreign -j cali-held" in saved


async def test_the_other_backend_is_swept(make: Make, inside: Any, kind: str) -> None:
    other = Tables(inside, "legacy" if kind == "nft" else "nft")
    for command in ("-N cali-b", "-A FORWARD -j cali-b", "-A FORWARD -s 1.1.1.1 -j DROP"):
        other(command)
    driver = await make()
    desire(driver)
    await driver.apply()
    assert await driver.sweep_other_backend() == 1
    assert other.chain("FORWARD") == ["-s 1.1.1.1/32 -j DROP"]
    assert "cali-FORWARD" in inside.run(f"iptables-{kind}-save")


async def test_families_share_a_monitor(inside: Any) -> None:
    """The one family's commits are not foreign to the other; a flush of all is, to both."""
    monitor, drivers, woken = NftMonitor(), [], []
    for family in (4, 6):
        backend = await detect("nft", 4 if family == 4 else 6, Runner())
        settings = Settings(hostname="n1", intervals=Intervals(tables=0))
        drivers.append(
            IptablesDriver(
                backend.family,
                settings,
                backend,
                Runner(),
                monitor=monitor,
                wake=lambda: woken.append(1),
            )
        )
        desire(drivers[-1], FORWARD, Chain("cali-a"))
        await drivers[-1].apply()
    await asyncio.sleep(0.1)
    assert not woken
    inside.run("nft flush ruleset")
    await asyncio.sleep(0.1)
    assert woken
    for driver in drivers:
        await settle(driver)
        await driver.close()
    assert "cali-FORWARD" in inside.run("iptables-nft -S FORWARD")
    assert "cali-FORWARD" in inside.run("ip6tables-nft -S FORWARD")


async def test_beside_a_program_that_keeps_writing_its_own_chains(
    make: Make, inside: Any, tables: Tables, kind: str
) -> None:
    tables("-N foreign")
    driver = await make(intervals=Intervals(tables=0, tables_after_write=0))
    desire(driver)
    await driver.apply()
    churn = f"while iptables-{kind} -w -A foreign -s 9.9.9.9 -j DROP; do :; done"
    other = inside.start("sh", "-c", churn)
    await asyncio.sleep(0.1)
    for turn in range(40):
        driver.desire_chain("filter", Chain("cali-a", (f"-s 10.0.0.{turn} --jump DROP",)))
        await driver.apply()
        assert driver.next_check() is None or kind == "legacy"
    other.kill()
    other.wait()
    assert tables.chain("cali-a") == ["-s 10.0.0.39/32 -j DROP"]
    assert len(set(tables.chain("foreign"))) == 1
