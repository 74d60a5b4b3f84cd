"""The order of writes, one at a time: each race that the reference text names has a test here.

After every write `FakeKernel.check` asks whether any net is two peers', any route leads to who has
not answered, or anything that was encrypted goes in clear.
"""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from calc_graph.updates import HostRemove, WireguardEndpointRemove
from dataplane.errors import DataplaneError
from dataplane.wireguard.state import shown
from tests.dataplane.wireguard.builders import HERE, behind, end, gone, host, key, node, pool
from tests.dataplane.wireguard.one_family import ALL, Node, settled

A, B, C = "10.0.1.0/26", "10.0.2.0/26", "10.0.3.0/26"


# ---------------------------------------------------------------- a peer comes


async def test_peer_then_handshake_then_route() -> None:
    n = Node()
    n.has_device()
    n.told(*node("a", A), *behind(HERE, "10.0.9.0/26"))
    await n.on.before(n.step)
    assert n.kernel.take() == [
        *("key", "+ a", f"+ a {A}"),
        *(f"{A} throw", "10.0.9.0/26 throw", "rule"),
    ]
    await n.on.after(n.step)
    assert n.kernel.take() == []
    assert n.kernel.peers[key("a")].keepalive == 5
    assert await n.apply() == []  # nobody has answered
    n.kernel.answers(key("a"))
    assert await n.on.check() is False  # it is not due yet
    assert await n.peers.check() is True
    assert await n.apply() == [f"{A} device"]
    assert n.kernel.peers[key("a")].keepalive == 0
    assert await n.apply() == []


async def test_a_handshake_that_somebody_else_has_seen_first_counts_as_well() -> None:
    n = await settled(*node("c", C))
    n.kernel.answers(key("c"))
    (peer,) = (await n.on.status({})).peers
    assert (peer.node, peer.stage, peer.handshake > 0) == ("c", "waiting", True)
    assert await n.on.check() is True
    assert await n.apply() == [f"{C} device"]


async def test_strictness_closes_before_the_rule_and_opens_with_the_handshake() -> None:
    n = Node(strict=True)
    n.has_device()
    n.told(*node("a", A), *behind("d", B))
    await n.on.before(n.step)
    assert n.kernel.take()[-3:] == [f"{A} unreachable", f"{B} unreachable", "rule"]
    n.kernel.answers(key("a"))
    await n.peers.look()
    assert await n.apply() == [f"{A} device"]


async def test_peers_that_enable_one_after_the_other_are_never_sent_to_alone() -> None:
    """Section 3.10: we know the other's key, it does not know ours."""
    n = await settled(*node("c", C))
    assert n.kernel.routes == {C: "throw"}
    assert n.kernel.peers[key("c")].nets == {C}  # what it encrypts meanwhile is taken
    await n.settle("c")
    assert n.kernel.routes == {C: "device"}


async def test_a_new_net_of_a_peer_that_has_answered_never_goes_in_clear() -> None:
    n = await settled(*node("a", A))
    n.told(*behind("a", B))
    assert await n.apply() == [f"+ a {B}", f"{B} device"]


# ---------------------------------------------------------------- this node's own packets


async def test_what_the_host_says_asks_the_table_once_the_device_has_an_address() -> None:
    """Section 4.2: the address is given out once the key is known."""
    n = Node()
    n.has_device(addresses=())
    n.told(*node("a", A))
    await n.settle("a")
    assert (n.kernel.asking, n.kernel.routes) == ("forwarded", {A: "device"})
    n.has_device(addresses=("10.0.9.1",))
    await n.on.before(n.step)
    assert n.kernel.take() == ["rule"]
    n.has_device(addresses=())
    await n.apply()
    assert n.kernel.asking == "everything"  # what was encrypted is not sent in clear


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        pytest.param({"strict": True}, [], id="strict"),
        pytest.param({"host_encryption": True}, [], id="between hosts"),
        pytest.param({}, [pool(A)], id="a pool"),
    ],
)
async def test_what_may_not_go_in_clear_does_not_for_lack_of_an_address(settings, told) -> None:
    n = Node(**settings)
    n.has_device(addresses=())
    n.told(*told, *node("a", A))
    await n.settle("a")
    assert (n.kernel.asking, n.kernel.routes) == ("everything", {A: "device"})


