"""Which local endpoints are told to be up, down or an error, and when."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from calc_graph.model import WorkloadEndpointKey
from calc_graph.updates import PolicyRemove, PolicyUpdate, Update
from dataplane.endpoint_states import LocalEndpoint
from dataplane.families import Family
from dataplane.interfaces import Interface
from dataplane.settings import Settings
from tests.dataplane.desired.builders import (
    ALLOW,
    MAC,
    gnp,
    hep,
    hep_gone,
    policy,
    tier,
    wep,
    wep_gone,
    wep_key,
)
from tests.fakes.node import FakeNode, interface

Told = dict[str, str | None]  # endpoint -> state, None for gone


@pytest.fixture
async def node() -> AsyncIterator[FakeNode]:
    node = FakeNode()
    await node.dataplane.start()
    yield node
    await node.dataplane.close()


def take(node: FakeNode) -> Told:
    """By the names of the builders."""
    changes = node.dataplane.take_endpoint_changes()
    return {
        getattr(key, "name", "") or getattr(key, "workload", "").removeprefix("default/"): (
            None if value is None else value.state
        )
        for key, value in changes.items()
    }


async def settle() -> None:
    """Let every task run that can."""
    for _ in range(20):
        await asyncio.sleep(0)


async def told(node: FakeNode, *updates: Update) -> Told:
    node.desire(*updates)
    await node.dataplane.apply()
    await settle()
    return take(node)


def changed(name: str, old: Interface, *, up: bool, bounced: bool = False) -> Interface:
    generation = old.generation + 1000 * bounced
    return Interface(name, old.index, up, old.addresses, generation)


CALI1, CALI2 = interface("cali1"), interface("cali2")
ETH0 = interface("eth0", "172.16.0.1")
ETH1 = interface("eth1", "172.16.0.2")
A = wep("a", "cali1", "10.0.0.1/32", "fd00::1/128", mac=MAC)
DOWN_1 = changed("cali1", CALI1, up=False)
DOWN_E = changed("eth1", ETH1, up=False)

# ---------------------------------------------------------------- the state of a state

CASES: list[tuple[str, list[Interface], list[Update], Told]] = [
    # case, interfaces that are there, what is told, the states
    ("nothing", [CALI1, ETH0], [], {}),
    ("an endpoint", [CALI1], [A], {"a": "up"}),
    ("without its interface", [CALI2], [A], {"a": "down"}),
    ("on a link that is down", [DOWN_1], [A], {"a": "down"}),
    ("admin down", [CALI1], [wep("a", "cali1", admin_up=False)], {"a": "down"}),
    ("refused by name", [], [wep("a", "cali 1")], {"a": "down"}),
    ("refused by prefix", [ETH0], [wep("a", "eth0")], {"a": "down"}),
    ("without addresses", [CALI1], [wep("a", "cali1")], {"a": "up"}),
    ("two on one interface", [CALI1], [A, wep("b", "cali1")], {"a": "up", "b": "down"}),
    (
        "the winner of two is refused",
        [CALI1],
        [wep("a", "cali1", spoofable_sources=("10.9.0.0/16",)), wep("b", "cali1")],
        {"a": "down", "b": "up"},
    ),
    (
        "two with one address",
        [CALI1, CALI2],
        [A, wep("b", "cali2", "10.0.0.1/32")],
        {"a": "up", "b": "up"},
    ),
    ("a host endpoint by name", [ETH0], [hep("h", "eth0")], {"h": "up"}),
    ("one by address", [ETH0], [hep("h", "", "172.16.0.1")], {"h": "up"}),
    ("one without an interface", [ETH0], [hep("h", "eth9")], {"h": "error"}),
    ("one without an address", [ETH0], [hep("h", "", "172.16.9.9")], {"h": "error"}),
    ("one on a link that is down", [DOWN_E], [hep("h", "eth1")], {"h": "down"}),
    ("one on two", [ETH0, ETH1], [hep("h", "", "172.16.0.1", "172.16.0.2")], {"h": "up"}),
    ("one of two down", [ETH0, DOWN_E], [hep("h", "", "172.16.0.1", "172.16.0.2")], {"h": "down"}),
    ("every interface", [], [hep("h", "*")], {"h": "up"}),
    ("every interface, all down", [DOWN_E], [hep("h", "*")], {"h": "up"}),
    ("the second for every one", [ETH0], [hep("g", "*"), hep("h", "*")], {"g": "up", "h": "error"}),
    ("two for one", [ETH0], [hep("g", "eth0"), hep("h", "eth0")], {"g": "up", "h": "error"}),
    ("never a workload's", [CALI1], [hep("h", "cali1")], {"h": "error"}),
]


@pytest.mark.parametrize(("case", "interfaces", "updates", "states"), CASES)
async def test_states(node: FakeNode, case, interfaces, updates, states) -> None:
    node.has(*interfaces)
    assert await told(node, *updates) == states
    assert take(node) == {}


@pytest.mark.parametrize(("case", "interfaces", "updates", "states"), CASES)
async def test_interfaces_may_come_later(node: FakeNode, case, interfaces, updates, states) -> None:
    seen = await told(node, *updates)
    node.has(*interfaces)
    assert {**seen, **await told(node)} == states


@pytest.mark.parametrize(("case", "interfaces", "updates", "states"), CASES)
async def test_what_goes_is_told_once(node: FakeNode, case, interfaces, updates, states) -> None:
    node.has(*interfaces)
    await told(node, *updates)
    gone = [hep_gone(name) if name in "gh" else wep_gone(name) for name in states]
    assert await told(node, *gone) == dict.fromkeys(states)
    assert await told(node) == {}


async def test_without_ipv6() -> None:
    node = FakeNode(Settings("here", ipv6=False))
    await node.dataplane.start()
    node.has(CALI1)
    assert await told(node, A) == {"a": "up"}
    await node.dataplane.close()


# ---------------------------------------------------------------- when it is told


async def test_what_is_told_is_the_endpoint_itself(node: FakeNode) -> None:
    node.has(CALI1)
    await told(node)
    node.desire(A)
    await node.dataplane.apply()
    assert node.dataplane.take_endpoint_changes() == {A.key: LocalEndpoint("up", A.endpoint)}
    other = wep("a", "cali1", "10.0.0.2/32", mac=MAC)
    node.desire(other)
    await node.dataplane.apply()
    assert node.dataplane.take_endpoint_changes() == {A.key: LocalEndpoint("up", other.endpoint)}
    node.desire(other)
    await node.dataplane.apply()
    assert node.dataplane.take_endpoint_changes() == {}


async def test_nothing_is_told_before_all_tables_and_sets_are_in_force(node: FakeNode) -> None:
    node.has(CALI1, ETH0)
    for failing in ("IPv4 sets grown", "IPv6 tables", "IPv4 sets grown"):
        node.journal.failing = {failing: "no luck"}
        assert await told(node, A, hep("h", "eth0")) == {}, failing
        assert not node.dataplane.in_force
    node.journal.failing = {}
    assert await told(node) == {"a": "up", "h": "up"}
    assert node.dataplane.in_force
    node.journal.failing = {"IPv6 tables": "no luck"}
    assert await told(node) == {}
    assert node.dataplane.in_force


async def test_what_each_endpoint_is_asked_for_keeps_nothing_of_the_others(node: FakeNode) -> None:
    node.has(CALI1, ETH0)
    node.journal.failing = dict.fromkeys(("IPv4 routes", "IPv6 tunnels made"), "no luck")
    assert await told(node, A, hep("h", "eth0")) == {"a": "down", "h": "up"}
    node.journal.failing = {}
    assert await told(node) == {"a": "up"}


async def test_what_is_refused_keeps_nothing_from_being_told(node: FakeNode) -> None:
    node.has(CALI1)
    assert await told(node, A, hep("h", "eth9"), wep("b", "x")) == {
        "a": "up",
        "b": "down",
        "h": "error",
    }


async def test_what_is_taken_back_before_it_is_taken_is_no_change(node: FakeNode) -> None:
    node.has(CALI1)
    await told(node, A)
    node.has(DOWN_1)
    await node.dataplane.apply()
    node.has(changed("cali1", CALI1, up=True, bounced=True))
    await node.dataplane.apply()
    assert take(node) == {}
    node.desire(wep("b", "cali2"))
    await node.dataplane.apply()
    node.desire(wep_gone("b"))
    await node.dataplane.apply()
    assert take(node) == {}


async def test_what_comes_during_an_apply_is_told_after_the_next(node: FakeNode) -> None:
    node.has(CALI1, CALI2, ETH0)
    await told(node, A, wep("b", "cali2"), hep("h", "eth0"))
    node.journal.held["neighbours"] = held = asyncio.Event()
    node.desire(wep("a", "cali1", "10.0.0.2/32"), hep("h", "eth0", profiles=("q",)))
    applying = asyncio.create_task(node.dataplane.apply())
    await settle()
    node.desire(
        wep("a", "cali1", "10.0.0.3/32"),
        wep("c", "cali1"),
        hep("g", "eth0"),
        hep("h", "eth0", profiles=("r",)),
    )
    node.has(changed("cali2", CALI2, up=True, bounced=True))  # a bounce is no change
    held.set()
    await applying
    assert take(node) == {}
    assert node.dataplane.seconds_to_next() == 0.0
    assert await told(node) == {"a": "up", "c": "down", "g": "up", "h": "error"}


# ---------------------------------------------------------------- interfaces


async def test_a_link_goes_down_and_comes_up(node: FakeNode) -> None:
    node.has(CALI1, CALI2, ETH0, ETH1)
    await told(
        node, A, wep("b", "cali2"), hep("g", "eth0"), hep("h", "", "172.16.0.1", "172.16.0.2")
    )
    before = node.wakes
    node.has(DOWN_1, changed("eth0", ETH0, up=False))
    assert node.wakes > before
    assert node.dataplane.seconds_to_next() == 0.0
    await node.dataplane.apply()
    assert take(node) == {"a": "down", "g": "down"}
    node.has(
        changed("cali1", CALI1, up=True, bounced=True), changed("eth0", ETH0, up=True, bounced=True)
    )
    await node.dataplane.apply()
    assert take(node) == {"a": "up", "g": "up"}
    node.has("cali1", "eth0")
    await node.dataplane.apply()
    assert take(node) == {"a": "down", "g": "error"}


async def test_a_link_that_bounces_is_down_while_it_has_not_got_everything(node: FakeNode) -> None:
    node.has(CALI1, CALI2)
    await told(node, A, wep("b", "cali2"))
    for failing in ("settings", "IPv6 routes", "neighbours"):
        node.journal.failing = {failing: "no luck"}
        again = changed("cali1", node.monitor.interfaces["cali1"], up=True, bounced=True)
        node.has(again)
        assert await told(node) == {"a": "down"}, failing
        node.journal.failing = {}
        assert await told(node) == {"a": "up"}, failing
    node.journal.failing = {"IPv4 tables": "no luck"}  # these had nothing to write
    node.has(changed("cali1", node.monitor.interfaces["cali1"], up=True, bounced=True))
    assert await told(node) == {}


async def test_the_next_one_is_promoted_and_the_first_comes_back(node: FakeNode) -> None:
    node.has(CALI1, CALI2)
    await told(node, A, wep("b", "cali1"))
    assert await told(node, wep_gone("a")) == {"a": None, "b": "up"}
    assert await told(node, A) == {"a": "up", "b": "down"}
    assert await told(node, wep("a", "cali2")) == {"a": "up", "b": "up"}


async def test_settings_that_cannot_be_written_concern_their_interface(node: FakeNode) -> None:
    node.has(CALI1, CALI2)
    await told(node)
    node.sysctls.stubborn = {"cali1"}
    assert await told(node, A, wep("b", "cali2")) == {"a": "down", "b": "up"}
    node.sysctls.stubborn = set()
    assert await told(node) == {"a": "up"}


# ---------------------------------------------------------------- steps that fail

FAILING = [
    # what fails; what is told of a new endpoint with addresses of both families, of a new one with
    # none, and of a host endpoint
    ("IPv4 sets grown", "down", "down", "down"),
    ("IPv6 sets grown", "down", "down", "down"),
    ("IPv4 tables", "down", "down", "down"),
    ("IPv6 tables", "down", "down", "down"),
    ("IPv4 routes", "down", "up", "up"),
    ("IPv6 routes", "down", "up", "up"),
    ("neighbours", "down", "up", "up"),
    ("settings", "down", "down", "up"),
    ("IPv4 sets shrunk and destroyed", "up", "up", "up"),
]


@pytest.mark.parametrize(("failing", "routed", "bare", "host"), FAILING)
async def test_a_failing_step_keeps_new_ones_from_being_up_and_no_others(
    node: FakeNode, failing, routed, bare, host
) -> None:
    node.has(CALI1, CALI2, ETH0, ETH1, interface("cali3"))
    assert await told(node, wep("z", "cali3", "10.0.0.9/32"), hep("i", "eth1")) == {
        "z": "up",
        "i": "up",
    }
    node.journal.failing = {failing: "no luck"}
    expected = {"a": routed, "b": bare, "h": host}
    assert await told(node, A, wep("b", "cali2"), hep("h", "eth0")) == expected
    assert await told(node) == {}  # nor later
    node.journal.failing = {}
    late = {name: "up" for name, state in expected.items() if state == "down"}
    assert await told(node) == late


async def test_a_route_that_is_refused_again_and_again_holds_back_its_own_endpoint_alone(
    node: FakeNode,
) -> None:
    node.has(CALI1, CALI2)
    node.routes[4].stubborn = {"10.0.0.1/32"}
    assert await told(node, A, wep("b", "cali2", "10.0.0.2/32")) == {"a": "down", "b": "up"}
    node.routes[4].stubborn = set()
    assert await told(node) == {"a": "up"}
    node.routes[4].stubborn = {"10.0.0.3/32"}
    new = wep("c", "cali3", "10.0.0.3/32"), wep("d", "cali4", "10.0.0.4/32")
    node.has(interface("cali3"), interface("cali4"))
    assert await told(node, *new) == {"c": "down", "d": "up"}
    assert await told(node) == {}
    node.routes[4].stubborn = set()
    assert await told(node) == {"c": "up"}


CHANGES: list[tuple[str, Update, str]] = [
    # what is told of an endpoint that is up, and its state when the tables cannot be written
    ("the same", A, ""),
    ("labels", wep("a", "cali1", "10.0.0.1/32", "fd00::1/128", mac=MAC, labels={"x": "y"}), "up"),
    ("policies", wep("a", "cali1", "10.0.0.1/32", mac=MAC, tiers=[tier("p")]), "down"),
    ("profiles", wep("a", "cali1", "10.0.0.1/32", mac=MAC, profiles=("q",)), "down"),
    ("rules of its policy", policy("r", ALLOW), ""),
    ("another group of its policy", policy("s", selector="has(x)"), "down"),
    ("host: the same", hep("a", "eth0", tiers=[tier("r", "s")]), ""),
    ("host: addresses", hep("a", "eth0", "172.16.0.1", tiers=[tier("r", "s")]), "up"),
    ("host: policies", hep("a", "eth0", tiers=[tier("p")]), "down"),
    ("host: rules of its policy", policy("r", ALLOW), ""),
    ("host: another group", policy("s", selector="has(x)"), "down"),
]


@pytest.mark.parametrize(("case", "update", "state"), CHANGES)
async def test_what_is_pending_of_an_endpoint_that_was_up(node: FakeNode, case, update, state):
    node.has(CALI1, CALI2)
    first: Update
    if case.startswith("host: "):
        node.has(ETH0)
        first = hep("a", "eth0", tiers=[tier("r", "s")])
    elif isinstance(update, PolicyUpdate):
        first = wep("a", "cali1", tiers=[tier("r", "s")])
    else:
        first = A
    await told(node, *map(policy, "prs"), first, wep("b", "cali2"))
    node.journal.failing = {"IPv4 tables": "no luck", "IPv6 tables": "no luck"}
    assert await told(node, update) == ({"a": state} if state else {})
    node.journal.failing = {}
    assert await told(node) == ({"a": "up"} if state == "down" else {})


REFUSED = [
    # what was refused; of a new endpoint with policies p and q in a group and profile r, of one
    # with policy s, and of a host endpoint with untracked policy u
    (("filter", "cali-tw-cali1"), "down", "up", "up"),
    (("filter", "cali-fw-cali2"), "up", "down", "up"),
    (("filter", "cali-pi-gnp/p"), "down", "up", "up"),
    (("filter", "cali-pri-r"), "down", "up", "up"),
    (("filter", "cali-po-gnp/s"), "up", "down", "up"),
    (("raw", "cali-po-gnp/s"), "up", "up", "up"),
    (("raw", "cali-pi-gnp/u"), "up", "up", "down"),
    (("mangle", "cali-th-eth0"), "up", "up", "down"),
    (("filter", "cali-from-wl-dispatch"), "down", "down", "down"),
    (("filter", "cali-to-wl-dispatch-1"), "down", "down", "down"),
    (("nat", "cali-fip-dnat"), "up", "up", "up"),
]


@pytest.mark.parametrize(("refused", "grouped", "other", "host"), REFUSED)
async def test_a_refused_chain_concerns_those_that_it_leads_to(
    node: FakeNode, refused, grouped, other, host
) -> None:
    node.has(CALI1, CALI2, ETH0, interface("cali3"))
    await told(node, *map(policy, "pqsu"), wep("z", "cali3", tiers=[tier("p", "q", "s")]))
    node.tables[6].refused = {refused: "the kernel does not like it"}
    expected = {"a": grouped, "b": other, "h": host}
    assert (
        await told(
            node,
            wep("a", "cali1", tiers=[tier("p", "q")], profiles=("r",)),
            wep("b", "cali2", tiers=[tier("s")]),
            hep("h", "eth0", untracked=[tier("u")]),
        )
        == expected
    )
    node.tables[6].refused = {}
    assert await told(node) == {name: "up" for name, s in expected.items() if s == "down"}


async def test_a_policy_that_goes_while_its_chain_is_refused(node: FakeNode) -> None:
    node.has(CALI1)
    await told(node, policy("p"))
    node.tables[4].refused = {("filter", "cali-pi-gnp/p"): "no luck"}
    assert await told(node, wep("a", "cali1", tiers=[tier("p")])) == {"a": "down"}
    assert await told(node, wep("a", "cali1"), PolicyRemove(gnp("p"))) == {"a": "up"}


# ---------------------------------------------------------------- cost


async def test_one_change_among_many_looks_at_one(
    node: FakeNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    node.has(*(interface(f"cali{n}") for n in range(200)))
    await told(node, *(wep(str(n), f"cali{n}", f"10.0.0.{n}/32") for n in range(200)))
    states = node.dataplane._states
    judged: list[WorkloadEndpointKey] = []
    judge = states._workload

    def noted(key: WorkloadEndpointKey) -> LocalEndpoint | None:
        judged.append(key)
        return judge(key)

    monkeypatch.setattr(states, "_workload", noted)
    await told(node)
    assert judged == []
    for failing in ("", "IPv4 tables", "IPv6 routes"):
        node.journal.failing = {failing: "no luck"}
        judged.clear()
        await told(node, wep("7", "cali7", f"10.0.1.{len(failing)}/32", profiles=(failing,)))
        assert judged == [wep_key("7")], failing


# ---------------------------------------------------------------- paths

Step = tuple[str, Any]


def steps() -> st.SearchStrategy[list[Step]]:
    names = st.sampled_from(["a", "b", "h", "i"])
    links = st.sampled_from(["cali1", "cali2", "eth0", "eth1"])
    failing = st.sampled_from(["IPv4 tables", "IPv6 sets grown", "IPv6 routes", "settings", ""])
    refused = st.sampled_from(["cali-tw-cali1", "cali-pi-gnp/p", ""])
    variants = st.tuples(names, links, st.sampled_from(["", "p"]), st.booleans())
    return st.lists(
        st.one_of(
            st.tuples(st.just("told"), variants),
            st.tuples(st.just("gone"), names),
            st.tuples(st.just("link"), st.tuples(links, st.booleans())),
            st.tuples(st.just("unplugged"), links),
            st.tuples(st.just("failing"), failing),
            st.tuples(st.just("refused"), refused),
            st.tuples(st.just("apply"), st.just(None)),
            st.tuples(st.just("taken"), st.just(None)),
        ),
        max_size=25,
    )


class Walk:
    """A node on its way through steps, and what a reporter knows of it."""

    def __init__(self) -> None:
        self.node = FakeNode()
        self.known: dict[Any, LocalEndpoint] = {}
        self.endpoints: dict[str, Update] = {}
        self.written: dict[Family, dict[str, Any]] = {4: {}, 6: {}}

    async def step(self, kind: str, what: Any) -> None:
        match kind:
            case "told":
                self._tell(*what)
            case "gone" if what in self.endpoints:
                del self.endpoints[what]
                self.node.desire(hep_gone(what) if what in "hi" else wep_gone(what))
            case "link":
                name, up = what
                self.node.has(interface(name, f"172.16.0.{name[-1]}", up=up))
            case "unplugged" if what in self.node.monitor.interfaces:
                self.node.has(what)
            case "failing":
                self.node.journal.failing = {what: "no luck"}
            case "refused":
                self.node.tables[4].refused = {("filter", what): "no luck"} if what else {}
            case "apply":
                await self.apply()
            case "taken":
                self.take()

    def _tell(self, name: str, link: str, used: str, flag: bool) -> None:
        tiers = [tier(used)] if used else []
        self.endpoints[name] = (
            hep(name, "" if flag else link, "172.16.0.1", tiers=tiers)
            if name in "hi"
            else wep(name, link, "10.0.0.1/32", "fd00::1/128", tiers=tiers, admin_up=flag)
        )
        self.node.desire(self.endpoints[name])

    async def apply(self) -> None:
        applied = await self.node.dataplane.apply()
        await settle()
        failed = applied.problems if applied else {}
        for family, tables in self.node.tables.items():
            chains = tables.chains["filter"]
            name = f"IPv{family} tables"
            if name not in failed and f"IPv{family} sets" not in failed:
                self.written[family] = dict(chains)
            elif name in failed and tables.refused:
                refused = {chain for _, chain in tables.refused}
                kept = {c for c, v in chains.items() if c in refused or v.targets() & refused}
                if failed[name] != "no luck":
                    self.written[family] |= {c: v for c, v in chains.items() if c not in kept}

    def take(self) -> None:
        for key, value in self.node.dataplane.take_endpoint_changes().items():
            assert self.known.get(key) != value
            if value is None:
                del self.known[key]
            else:
                self.known[key] = value


@given(steps())
async def test_states_depend_on_what_is_there_not_on_the_path(path: list[Step]) -> None:
    walk = Walk()
    await walk.node.dataplane.start()
    walk.node.desire(policy("p"))
    for step in path:
        await walk.step(*step)
        assert_guarded(walk)
    end: Iterable[Step] = [("failing", ""), ("refused", ""), ("apply", None), ("taken", None)]
    for step in end:
        walk.node.desire()
        await walk.step(*step)
    fresh = Walk()
    fresh.node.has(*walk.node.monitor.interfaces.values())
    fresh.node.desire(policy("p"), *walk.endpoints.values())
    await fresh.apply()
    fresh.take()
    assert walk.known == fresh.known
    await walk.node.dataplane.close()
    await fresh.node.dataplane.close()


def assert_guarded(walk: Walk) -> None:
    """What is untaken and up has its chains in both families."""
    for value in walk.node.dataplane._states._changes.values():
        if value is None or value.state != "up" or walk.node.dataplane._told:
            continue
        name = value.endpoint.interface
        for family, tables in walk.node.tables.items():
            for start in ("cali-tw-", "cali-fw-", "cali-th-", "cali-fh-"):
                chain = tables.chains["filter"].get(start + name)
                assert walk.written[family].get(start + name) == chain
