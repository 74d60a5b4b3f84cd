"""The rule that leads to WireGuard's table against the kernel, seen through the ip tool."""

from __future__ import annotations

import asyncio
import itertools
import re
from collections.abc import AsyncIterator

import pytest
from msgspec import structs

from dataplane import rtrules
from dataplane.drivers.rules import Rule, RuleDriver, RuleError
from dataplane.families import Family
from dataplane.interfaces import InterfaceMonitor
from dataplane.netlink import ROUTE, Listener, Message, Socket
from dataplane.settings import Settings
from tests.kernel.conftest import Namespace

pytestmark = pytest.mark.kernel

RULE = Rule(99, 1, 0x200000)
FORWARDED = RULE._replace(forwarded=True)
OURS = "99: not from all fwmark 0x200000/0x200000 lookup 1 proto 80"
NOT_HOSTS = "99: not from all iif lo lookup 1 proto 80"
FELIXS = "not from all fwmark 0x200000/0x200000 lookup 1"
FOREIGN = (
    "ip -{0} rule add from all fwmark 0x1/0x1 lookup 2 pref 90;"
    "ip -{0} rule add not from all fwmark 0x400/0x400 lookup 7 pref 99;"
    "ip -{0} rule add from all iif lo lookup 3 pref 100 protocol 80"
)


class Node:
    def __init__(self, family: Family, inside: Namespace) -> None:
        self.family: Family = family
        self.inside = inside
        self.monitor = InterfaceMonitor(Settings("n1"))
        self.driver = RuleDriver(family, 1)
        self.monitor.watch_rules(self.driver)
        self._listener = Listener(ROUTE, (rtrules.GROUP_RULE_V4, rtrules.GROUP_RULE_V6))

    async def want(self, rule: Rule | None = RULE) -> None:
        self.driver.desire(*([] if rule is None else [rule]))
        await self.driver.apply()

    async def until_told(self) -> None:
        async with asyncio.timeout(10):
            while not (await self.monitor.next_changes()).routes:
                pass

    def rule(self, command: str) -> None:
        self.inside.run(f"ip -{self.family} rule {command}")

    def shown(self) -> list[str]:
        """Rules besides those that are there from the start."""
        lines = self.inside.run(f"ip -{self.family} rule show").splitlines()
        told = [re.sub(r"\s+", " ", line).strip() for line in lines]
        return [line for line in told if not re.match(r"0:|3276\d:", line)]

    def happened(self) -> list[str]:
        """What was done to rules since this was asked last."""
        words = {rtrules.NEWRULE: "added", rtrules.DELRULE: "deleted"}
        return [words[message.type] for message in self._listener.waiting()]

    def close(self) -> None:
        self.monitor.close()
        self.driver.close()
        self._listener.close()


@pytest.fixture(params=[4, 6], ids=["IPv4", "IPv6"])
async def node(request: pytest.FixtureRequest, inside: Namespace) -> AsyncIterator[Node]:
    made = Node(request.param, inside)
    await made.monitor.start()
    yield made
    made.close()


async def test_it_comes_is_there_once_and_goes(node: Node) -> None:
    assert not node.driver.is_written
    await node.want()
    assert node.shown() == [OURS]
    assert node.driver.is_written
    await node.want()
    node.driver.lost()
    await node.driver.apply()
    assert node.happened() == ["added"]
    await node.want(None)
    assert node.shown() == []
    assert node.driver.written == 2


async def test_nothing_is_done_before_something_is_asked_for(node: Node) -> None:
    node.rule(f"add {FELIXS} pref 99")
    await node.driver.apply()
    assert not node.driver.pending
    assert not await node.driver.check()
    assert len(node.shown()) == 1
    assert [rule.priority for rule in await node.driver.read()] == [99]


async def test_rules_of_others_are_never_touched(node: Node) -> None:
    node.inside.run(FOREIGN.format(node.family))
    before = node.shown()
    await node.want()
    assert sorted(node.shown()) == sorted([*before, OURS])
    await node.want(Rule(50, 1, 0x200000))
    await node.want(None)
    assert node.shown() == before


WRONG = {
    "Felix's": f"{FELIXS} pref 99",
    "another priority": f"{FELIXS} pref 70",
    "another mark": "not from all fwmark 0x100000/0x100000 lookup 1 pref 99",
    "not inverted": "from all fwmark 0x200000/0x200000 lookup 1 pref 99",
    "suppressed": "from all lookup 1 pref 99 suppress_prefixlength 0",
    "of an interface": "from all iif lo lookup 1 pref 10 protocol 80",
    "another table, ours": "not from all fwmark 0x200000/0x200000 lookup 77 pref 99 protocol 80",
}


@pytest.mark.parametrize("wrong", WRONG.values(), ids=WRONG)
async def test_what_is_not_as_wished_goes_without_a_moment_between(node: Node, wrong: str) -> None:
    node.rule(f"add {wrong}")
    await node.want()
    assert node.shown() == [OURS]
    assert node.happened() == ["added", "added", "deleted"]
    node.rule(f"add {wrong}")
    await node.until_told()
    await node.driver.apply()
    assert node.shown() == [OURS]
    assert _fewest(node.happened()) == 1