async def test_a_pool_that_must_be_encrypted_closes_to_the_host_as_well() -> None:
    n = Node()
    n.has_device(addresses=())
    n.told(*node("a", A))
    await n.settle("a")
    n.told(pool("10.0.0.0/16"))
    await n.on.before(n.step)
    assert n.kernel.take() == ["10.0.0.0/16 unreachable", "rule"]


async def test_another_key_closes_to_the_host_as_well() -> None:
    n = Node()
    n.has_device(addresses=())
    n.told(*node("a", A))
    await n.settle("a")
    n.told(end("a", key("x")))
    await n.apply()
    assert (n.kernel.asking, n.kernel.routes) == ("everything", {A: "unreachable"})


async def test_an_agent_that_starts_again_leaves_the_rule_as_it_is() -> None:
    n = await settled(*node("a", A))
    again = Node(n.kernel)
    again.has_device(addresses=())
    again.told(*node("a", A))
    assert await again.apply() == []
    assert n.kernel.asking == "everything"


async def test_an_address_of_the_link_is_none() -> None:
    n = Node()
    n.has_device(addresses=("fe80::1", "fd00::1"))  # nor is one of the other family
    n.told(*node("a", A))
    await n.apply()
    assert n.kernel.asking == "forwarded"


# ---------------------------------------------------------------- a peer goes


async def test_routes_then_nets_then_the_peer() -> None:
    n = await settled(*node("a", A, B))
    n.told(*gone(B))
    n.kernel.may_be_clear |= {A, B}
    await n.on.before(n.step)
    assert n.kernel.take() == []  # the main table goes first: nothing finds its route meanwhile
    await n.on.after(n.step)
    assert n.kernel.take() == [f"{B} gone", f"- a {B}"]
    n.told(*gone(A), WireguardEndpointRemove("a"), HostRemove("a"))
    assert await n.apply() == [f"{A} gone", "- a"]


async def test_no_route_goes_while_the_main_table_is_not_written() -> None:
    n = await settled(*node("a", A))
    n.told(*gone(A), end("a", ""))
    assert await n.apply(routed=False) == []
    n.kernel.may_be_clear |= {A}
    assert await n.apply() == [f"{A} gone", "- a"]


async def test_a_peer_that_withdraws_its_key_is_left_route_first() -> None:
    n = await settled(*node("a", A))
    n.kernel.may_be_clear |= {A}
    n.told(end("a", ""))
    assert await n.apply() == [f"{A} throw", "- a"]


async def test_a_peer_that_comes_and_goes_is_not_written() -> None:
    n = await settled(*node("a", A))
    n.told(*node("b", B), *gone(B, A), end("b", ""), *behind("a", A))
    assert await n.apply() == []


# ---------------------------------------------------------------- a net moves


async def test_to_a_peer_that_has_answered_in_one_write() -> None:
    n = await settled(*node("a", A), *node("b", B))
    n.told(*behind("b", A))
    written = n.peers.written
    assert await n.apply() == [f"+ b {A}"]
    assert n.peers.written == written + 1
    assert n.kernel.peers[key("a")].nets == set()


async def test_two_nets_change_places() -> None:
    n = await settled(*node("a", A), *node("b", B))
    n.told(*behind("b", A), *behind("a", B))
    assert await n.apply() == [f"+ a {B}", f"+ b {A}"]


async def test_to_a_peer_that_has_not_answered_after_its_route() -> None:
    n = await settled(*node("a", A), *node("c"))
    n.told(*behind("c", A))
    assert await n.apply() == [f"{A} unreachable", f"+ c {A}"]
    assert await n.settle("c") == [f"{A} device"]


