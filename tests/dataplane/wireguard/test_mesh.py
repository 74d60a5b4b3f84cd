"""Who is a peer, what is behind it, and where each destination goes."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from calc_graph.updates import HostRemove, RouteType, WireguardEndpointRemove
from dataplane.settings import WireguardSettings
from dataplane.wireguard.mesh import Mesh
from dataplane.wireguard.state import DeviceState, PeerState, PeerWish
from tests.dataplane.wireguard.builders import (
    HERE,
    OWN_KEY,
    behind,
    end,
    gone,
    host,
    key,
    malformed,
    node,
    pool,
)

A, B, C = "10.0.1.0/26", "10.0.2.0/26", "10.0.3.0/26"


def device(mesh: Mesh, *ready: str) -> DeviceState:
    """One that has taken all that is wished; of `ready` nodes it has seen a handshake."""
    peers = {
        k: PeerState(w.endpoint, w.nets, w.keepalive, float(w.node in ready))
        for k, w in mesh.peers.items()
    }
    return DeviceState(7, OWN_KEY, 51820, 0x200000, peers)


def told(mesh: Mesh, *updates: Any) -> dict[str, Any]:
    for update in updates:
        mesh.update(update)
    return mesh.resolve()


def settle(mesh: Mesh, *ready: str) -> None:
    """As many rounds as it takes, until nothing changes any more."""
    for _ in range(5):
        mesh.resolve()
        mesh.observe(device(mesh, *ready))
        changed = mesh.resolve()
        mesh.routes_written()
        if not changed:
            mesh.resolve()
            mesh.observe(device(mesh, *ready))
    assert mesh.resolve() == {}


def fresh(*updates: Any, ready: tuple[str, ...] = (), **settings: Any) -> Mesh:
    mesh = Mesh(4, HERE, WireguardSettings(**settings))
    mesh.observe(device(mesh))
    told(mesh, *updates)
    settle(mesh, *ready)
    return mesh


def peers(mesh: Mesh) -> dict[str, set[str]]:
    return {wish.node: set(wish.nets) for wish in mesh.peers.values()}


# ---------------------------------------------------------------- where it ends

READY = ("a", "b")
STATES: list[tuple[str, list[Any], dict[str, set[str]], dict[str, str]]] = [
    # case, what is told, peers and what is behind them, routes
    ("nothing", [], {}, {}),
    ("our own end", [*node(HERE, "10.0.9.0/26")], {}, {"10.0.9.0/26": "throw"}),
    ("an address of ours in our block", [*behind(HERE, B, "10.0.2.1/32")], {}, {B: "throw"}),
    ("an address of ours elsewhere", [*behind(HERE, "10.0.2.1/32")], {}, {"10.0.2.1/32": "throw"}),
    (
        "an address of ours that moves",
        [*behind(HERE, "10.0.2.1/32"), *node("a", "10.0.2.1/32")],
        {"a": {"10.0.2.1/32"}},
        {"10.0.2.1/32": "device"},
    ),
    (
        "the same, with a removal in between",
        [*behind(HERE, "10.0.2.1/32"), *gone("10.0.2.1/32"), *node("a", "10.0.2.1/32")],
        {"a": {"10.0.2.1/32"}},
        {"10.0.2.1/32": "device"},
    ),
    (
        "two peers",
        [*node("a", A), *node("b", B)],
        {"a": {A}, "b": {B}},
        {A: "device", B: "device"},
    ),
    ("a peer with nothing behind it", [*node("a")], {"a": set()}, {}),
    ("no key", [host("a"), *behind("a", A)], {}, {A: "throw"}),
    ("no key yet", [host("a"), *behind("a", A), end("a")], {"a": {A}}, {A: "device"}),
    ("no address", [end("a"), *behind("a", A)], {}, {A: "throw"}),
    ("malformed", [malformed("a"), host("a"), *behind("a", A)], {}, {A: "throw"}),
    (
        "one key, twice",
        [*node("a", A), *node("b", B), end("b", key("a"))],
        {},
        {A: "throw", B: "throw"},
    ),
    (
        "one key, once again",
        [*node("a", A), *node("b", B), end("b", key("a")), end("b")],
        {"a": {A}, "b": {B}},
        {A: "device", B: "device"},
    ),
    ("our key", [*node("a", A), end("a", OWN_KEY)], {}, {A: "throw"}),
    ("a node that is waited for", [*node("c", C)], {"c": {C}}, {C: "throw"}),
    ("a net that goes", [*node("a", A, B), *gone(B)], {"a": {A}}, {A: "device"}),
    ("a net that nobody knows goes", [*node("a", A), *gone(B)], {"a": {A}}, {A: "device"}),
    (
        "a net that moves",
        [*node("a", A, B), *node("b"), *behind("b", B)],
        {"a": {A}, "b": {B}},
        {A: "device", B: "device"},
    ),
    (
        "a net that moves to a node without a key",
        [*node("a", A, B), *behind("d", B)],
        {"a": {A}},
        {A: "device", B: "throw"},
    ),
    (
        "an address borrowed out of another's block",
        [*node("a", A), *node("b", "10.0.1.7/32")],
        {"a": {A}, "b": {"10.0.1.7/32"}},
        {A: "device", "10.0.1.7/32": "device"},
    ),
    (
        "two nodes gone",
        [
            *(*node("a", A), *node("b", B), *gone(A, B)),
            *(WireguardEndpointRemove("a"), WireguardEndpointRemove("b")),
            *(HostRemove("a"), HostRemove("b")),
        ],
        {},
        {},
    ),
    (
        "a node gone and back",
        [*node("a", A), *gone(A), WireguardEndpointRemove("a"), HostRemove("a"), *node("a", A)],
        {"a": {A}},
        {A: "device"},
    ),
]


@pytest.mark.parametrize(("case", "updates", "wished", "routes"), STATES)
def test_what_it_comes_to(case, updates, wished, routes) -> None:
    mesh = fresh(*updates, ready=READY)
    assert (peers(mesh), dict(mesh.routes)) == (wished, routes), case


@pytest.mark.parametrize(("case", "updates", "wished", "routes"), STATES)
def test_it_comes_to_the_same_one_by_one(case, updates, wished, routes) -> None:
    """Except that what was encrypted does not go in clear, as long as its node says it encrypts."""
    mesh = fresh()
    for update in updates:
        told(mesh, update)
        settle(mesh, *READY)
    assert peers(mesh) == wished, case
    for net, kind in routes.items():
        assert mesh.routes[net] in (kind, "unreachable" if kind == "throw" else kind)
    assert mesh.routes.keys() == routes.keys()


STRICT = [
    # case, what is told, the route to A
    ("ready", [*node("a", A)], "device"),
    ("waiting", [*node("c", A)], "unreachable"),
    ("no key", [*behind("a", A)], "unreachable"),
    ("malformed", [malformed("a"), *behind("a", A)], "unreachable"),
    ("no address", [end("a"), *behind("a", A)], "unreachable"),
    ("one key, twice", [*node("a", A), end("b", key("a"))], "unreachable"),
    ("ours", [*behind(HERE, A)], "throw"),
]


@pytest.mark.parametrize(("case", "updates", "kind"), STRICT)
def test_strictness(case, updates, kind) -> None:
    mesh = fresh(*updates, ready=READY, strict=True)
    assert mesh.routes[A] == kind, case
    assert mesh.closes == (kind == "unreachable")


@pytest.mark.parametrize(("case", "updates", "kind"), STRICT)
def test_a_pool_that_must_be_encrypted_is_strict_within(case, updates, kind) -> None:
    mesh = fresh(*updates, pool("10.0.0.0/20"), *behind("z", "10.9.0.0/26"), ready=READY)
    assert mesh.routes[A] == kind, case
    assert mesh.routes["10.0.0.0/20"] == "unreachable"
    assert mesh.routes["10.9.0.0/26"] == "throw"
    told(mesh, pool("10.0.0.0/20", encrypted=False))
    assert "10.0.0.0/20" not in mesh.routes
    assert mesh.routes[A] == kind.replace("unreachable", "throw")
    assert not mesh.closes


def test_with_strictness_nobody_in_a_pool_is_reached_in_clear() -> None:
    own = behind("a", "10.0.0.5/32", types=RouteType.REMOTE_HOST)
    open_pool = pool("10.0.0.0/20", encrypted=False)
    mesh = fresh(*node("a", A), *own, open_pool, ready=("a",), strict=True)
    assert dict(mesh.routes) == {A: "device", "10.0.0.0/20": "unreachable", "10.0.0.5/32": "throw"}
    told(mesh, *gone(A))
    settle(mesh, "a")
    assert dict(mesh.routes) == {"10.0.0.0/20": "unreachable", "10.0.0.5/32": "throw"}


def test_of_two_nodes_with_one_key_both_are_closed_if_one_was_encrypted() -> None:
    mesh = fresh(*node("a", A), *behind("b", B), host("b"), ready=("a",))
    assert dict(mesh.routes) == {A: "device", B: "throw"}
    told(mesh, end("b", key("a")))
    settle(mesh)
    assert dict(mesh.routes) == {A: "unreachable", B: "unreachable"}
    assert mesh.problems() == {
        "a": "its key is that of b as well",
        "b": "its key is that of a as well",
    }
    told(mesh, end("b"))
    settle(mesh, "a", "b")
    assert dict(mesh.routes) == {A: "device", B: "device"}
    assert mesh.problems() == {}


def test_another_key_opens_nothing_and_closes_what_comes_meanwhile() -> None:
    mesh = fresh(*node("a", A), ready=("a",))
    told(mesh, end("a", key("x")), *behind("a", B))
    settle(mesh)
    assert dict(mesh.routes) == {A: "unreachable", B: "unreachable"}
    settle(mesh, "a")
    assert dict(mesh.routes) == {A: "device", B: "device"}


CLOSED = [
    # what happens to a node that was encrypted, the route to it
    (malformed("a"), "unreachable"),
    (HostRemove("a"), "unreachable"),
    (end("a", OWN_KEY), "unreachable"),
    (end("a", ""), "throw"),
    (WireguardEndpointRemove("a"), "throw"),
]


@pytest.mark.parametrize(("update", "kind"), CLOSED)
def test_only_who_withdraws_its_key_is_sent_to_in_clear(update, kind) -> None:
    mesh = fresh(*node("a", A), ready=("a",))
    told(mesh, update)
    settle(mesh)
    assert mesh.routes[A] == kind


def test_who_has_withdrawn_its_key_begins_anew() -> None:
    mesh = fresh(*node("a", A), ready=("a",))
    told(mesh, end("a", ""))
    settle(mesh)
    told(mesh, end("a"))
    settle(mesh)
    assert (mesh.routes[A], mesh.stages()["a"]) == ("throw", "waiting")


def test_a_device_that_is_gone_opens_nothing() -> None:
    mesh = fresh(*node("a", A), *node("c", C), ready=("a",))
    mesh.observe(None)
    mesh.resolve()
    assert dict(mesh.routes) == {A: "unreachable", C: "throw"}
    assert peers(mesh) == {"a": {A}, "c": {C}}


# ---------------------------------------------------------------- how it gets there

NOTHING: list[tuple[str, list[Any]]] = [
    ("another address and back", [host("a", "172.30.0.9"), host("a")]),
    ("another key and back", [end("a", key("x")), end("a")]),
    ("a node that comes and goes", [*node("z", C), *gone(C), end("z", ""), HostRemove("z")]),
    ("nets swapped and swapped back", [*behind("b", A), *behind("a", B, A), *behind("b", B)]),
    ("a net added and removed", [*behind("a", C), *gone(C)]),
    ("an unknown net removed", gone(C)),
    ("what is known already", [*node("a", A), *node("b", B)]),
    ("our own end", [end(HERE, key("x")), host(HERE)]),
]


@pytest.mark.parametrize(("case", "updates"), NOTHING)
def test_what_is_taken_back_changes_nothing(case, updates) -> None:
    mesh = fresh(*node("a", A), *node("b", B), ready=READY)
    before = dict(mesh.peers)
    assert told(mesh, *updates) == {}, case
    assert mesh.peers == before


def test_a_peer_is_kept_alive_until_it_has_answered() -> None:
    mesh = fresh(*node("a", A), *node("c", C), ready=("a",), keepalive=25)
    assert {w.node: w.keepalive for w in mesh.peers.values()} == {"a": 25, "c": 5}
    mesh = fresh(*node("a", A), *node("c", C), ready=("a",))
    assert mesh.peers == {
        key("a"): PeerWish("a", ("172.30.0.97", 51820), frozenset({A}), 0),
        key("c"): PeerWish("c", ("172.30.0.99", 51820), frozenset({C}), 5),
    }
    assert mesh.waiting == {key("c")}
    mesh = fresh(*node("c", C), keepalive=2)
    assert mesh.peers[key("c")].keepalive == 2


def test_only_what_the_device_has_taken_is_routed_to_it() -> None:
    mesh = fresh(*node("a", A), ready=("a",))
    assert told(mesh, *behind("a", B)) == {B: "unreachable"}
    mesh.observe(device(mesh, "a"))
    assert mesh.resolve() == {B: "device"}


def test_a_net_moves_at_once_to_a_peer_that_has_answered() -> None:
    mesh = fresh(*node("a", A), *node("b"), ready=READY)
    told(mesh, *behind("b", A))
    assert peers(mesh) == {"a": set(), "b": {A}}
    mesh.observe(device(mesh, *READY))
    mesh.resolve()
    assert mesh.routes[A] == "device"


def test_a_net_waits_for_its_route_to_move_to_a_peer_that_has_not() -> None:
    mesh = fresh(*node("a", A), *node("c"), ready=("a",))
    told(mesh, *behind("c", A))
    assert peers(mesh)["c"] == set()
    assert mesh.routes[A] == "unreachable"  # it was encrypted, and c says that it encrypts
    mesh.routes_written()
    mesh.resolve()
    assert peers(mesh) == {"a": set(), "c": {A}}


def test_what_an_agent_before_has_left_is_taken_over() -> None:
    settled = fresh(*node("a", A), *node("b", B), *node("c", C), ready=READY)
    mesh = Mesh(4, HERE, WireguardSettings())
    mesh.adopt(settled.routes)
    for update in (*node("a", A), *node("b", B), *node("c", C)):
        mesh.update(update)
    mesh.observe(device(settled, "a"))
    assert mesh.resolve() == {A: "device", B: "unreachable", C: "throw"}
    assert mesh.stages() == {"a": "ready", "b": "waiting", "c": "waiting"}


def test_what_was_encrypted_before_a_restart_is_not_in_clear_after_it() -> None:
    settled = fresh(*node("a", A), ready=("a",))
    mesh = Mesh(4, HERE, WireguardSettings())
    mesh.adopt(settled.routes)
    for update in node("a", A):
        mesh.update(update)
    mesh.update(end("a", key("x")))
    mesh.observe(device(settled, "a"))
    assert mesh.resolve() == {A: "unreachable"}
    assert peers(mesh) == {"a": set()}  # a route of the agent before may lead there
    mesh.routes_written()
    mesh.resolve()
    assert peers(mesh) == {"a": {A}}


def test_hosts_are_encrypted_where_that_is_asked_for() -> None:
    mesh = fresh(
        *node("a"), *behind("a", "172.30.0.97/32", types=RouteType.REMOTE_HOST), ready=("a",)
    )
    assert mesh.routes == {}
    mesh = fresh(
        *node("a"),
        *behind("a", "172.30.0.97/32", types=RouteType.REMOTE_HOST),
        ready=("a",),
        host_encryption=True,
    )
    assert mesh.routes == {"172.30.0.97/32": "device"}


# ---------------------------------------------------------------- told of others


def test_stages_and_problems() -> None:
    mesh = fresh(
        *(*node("a", A), *node("c", C), malformed("m"), end("n"), *behind("k", B)),
        *(*node("d"), *node("e"), end("e", key("d"))),
        *behind(HERE, "10.0.9.0/26"),
        ready=("a",),
    )
    assert mesh.stages() == {
        "a": "ready",
        "c": "waiting",
        "d": "duplicate key",
        "e": "duplicate key",
        "k": "no key",
        "m": "malformed key",
        "n": "no address",
    }
    assert mesh.problems() == {
        "d": "its key is that of e as well",
        "e": "its key is that of d as well",
        "m": "what it publishes is no key",
        "n": "it has a key, but no address",
    }
    assert (mesh.claim("a").key, mesh.nets("a")) == (key("a"), (A,))


# ---------------------------------------------------------------- any order

NODES = ("a", "b", "c", HERE)
NETS = (A, B, "10.0.1.0/32", "10.0.1.7/32", "10.0.0.0/16")
names = st.sampled_from(NODES)
events = st.one_of(
    st.builds(end, names, st.sampled_from((None, "", key("x"), OWN_KEY, "?"))),
    st.builds(malformed, names),
    st.builds(WireguardEndpointRemove, names),
    st.builds(host, names, st.sampled_from(("", "172.30.0.7"))),
    st.builds(HostRemove, names),
    st.builds(lambda n, c: behind(n, c)[0], names, st.sampled_from(NETS)),
    st.builds(lambda c: gone(c)[0], st.sampled_from(NETS)),
    st.builds(lambda e: pool("10.0.0.0/20", encrypted=e), st.booleans()),
)


def latest(updates: list[Any]) -> list[Any]:
    """Only the last that is said of each thing."""
    kept: dict[Any, Any] = {}
    for update in updates:
        if isinstance(update, WireguardEndpointRemove):
            subject: Any = ("end", update.node)
        elif isinstance(update, HostRemove):
            subject = ("host", update.name)
        elif hasattr(update, "node") and not hasattr(update, "cidr"):
            subject = ("end", update.node)
        elif hasattr(update, "ipv4"):
            subject = ("host", update.name)
        elif isinstance(getattr(update, "pool", ""), str):
            subject = ("net", update.cidr)
        else:
            subject = "pool"
        kept[subject] = update
    return list(kept.values())


@hypothesis_settings(deadline=None)
@given(st.lists(events, max_size=25), st.lists(st.booleans(), min_size=25, max_size=25), st.data())
def test_it_is_a_function_of_what_is_there(updates, pauses, data) -> None:
    """Without handshakes, as those make a history: see the tests of what is closed."""
    mesh = fresh()
    for update, pause in zip(updates, pauses, strict=False):
        mesh.update(update)
        if pause:
            settle(mesh)
    settle(mesh)
    other = fresh(*data.draw(st.permutations(latest(updates))))
    assert dict(mesh.peers) == dict(other.peers)
    assert dict(mesh.routes) == dict(other.routes)
    assert (mesh.closes, mesh.waiting) == (other.closes, other.waiting)
    assert (mesh.stages(), mesh.problems()) == (other.stages(), other.problems())


@hypothesis_settings(deadline=None)
@given(st.lists(events, max_size=25), st.lists(st.booleans(), min_size=25, max_size=25))
def test_with_handshakes_only_what_was_encrypted_is_different(updates, pauses) -> None:
    mesh = fresh(ready=READY)
    for update, pause in zip(updates, pauses, strict=False):
        mesh.update(update)
        nets = [net for wish in mesh.peers.values() for net in wish.nets]
        assert len(nets) == len(set(nets))
        if pause:
            settle(mesh, *READY)
    settle(mesh, *READY)
    other = fresh(*latest(updates), ready=READY)
    assert dict(mesh.peers) == dict(other.peers)
    assert mesh.routes.keys() == other.routes.keys()
    different = {net for net, kind in other.routes.items() if mesh.routes[net] != kind}
    assert {mesh.routes[net] for net in different} <= {"unreachable"}
    assert {other.routes[net] for net in different} <= {"throw"}