async def test_a_twin_that_the_kernel_cannot_tell_apart_goes(node: Node) -> None:
    """Not inverted, and otherwise the same: a deletion takes the first of the two."""
    await node.want()
    ours = rtrules.add_rule(node.family, RULE)
    twin = structs.replace(ours, body=ours.body[:8] + bytes(4) + ours.body[12:])
    socket = Socket(ROUTE)
    assert await socket.execute([twin]) == [0]
    socket.close()
    assert node.shown() == [OURS, OURS.replace("not ", "")]
    await node.until_told()
    await node.driver.apply()
    assert node.shown() == [OURS]
    assert node.happened() == ["added", "added", "added", "deleted", "deleted"]


def _fewest(happened: list[str]) -> int:
    """Of rules, after the first has come."""
    changes = [1 if what == "added" else -1 for what in happened]
    return min(itertools.accumulate(changes, initial=1))


async def test_a_change_of_rule_is_never_without_one(node: Node) -> None:
    await node.want()
    await node.want(Rule(98, 1, 0x400000))
    assert node.shown() == ["98: not from all fwmark 0x400000/0x400000 lookup 1 proto 80"]
    assert node.happened() == ["added", "added", "deleted"]


async def test_the_hosts_own_packets_are_let_in_without_a_moment_between(node: Node) -> None:
    await node.want(FORWARDED)
    assert node.shown() == [NOT_HOSTS]
    await node.want()
    assert node.shown() == [OURS]
    assert node.happened() == ["added", "added", "deleted"]
    await node.want(FORWARDED)
    assert node.shown() == [NOT_HOSTS]
    await node.want(None)
    assert node.shown() == []


async def test_only_the_hosts_own_packets_go_round_the_table(node: Node) -> None:
    """`ip route get` looks up as a packet of the host, or one that came in by an interface."""
    net, far = ("10.9.0.0/24", "10.9.0.5") if node.family == 4 else ("fd09::/64", "fd09::5")
    near = ("10.8.0.1/24", "10.8.0.2") if node.family == 4 else ("fd08::1/64", "fd08::2")
    forwarding = "net.ipv4.ip_forward" if node.family == 4 else "net.ipv6.conf.all.forwarding"
    node.inside.run(
        f"sysctl -qw {forwarding}=1;"
        "ip link add in0 type veth peer name out0; ip link set in0 up; ip link set out0 up;"
        f"ip addr add {near[0]} dev in0 {'nodad' if node.family == 6 else ''};"
        f"ip route add {net} via {near[1]};"
        f"ip -{node.family} route add unreachable {net} table 1"
    )
    came = f"ip -{node.family} route get {far} from {near[1]} iif in0 2>&1; true"
    sent = f"ip -{node.family} route get {far} 2>&1; true"
    await node.want(FORWARDED)
    assert "dev in0" in node.inside.run(sent)
    assert "in0" not in node.inside.run(came).replace("iif in0", "")
    await node.want()
    for packet in (came, sent):
        told = node.inside.run(packet)
        assert "unreachable" in told.lower() or "No route" in told
    assert "dev in0" in node.inside.run(sent.replace(far, f"{far} mark 0x200000"))


async def test_what_somebody_deletes_is_repaired_at_once(node: Node) -> None:
    await node.want()
    node.rule("del pref 99")
    await node.until_told()
    assert node.driver.pending
    await node.driver.apply()
    assert node.shown() == [OURS]
    node.rule("flush")
    await node.until_told()
    await node.driver.apply()
    assert OURS in node.shown()


async def test_what_others_do_to_theirs_is_no_news(node: Node) -> None:
    await node.want()
    told: list[bool] = []
    notice = node.driver.notice

    def noted(message: Message) -> bool:
        told.append(notice(message))
        return told[-1]

    node.driver.notice = noted  # type: ignore[method-assign]
    node.inside.run(FOREIGN.format(node.family))
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.2):
            await node.monitor.next_changes()
    assert told
    assert not any(told)


async def test_without_a_wish_only_rules_of_our_form_go(node: Node) -> None:
    node.rule(f"add {FELIXS} pref 99")
    node.rule(
        "add from 10.0.0.1 lookup 1 pref 80"
        if node.family == 4
        else "add from fd00::1 lookup 1 pref 80"
    )
    await node.want(None)
    assert [line.partition(":")[0] for line in node.shown()] == ["80"]


async def test_a_look_finds_what_nobody_told_of(node: Node) -> None:
    await node.want()
    node.driver.refresh_seconds = 1e-9
    assert not await node.driver.check()
    node.rule("del pref 99")
    assert await node.driver.check()
    await node.driver.apply()
    assert node.shown() == [OURS]


async def test_what_the_kernel_refuses_is_an_error_and_stays_pending(node: Node) -> None:
    driver = RuleDriver(node.family, 1)
    driver.desire(RULE)
    real = driver._socket.execute

    async def refuse(requests: list[object]) -> list[int]:
        return [1] * len(requests)

    driver._socket.execute = refuse  # type: ignore[assignment, method-assign]
    with pytest.raises(
        RuleError, match="not from all fwmark 0x200000/0x200000 lookup 1: Operation"
    ):
        await driver.apply()
    assert driver.pending
    driver._socket.execute = real  # type: ignore[method-assign]
    await driver.apply()
    assert driver.is_written
    driver.close()