async def test_to_a_new_node() -> None:
    n = await settled(*node("a", A))
    n.told(*node("c", A))
    assert await n.apply() == ["+ c", f"{A} unreachable", f"+ c {A}"]


async def test_to_a_node_without_a_key_only_its_route_and_the_net_are_written() -> None:
    n = await settled(*node("a", A, B))
    n.kernel.may_be_clear |= {B}
    n.told(*behind("d", B))
    assert await n.apply() == [f"{B} throw", f"- a {B}"]
    other = next(p for p in n.on.known().peers if p.node == "d")
    assert (other.stage, other.clear_nets) == ("no key", (B,))


async def test_to_this_node() -> None:
    n = await settled(*node("a", A, "10.0.2.1/32"))
    n.kernel.may_be_clear |= {"10.0.2.1/32"}
    n.told(*behind(HERE, "10.0.2.1/32"))
    assert await n.apply() == ["10.0.2.1/32 throw", "- a 10.0.2.1/32"]


async def test_to_this_node_only_once_the_main_table_knows() -> None:
    """Until then that has the way to the node before: two packets of a flow went it in clear."""
    n = await settled(*node("a", A, B))
    n.kernel.may_be_clear |= {A, B}
    n.told(*behind(HERE, A))
    assert await n.apply(routed=False) == []
    await n.on.before(n.step)
    assert n.kernel.take() == []
    await n.on.after(n.step)
    assert n.kernel.take() == [f"{A} throw", f"- a {A}"]


async def test_without_wireguard_the_last_that_is_closed_opens_late_too() -> None:
    n = Node(strict=True)
    n.unavailable = "this kernel has no WireGuard"
    n.told(*node("a", A))
    await n.apply()
    n.told(*behind(HERE, A))
    await n.on.before(n.step)
    assert n.kernel.take() == []
    await n.on.after(n.step)
    assert n.kernel.take() == [f"{A} throw", "no rule", f"{A} gone"]


async def test_to_this_node_while_no_agent_ran() -> None:
    n = await settled(*node("a", A, B))
    n.kernel.may_be_clear |= {A, B}
    again = Node(n.kernel)
    again.has_device()
    again.told(*node("a"), *behind(HERE, A))
    await again.on.before(again.step)
    assert n.kernel.routes == {A: "device", B: "device"}
    await again.on.after(again.step)
    assert n.kernel.routes == {A: "throw"}


async def test_from_this_node_before_the_main_table_knows() -> None:
    """It loses its way to the workload here, and has that of the block, in clear."""
    n = await settled(*node("a", A), *behind(HERE, "10.0.1.1/32"))
    n.told(*gone("10.0.1.1/32"))
    await n.on.before(n.step)
    assert n.kernel.take() == ["10.0.1.1/32 gone"]


async def test_a_block_comes_to_a_net_that_was_here_before() -> None:
    n = await settled(*node("a", A), *behind(HERE, "10.0.1.1/32"))
    n.kernel.may_be_clear |= {A}
    n.told(*behind(HERE, A))
    await n.on.before(n.step)
    assert n.kernel.take() == []
    await n.on.after(n.step)
    assert sorted(n.kernel.take()) == sorted(["10.0.1.1/32 gone", f"{A} throw", f"- a {A}"])


async def test_from_a_node_that_goes_to_one_that_has_not_answered() -> None:
    n = await settled(*node("a", A), *node("c"))
    n.told(end("a", ""), HostRemove("a"), *behind("c", A))
    assert await n.apply() == [f"{A} unreachable", f"+ c {A}", "- a"]


async def test_back_before_it_has_been_written() -> None:
    n = await settled(*node("a", A), *node("c"))
    n.told(*behind("c", A), *behind("a", A))
    assert await n.apply() == []


# ---------------------------------------------------------------- keys


