"""The IP set driver against the kernel, seen through the ipset tool."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from calc_graph.updates import IpsetType
from dataplane.drivers.ipset_counts import read_counts
from dataplane.drivers.ipsets import IpsetDriver, IpsetError
from tests.kernel.conftest import Namespace

pytestmark = pytest.mark.kernel

NET, IP, IP_PORT = IpsetType.NET, IpsetType.IP, IpsetType.IP_PORT


@pytest.fixture
async def driver(inside: Namespace) -> AsyncIterator[IpsetDriver]:
    made = IpsetDriver(4, max_size=1000)
    yield made
    made.close()


async def applied(driver: IpsetDriver) -> None:
    await driver.apply_additions()
    await driver.apply_removals()


def sets(inside: Namespace) -> dict[str, set[str]]:
    """Name -> members, in this namespace."""
    found: dict[str, set[str]] = {}
    for line in inside.run("ipset save").splitlines():
        verb, name, member = line.split()[:3]
        if verb == "create":
            found[name] = set()
        else:
            found[name].add(member)
    return found


async def test_sets_come_change_and_go(driver: IpsetDriver, inside: Namespace) -> None:
    driver.desire("cali40s:a", NET, {"10.65.0.2/32", "10.65.0.0/16"})
    driver.desire("cali40n:b", IP_PORT, ["10.65.0.2,tcp:8080", "10.65.0.2,udp:53"])
    driver.desire("cali40this-host", IP, ["127.0.0.0", "127.0.0.1"])
    assert sets(inside) == {}  # nothing before the apply
    await applied(driver)
    assert sets(inside) == {
        "cali40s:a": {"10.65.0.2", "10.65.0.0/16"},
        "cali40n:b": {"10.65.0.2,tcp:8080", "10.65.0.2,udp:53"},
        "cali40this-host": {"127.0.0.0", "127.0.0.1"},
    }
    assert "family inet hashsize 1024 maxelem 1000" in inside.run("ipset list cali40s:a")
    driver.change("cali40s:a", ["10.65.0.3/32"], ["10.65.0.2/32"])
    driver.drop("cali40n:b")
    await driver.apply_additions()
    assert sets(inside)["cali40s:a"] == {"10.65.0.2", "10.65.0.3", "10.65.0.0/16"}
    assert "cali40n:b" in sets(inside)  # what rules may refer to stays until they are written
    assert driver.pending
    await driver.apply_removals()
    assert sets(inside)["cali40s:a"] == {"10.65.0.3", "10.65.0.0/16"}
    assert "cali40n:b" not in sets(inside)
    assert not driver.pending


async def test_ipv6_beside_ipv4(driver: IpsetDriver, inside: Namespace) -> None:
    six = IpsetDriver(6)
    driver.desire("cali40s:a", NET, ["10.65.0.2/32"])
    six.desire("cali60s:a", NET, ["fd65::2/128", "fd65::/64"])
    six.desire("cali60n:a", IP_PORT, ["fd65::2,sctp:9"])
    six.desire("cali60this-host", IP, ["::1"])
    await applied(driver)
    await applied(six)
    assert sets(inside) == {
        "cali40s:a": {"10.65.0.2"},
        "cali60s:a": {"fd65::2", "fd65::/64"},
        "cali60n:a": {"fd65::2,sctp:9"},
        "cali60this-host": {"::1"},
    }
    again = IpsetDriver(6)
    assert await again.found() == ("cali60n:a", "cali60s:a", "cali60this-host")
    assert await again.remove_everything() == ()
    assert sets(inside) == {"cali40s:a": {"10.65.0.2"}}
    six.close()
    again.close()


async def test_a_restart_edits_in_place_and_sweeps_only_ours(
    driver: IpsetDriver, inside: Namespace
) -> None:
    inside.run(
        "ipset create cali40s:a hash:net maxelem 1000; ipset add cali40s:a 10.0.0.1;"
        "ipset add cali40s:a 10.0.0.2; ipset create cali40s:old hash:net;"
        "ipset create docker hash:ip;"
        "ipset create cali4t3 hash:net; ipset create felix-4x hash:ip;"
        "ipset create cali60s:a hash:ip;"
        "iptables -A FORWARD -m set --match-set cali40s:a src -j DROP"
    )
    driver.desire("cali40s:a", NET, ["10.0.0.2/32", "10.0.0.3/32"])
    await applied(driver)
    assert sets(inside) == {
        "cali40s:a": {"10.0.0.2", "10.0.0.3"},
        "docker": set(),
        "cali60s:a": set(),
    }


@pytest.mark.parametrize(
    "made",
    ["hash:net", "hash:net maxelem 1000 timeout 0", "hash:net maxelem 1000 counters"],
)
async def test_another_shape_is_exchanged_under_the_rules(
    driver: IpsetDriver, inside: Namespace, made: str
) -> None:
    inside.run(f"ipset create cali40s:a {made}; ipset add cali40s:a 10.0.0.1")
    inside.run("iptables -A FORWARD -m set --match-set cali40s:a src -j DROP")
    driver.desire("cali40s:a", NET, ["10.0.0.2/32"])
    await applied(driver)
    assert sets(inside) == {"cali40s:a": {"10.0.0.2"}}
    assert "counters" not in inside.run("ipset list cali40s:a")
    assert "References: 1" in inside.run("ipset list cali40s:a")


async def test_a_member_with_options_makes_the_set_be_exchanged(
    driver: IpsetDriver, inside: Namespace
) -> None:
    driver.desire("cali40s:a", NET, ["10.0.0.0/8"])
    await applied(driver)
    inside.run("ipset add cali40s:a 10.0.0.0/8 nomatch -exist")
    assert await driver.check()
    await applied(driver)
    assert "nomatch" not in inside.run("ipset save")
    assert sets(inside) == {"cali40s:a": {"10.0.0.0/8"}}


async def test_counters_outlive_a_restart_and_disturb_no_difference(
    driver: IpsetDriver, inside: Namespace
) -> None:
    def desired(by: IpsetDriver) -> None:
        by.desire("cali40s:a", NET, ["127.0.0.0/8", "127.0.0.1/32", "10.0.0.0/8"], counters=True)

    inside.run("ipset create cali40s:a hash:net; ipset add cali40s:a 127.0.0.1")
    desired(driver)
    await applied(driver)
    inside.run("iptables -A OUTPUT -m set --match-set cali40s:a dst")
    inside.run("ping -c1 -W1 127.0.0.1; ping -c1 -W1 127.0.0.2")

    async def counts() -> dict[str, tuple[int, int]]:
        found = await read_counts(4, "cali40s:a", NET)
        return {each.member: (each.packets, each.bytes) for each in found}

    # Both questions and answers go out, the latter to 127.0.0.1; the smallest net has them.
    counted = {"127.0.0.1/32": (3, 252), "127.0.0.0/8": (1, 84)}
    assert await counts() == counted | {"10.0.0.0/8": (0, 0)}
    assert not await driver.check()
    assert not driver.pending

    other = IpsetDriver(4, max_size=1000)
    desired(other)
    await applied(other)
    assert other.written == 0
    other.change("cali40s:a", ["10.0.0.1/32"], ["10.0.0.0/8"])
    await applied(other)
    assert await counts() == counted | {"10.0.0.1/32": (0, 0)}
    other.desire("cali40s:a", NET, ["127.0.0.0/8"])
    await applied(other)
    other.close()
    assert await counts() == {}
    assert await read_counts(4, "cali40s:none", NET) == []


async def test_another_type_waits_until_no_rule_refers_to_it(
    driver: IpsetDriver, inside: Namespace
) -> None:
    inside.run("ipset create cali40s:a hash:ip,port; ipset create cali40s:b hash:ip")
    inside.run("iptables -A FORWARD -m set --match-set cali40s:a src,src -j DROP")
    driver.desire("cali40s:a", NET, ["10.0.0.2/32"])
    driver.desire("cali40s:b", NET, ["10.0.0.2/32"])
    with pytest.raises(IpsetError, match="cali40s:a: still in use") as caught:
        await driver.apply_additions()
    assert caught.value.names == {"cali40s:a"}
    assert sets(inside) == {"cali40s:a": set(), "cali40s:b": {"10.0.0.2"}}
    inside.run("iptables -F FORWARD")
    await applied(driver)
    assert sets(inside) == {"cali40s:a": {"10.0.0.2"}, "cali40s:b": {"10.0.0.2"}}


async def test_a_set_in_use_stays_until_it_is_free(driver: IpsetDriver, inside: Namespace) -> None:
    driver.desire("cali40s:a", NET, ["10.0.0.2/32"])
    await applied(driver)
    inside.run("iptables -A FORWARD -m set --match-set cali40s:a src -j DROP")
    driver.drop("cali40s:a")
    await applied(driver)
    assert not driver.pending
    assert await driver.remove_everything() == ("cali40s:a",)
    inside.run("iptables -F FORWARD")
    await applied(driver)
    assert sets(inside) == {}


async def test_a_set_wanted_again_before_it_went_is_read_again(
    driver: IpsetDriver, inside: Namespace
) -> None:
    driver.desire("cali40s:a", NET, ["10.0.0.2/32"])
    await applied(driver)
    inside.run("iptables -A FORWARD -m set --match-set cali40s:a src -j DROP")
    driver.drop("cali40s:a")
    await applied(driver)
    driver.desire("cali40s:a", NET, ["10.0.0.3/32"])
    await applied(driver)
    assert sets(inside) == {"cali40s:a": {"10.0.0.3"}}


DRIFTS = [
    ("a member is removed", "ipset del cali40s:a 10.0.0.1"),
    ("one is added", "ipset add cali40s:a 10.9.9.9"),
    ("one for another", "ipset del cali40s:a 10.0.0.1; ipset add cali40s:a 10.9.9.9"),
    ("all sets are emptied", "ipset flush"),
    ("all sets are destroyed", "ipset destroy"),
    ("one by one of another type", "ipset destroy cali40s:a; ipset create cali40s:a hash:ip"),
    ("one of our names appears", "ipset create cali40s:foreign hash:ip"),
]


@pytest.mark.parametrize("command", [d[1] for d in DRIFTS], ids=[d[0] for d in DRIFTS])
async def test_drift_is_found_and_repaired(
    driver: IpsetDriver, inside: Namespace, command: str
) -> None:
    driver.desire("cali40s:a", NET, ["10.0.0.1/32", "10.0.0.2/32"])
    driver.desire("cali40s:b", NET, [])
    await applied(driver)
    assert not await driver.check()
    inside.run(command)
    assert await driver.check()
    await applied(driver)
    assert sets(inside) == {"cali40s:a": {"10.0.0.1", "10.0.0.2"}, "cali40s:b": set()}
    assert not await driver.check()


@pytest.mark.parametrize(
    "command", ["ipset destroy", "ipset destroy; ipset create cali40s:a hash:ip"]
)
async def test_drift_is_found_by_a_write_that_fails(
    driver: IpsetDriver, inside: Namespace, command: str
) -> None:
    driver.desire("cali40s:a", NET, ["10.0.0.1/32"])
    await applied(driver)
    inside.run(command)
    driver.change("cali40s:a", ["10.0.0.0/24"], [])
    await driver.apply_additions()
    await driver.check()
    await applied(driver)
    assert sets(inside) == {"cali40s:a": {"10.0.0.1", "10.0.0.0/24"}}


async def test_a_full_set_fails_alone_and_makes_room_where_it_can(
    driver: IpsetDriver, inside: Namespace
) -> None:
    def nets(count: int, third: int) -> set[str]:
        return {f"10.{third}.{i >> 8}.{i & 255}/32" for i in range(count)}

    driver.desire("cali40s:a", NET, nets(1000, 0))
    await applied(driver)
    driver.desire("cali40s:a", NET, nets(1000, 1))  # there is never room for both
    await applied(driver)
    assert sets(inside)["cali40s:a"] == {net.removesuffix("/32") for net in nets(1000, 1)}
    driver.desire("cali40s:b", NET, nets(1500, 0))
    driver.desire("cali40s:c", NET, nets(2, 0))
    with pytest.raises(IpsetError, match="cali40s:b: the set is full"):
        await driver.apply_additions()
    assert len(sets(inside)["cali40s:c"]) == 2
    assert driver.pending
    driver.desire("cali40s:b", NET, nets(3, 2))
    await applied(driver)
    assert len(sets(inside)["cali40s:b"]) == 3


async def test_a_second_apply_asks_nothing(
    driver: IpsetDriver, inside: Namespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    driver.desire("cali40s:a", NET, ["10.0.0.1/32"])
    await applied(driver)
    driver.desire("cali40s:a", NET, ["10.0.0.1/32"])
    sent: list[bytes] = []
    monkeypatch.setattr(driver._socket, "_send", sent.append)
    await applied(driver)
    assert sent == []


async def test_checks_are_due_by_the_interval(driver: IpsetDriver, inside: Namespace) -> None:
    assert driver.next_check() == float("inf")
    await applied(driver)
    due = driver.next_check()
    driver.refresh_seconds = 100.0
    assert driver.next_check() == pytest.approx(due + 10)
    driver.refresh_seconds = 0.0
    assert driver.next_check() == float("inf")


@pytest.mark.parametrize("name", ["docker", "cali60s:a", "cali4t1", "cali40" + "x" * 26])
def test_names_that_are_not_ours_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match="not the name of a set of ours"):
        IpsetDriver(4).desire(name, NET, [])