async def test_another_key_is_the_end_of_the_old_one_and_opens_nothing() -> None:
    n = await settled(*node("a", A, B))
    n.told(end("a", key("x")))
    assert await n.apply() == [
        *("+ x", f"{A} unreachable", f"{B} unreachable"),
        *(f"+ x {A}", f"+ x {B}", "- a"),
    ]
    assert sorted(await n.settle("x")) == [f"{A} device", f"{B} device"]


async def test_another_key_and_back_again() -> None:
    n = await settled(*node("a", A))
    n.told(end("a", key("x")), end("a"))
    assert await n.apply() == []


async def test_two_nodes_with_one_key_are_both_closed_and_both_come_back() -> None:
    n = await settled(*node("a", A), *node("b", B))
    n.told(end("b", key("a")))
    lines = await n.settle("a", "b")
    assert sorted(lines) == ["- a", "- b", f"{A} unreachable", f"{B} unreachable"]
    assert max(map(lines.index, (f"{A} unreachable", f"{B} unreachable"))) < lines.index("- a")
    assert n.on.problems() == {
        "wireguard.cali to a": "its key is that of b as well",
        "wireguard.cali to b": "its key is that of a as well",
    }
    n.told(end("b"))
    await n.settle("a", "b")
    assert n.kernel.routes == {A: "device", B: "device"}
    assert n.on.problems() == {}


async def test_two_nodes_with_one_key_that_never_were_encrypted_stay_as_they_are() -> None:
    n = await settled(*node("c", A), *node("d", B), end("d", key("c")))
    assert n.kernel.routes == {A: "throw", B: "throw"}


async def test_keepalive_and_endpoint_are_compared() -> None:
    n = await settled(*node("a", A))
    n.told(host("a", "172.30.0.50"))
    written = n.peers.written
    await n.apply()
    assert n.peers.written == written + 1
    assert n.kernel.peers[key("a")].endpoint == ("172.30.0.50", 51820)
    other = Node(n.kernel, keepalive=25)
    other.has_device()
    other.told(host("a", "172.30.0.50"), end("a"), *behind("a", A))
    assert await other.apply() == []
    assert n.kernel.peers[key("a")].keepalive == 25


# ---------------------------------------------------------------- agent and device


async def test_an_agent_that_starts_again_writes_nothing() -> None:
    n = await settled(*node("a", A), *node("c", C), *behind("d", B), *behind(HERE, "10.0.9.0/26"))
    again = Node(n.kernel)
    again.has_device()
    again.told(*node("a", A), *node("c", C), *behind("d", B), *behind(HERE, "10.0.9.0/26"))
    assert await again.apply() == []
    assert (again.peers.written, again.table.written) == (0, 0)
    assert again.on.key == shown(n.kernel.key or b"")


async def test_a_key_that_changed_while_no_agent_ran_opens_nothing() -> None:
    n = await settled(*node("a", A))
    again = Node(n.kernel)
    again.has_device()
    again.told(*node("a", A), end("a", key("x")))
    assert await again.apply() == ["+ x", f"{A} unreachable", f"+ x {A}", "- a"]


async def test_a_net_that_moved_while_no_agent_ran_moves_after_its_route() -> None:
    n = await settled(*node("a", A), *node("c"))
    again = Node(n.kernel)
    again.has_device()
    again.told(*node("a"), *node("c", A))
    assert await again.apply() == [f"{A} unreachable", f"+ c {A}"]


async def test_nothing_is_written_before_it_is_known_what_there_is(monkeypatch) -> None:
    n = await settled(*node("a", A))
    again = Node(n.kernel)
    again.has_device()
    again.told(*node("a", B))
    real = n.kernel.read

    async def refuse(index: int) -> Any:
        raise SilentError("no answer")

    monkeypatch.setattr(n.kernel, "read", refuse)
    assert await again.apply() == []
    assert again.failed == ["IPv4 WireGuard peers"]
    assert again.on.key is None  # what is published stays
    monkeypatch.setattr(n.kernel, "read", real)
    n.kernel.may_be_clear |= {A}
    assert await again.apply() == [f"+ a {B}", f"{B} device", f"{A} gone", f"- a {A}"]


class SilentError(DataplaneError):
    """The kernel does not answer."""


async def test_a_device_that_goes_down_closes_and_comes_back() -> None:
    n = await settled(*node("a", A), *node("c", C), strict=True)
    n.has_device(up=False)
    assert n.kernel.routes[A] == "unreachable"
    assert await n.apply() == []
    n.has_device()
    assert await n.settle("a") == [f"{A} device"]


async def test_a_device_that_was_made_anew_has_another_key_and_begins_again() -> None:
    n = await settled(*node("a", A))
    n.on.interface_changed("wireguard.cali", None)
    await n.apply()
    assert n.kernel.routes == {A: "unreachable"}
    assert n.on.key is None
    n.kernel.peers.clear()
    n.kernel.key = None
    n.has_device(index=9)
    assert await n.apply() == ["+ a", f"+ a {A}"]
    assert await n.settle("a") == [f"{A} device"]


async def test_a_device_that_has_another_name_now_goes_before_the_new_one_listens() -> None:
    """Its key is gone with it: what was encrypted is closed until the new one is known."""
    n = Node()
    n.kernel.former, n.kernel.asking = True, "everything"
    n.kernel.routes, n.kernel.encrypted = {A: "unreachable"}, {A}  # below those of the old device
    n.told(*node("a", A))
    await n.apply()
    assert n.kernel.former  # nothing could take its place yet
    n.has_device()
    await n.on.before(n.step)
    assert n.kernel.take() == ["former gone", "key", "+ a", f"+ a {A}"]
    assert n.kernel.port == 51820
    assert await n.settle("a") == [f"{A} device"]


async def test_a_device_of_another_name_stays_where_there_can_be_no_other() -> None:
    n = Node()
    n.kernel.former, n.unavailable = True, "the switch is held back"
    n.has_device()
    n.told(*node("a", A))
    await n.apply()
    assert n.kernel.former


async def test_a_peer_that_somebody_removes_is_closed_until_it_answers_again() -> None:
    n = await settled(*node("a", A))
    n.kernel.routes[A] = "unreachable"  # the kernel would refuse; nothing of that is ours to test
    n.kernel.peers.clear()
    await n.peers.look()
    await n.apply()
    assert n.kernel.routes == {A: "unreachable"}
    assert await n.settle("a") == [f"{A} device"]


# ---------------------------------------------------------------- failures

FAILURES = [
    # what fails once, what is not written then
    ("+ c", ["+ c", f"+ c {A}", f"{A} device"]),
    (f"{A} unreachable", [f"+ c {A}"]),
    (f"+ c {A}", []),
]


@pytest.mark.parametrize(("failing", "later"), FAILURES)
async def test_what_fails_keeps_what_comes_after_it(failing, later) -> None:
    n = await settled(*node("a", A, B))
    n.told(*node("c", A))
    n.kernel.fails = [failing]
    lines = await n.apply()
    assert n.failed
    assert not set(lines) & set(later)
    n.kernel.fails = []
    await n.settle("c")
    assert n.kernel.routes == {A: "device", B: "device"}


async def test_peers_that_fail_close_what_they_would_have_had() -> None:
    n = await settled(*node("a", A))
    n.told(*behind("a", B))
    n.kernel.fails = [f"+ a {B}"]
    assert await n.apply() == [f"{B} unreachable"]
    n.kernel.fails = []
    assert await n.apply() == [f"+ a {B}", f"{B} device"]


async def test_routes_that_fail_keep_peers_and_rule() -> None:
    n = Node()
    n.has_device()
    n.told(*behind("d", A))
    n.kernel.fails = [f"{A} throw"]
    await n.apply()
    assert not n.kernel.rule
    n.kernel.fails = []
    await n.apply()
    assert n.kernel.rule


@pytest.mark.parametrize(
    ("case", "settings", "updates", "opens"),
    [
        ("nothing is closed", {}, [], True),
        ("strictness", {"strict": True}, [], False),
        ("hosts too", {"host_encryption": True}, [], False),
        ("a pool to be encrypted", {}, [pool("10.0.0.0/16")], False),
    ],
)
async def test_the_main_table_waits_for_what_is_to_be_closed(
    case, settings, updates, opens
) -> None:
    n = Node(**settings)
    n.has_device()
    n.told(*node("a", A), *updates)
    n.kernel.fails = [A]
    assert await n.on.before(n.step) == opens, case
    n.kernel.fails = []
    assert await n.on.before(n.step)


# ---------------------------------------------------------------- a kernel without it


async def test_without_wireguard_there_is_nothing_but_the_word_of_it() -> None:
    n = Node()
    n.unavailable = "this kernel has no WireGuard"
    n.told(*node("a", A), *behind(HERE, B))
    assert await n.apply() == []
    assert not n.kernel.rule
    assert n.on.problems() == {"wireguard.cali": "this kernel has no WireGuard"}
    assert n.on.key == ""


async def test_without_wireguard_strictness_closes_all_the_same() -> None:
    n = Node(strict=True)
    n.unavailable = "this kernel has no WireGuard"
    n.told(*node("a", A), *behind(HERE, B))
    assert await n.apply() == [f"{A} unreachable", f"{B} throw"]
    assert n.kernel.rule


async def test_a_pool_that_must_be_encrypted_brings_the_table_and_takes_it_away() -> None:
    n = Node()
    n.unavailable = "this kernel has no WireGuard"
    n.told(*node("a", A), pool("10.0.0.0/16"))
    assert sorted(await n.apply()) == ["10.0.0.0/16 unreachable", f"{A} unreachable"]
    n.told(pool("10.0.0.0/16", encrypted=False))
    await n.on.before(n.step)
    assert n.kernel.take() == []  # it opens: the main table goes first
    await n.on.after(n.step)
    assert n.kernel.take() == [f"{A} throw", "10.0.0.0/16 gone", "no rule", f"{A} gone"]
    n.unavailable = ""
    n.has_device()
    assert f"{A} throw" in await n.apply()
    assert n.kernel.rule


# ---------------------------------------------------------------- any path

moves = st.lists(
    st.tuples(
        st.sampled_from(("net", "gone", "withdraw", "publish", "rekey", "twice", "answer", "fail")),
        st.sampled_from(("a", "b", "c")),
        st.sampled_from((A, B, C)),
        st.booleans(),
    ),
    max_size=20,
)


@hypothesis_settings(deadline=None)
@given(moves)
async def test_no_path_leaks(moves) -> None:
    """In a strict mesh nothing at all ever goes in clear: `FakeKernel.check` looks each time."""
    n = await settled(*node("a", A), *node("b", B), *node("c", C), strict=True, ready=ALL)
    owned = {A, B, C}
    for move, name, net, applied in moves:
        n.kernel.fails = [f"+ {name}"] if move == "fail" else []
        if move == "answer":
            for k in list(n.kernel.peers):
                n.kernel.answers(k)
            await n.peers.look()
        elif move == "gone":
            owned.discard(net)
            n.kernel.may_be_clear.add(net)
            n.told(*gone(net))
        else:
            owned |= {net} if move == "net" else set()
            n.told(_update(move, name, net))
        if applied:
            await n.apply()
            n.kernel.may_be_clear -= owned & n.kernel.routes.keys()
    n.kernel.fails = []
    n.told(*node("a", A), *node("b", B), *node("c", C))
    await n.settle(*ALL)
    assert n.kernel.routes == {A: "device", B: "device", C: "device"}


def _update(move: str, name: str, net: str) -> Any:
    if move == "net":
        return behind(name, net)[0]
    if move == "withdraw":
        return end(name, "")
    if move == "rekey":
        return end(name, key("x"))
    return end(name, key("a") if move == "twice" else None)
