"""BGP's graph: whatever the path, the end is what a fresh graph says, and what plain words say.

The plain interpretation goes through all BGPPeers in the order of Calico's passes and through all
endpoints of all nodes; it shares with the graph the parser of selectors, and nothing else.
"""

from __future__ import annotations

from ipaddress import ip_address, ip_network
from random import Random
from typing import TypeAlias

from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import Struct

from calc_graph.bgp.graph import BgpGraph
from calc_graph.bgp.resources import (
    BgpConfiguration,
    BgpConfigurationKey,
    BgpFilter,
    BgpFilterKey,
    BgpPeer,
    BgpPeerKey,
    BlockAffinity,
    BlockAffinityKey,
    FilterRule,
)
from calc_graph.bgp.updates import BgpFaults
from calc_graph.model import (
    Block,
    BlockKey,
    IpPool,
    IpPoolKey,
    Key,
    Node,
    NodeKey,
    Profile,
    ProfileKey,
    Value,
    WorkloadEndpoint,
    WorkloadEndpointKey,
)
from calc_graph.selector import SelectorError, parse
from tests.calc_graph.bgp.told import HOST, Told, told

State: TypeAlias = dict[Key, Value]

# ---------------------------------------------------------------- a small world, full of collisions

NODES = [HOST, "n2", "n3"]
BLOCKS = ["10.65.0.0/26", "10.65.0.64/26", "10.66.0.0/26", "fd65::/122"]
ADDRESSES = ["10.65.0.1/32", "10.65.0.65/32", "10.66.0.1/32", "10.9.0.1/32", "fd65::1/128"]
SELECTORS = ["", "", "all()", "rack == 'a'", "has(rr)", "rack ==", "!has(rack)"]

names = st.sampled_from(NODES)
flags = st.booleans()
rarely = st.sampled_from([False, False, False, True])
as_numbers = st.sampled_from([0, 64512, 65001])
ports = st.sampled_from([0, 0, 179, 1790])
labels = st.dictionaries(st.sampled_from(["rack", "rr"]), st.sampled_from(["a", "b"]))

nodes = st.builds(
    Node,
    bgp_ipv4=st.sampled_from(["10.0.0.1/24", "10.0.0.2/24", "10.0.0.10/24", ""]),
    bgp_ipv6=st.sampled_from(["fd00::1/64", "fd00::2/64", ""]),
    labels=labels,
    as_number=as_numbers,
    cluster_id=st.sampled_from(["", "", "1.1.1.1", "2.2.2.2"]),
    vxlan_address=st.sampled_from(["", "10.65.0.1", "10.9.0.1"]),
    wireguard_address_v6=st.sampled_from(["", "fd65::2"]),
)
peers = st.builds(
    BgpPeer,
    node=st.sampled_from(["", "", "", *NODES]),
    node_selector=st.sampled_from(SELECTORS),
    address=st.sampled_from(
        ["10.0.0.2", "", "10.0.0.1", "10.0.0.2", "10.0.0.254", "fd00::2", "10.65.0.1"]
    ),
    port=ports,
    peer_selector=st.sampled_from(SELECTORS),
    workload_selector=st.sampled_from(["", "", "", "", "all()", "rack == 'a'"]),
    as_number=as_numbers,
    local_as=st.sampled_from([0, 0, 65010]),
    next_hop=st.sampled_from(["auto", "keep-ebgp"]),
    filters=st.sampled_from([(), ("f1",), ("f1", "f2")]),
    mirrored=st.sampled_from([True, True, False]),
)
# Most of what the strategy above makes has two remote sides, or none.
sound_peers = peers.filter(
    lambda peer: (
        len([*filter(None, (peer.address, peer.peer_selector, peer.workload_selector))]) == 1
    )
)
configurations = st.builds(
    BgpConfiguration,
    mesh=st.sampled_from([None, True, False]),
    as_number=as_numbers,
    listen_port=ports,
    service_cidrs=st.sampled_from([(), ("10.96.0.0/12",)]),
    program_routes=st.sampled_from([None, "Enabled", "Disabled"]),
)
workloads = st.builds(
    WorkloadEndpoint,
    interface=st.just("cali1"),
    nets=st.lists(st.sampled_from(ADDRESSES), max_size=2, unique=True).map(tuple),
    labels=labels,
    profiles=st.sampled_from([(), ("p",)]),
)
pools = st.builds(
    IpPool,
    cidr=st.sampled_from(["10.65.0.0/16", "10.64.0.0/14", "10.65.0.64/26", "fd65::/64"]),
    ipip_mode=st.sampled_from(["never", "always"]),
    bgp_export=st.sampled_from([True, True, False]),
)
blocks = st.builds(
    Block,
    host=st.sampled_from(["", *NODES]),
    others=st.lists(
        st.tuples(
            st.sampled_from(["10.65.0.2/32", "fd65::2/128"]), st.sampled_from([*NODES, "n4"])
        ),
        max_size=2,
        unique=True,
    ).map(lambda found: tuple(sorted(found))),
)


def pairs(
    keys: st.SearchStrategy[Key], values: st.SearchStrategy[Value]
) -> st.SearchStrategy[tuple[Key, Value | None]]:
    return st.tuples(keys, st.one_of(values, values, values, st.none()))


updates = st.one_of(
    pairs(st.builds(NodeKey, st.sampled_from(["n2", "n3"])), nodes),
    pairs(st.builds(NodeKey, names), nodes),
    pairs(st.builds(BgpPeerKey, st.sampled_from(["a", "b", "c"])), sound_peers),
    pairs(st.builds(BgpPeerKey, st.sampled_from(["a", "b", "c"])), sound_peers),
    pairs(st.builds(BgpPeerKey, st.sampled_from(["a", "b"])), peers),
    pairs(
        st.builds(
            BgpConfigurationKey, st.sampled_from(["default", "default", "node.n1", "node.n2", "x"])
        ),
        configurations,
    ),
    pairs(
        st.builds(BgpFilterKey, st.sampled_from(["f1", "f2"])),
        st.builds(BgpFilter, st.sampled_from([(), (FilterRule(accept=True),)])),
    ),
    pairs(
        st.builds(BlockAffinityKey, names, st.sampled_from(BLOCKS)),
        st.builds(
            BlockAffinity, st.sampled_from(["confirmed", "confirmed", "pending", "pendingDeletion"])
        ),
    ),
    pairs(st.builds(BlockKey, st.sampled_from(BLOCKS)), blocks),
    pairs(
        st.builds(
            WorkloadEndpointKey,
            names,
            st.just("k8s"),
            st.sampled_from(["p/w1", "p/w2"]),
            st.just("eth0"),
        ),
        workloads,
    ),
    pairs(st.just(ProfileKey("p")), st.builds(Profile, labels=labels)),
    pairs(st.builds(IpPoolKey, st.sampled_from(["p1", "p2", "p3"])), pools),
)


class Flush(Struct, frozen=True):
    pass


class InSync(Struct, frozen=True):
    pass


Step: TypeAlias = tuple[Key, Value | None] | Flush | InSync


def mesh_of_three() -> list[Step]:
    return [
        *(
            (NodeKey(name), Node(bgp_ipv4=f"10.0.0.{i}/24", bgp_ipv6=f"fd00::{i}/64"))
            for i, name in enumerate(NODES, 1)
        ),
        (IpPoolKey("p1"), IpPool("10.64.0.0/14")),
        (IpPoolKey("p2"), IpPool("fd65::/64")),
        InSync(),
        Flush(),
    ]


def busy() -> list[Step]:
    """Something of each kind, so that each later step has something to move."""
    here = WorkloadEndpointKey(HOST, "k8s", "p/w1", "eth0")
    there = WorkloadEndpointKey("n2", "k8s", "p/w1", "eth0")
    return [
        *mesh_of_three(),
        (BgpPeerKey("a"), BgpPeer(address="10.0.0.2", as_number=64512)),
        (BgpPeerKey("b"), BgpPeer(node_selector="!has(rack)", peer_selector="all()")),
        (BgpPeerKey("c"), BgpPeer(workload_selector="rack == 'a'", as_number=65001)),
        (here, WorkloadEndpoint("cali1", ("10.65.0.1/32",), profiles=("p",))),
        (there, WorkloadEndpoint("cali1", ("10.65.0.65/32",))),
        (ProfileKey("p"), Profile(labels={"rack": "a"})),
        (BlockKey("10.66.0.0/26"), Block("n3", (("10.66.0.2/32", "n4"),))),
        *((BlockAffinityKey(n, b), BlockAffinity()) for n, b in zip(NODES, BLOCKS, strict=False)),
        Flush(),
    ]


# A choice of its own: among the many kinds of updates a flush would come up too rarely.
after: st.SearchStrategy[list[Step]] = st.sampled_from(
    [[], [Flush()], [Flush()], [InSync(), Flush()], [InSync()]]
)
steps = st.builds(
    lambda start, then: [*start, *(step for update, more in then for step in (update, *more))],
    st.sampled_from([busy(), busy(), busy(), mesh_of_three(), []]),
    st.lists(st.tuples(updates, after), min_size=15, max_size=40),
)

# ---------------------------------------------------------------- the plain interpretation


def of_kind(state: State, kind: type) -> dict:
    return {key: value for key, value in state.items() if isinstance(key, kind)}


def inside(net: str, around: str) -> bool:
    a, b = ip_network(net), ip_network(around)
    return a.version == b.version and a.subnet_of(b)  # type: ignore[arg-type]


def expected_nets(state: State, name: str) -> set[str]:
    own = {
        key.cidr: value.state
        for key, value in of_kind(state, BlockAffinityKey).items()
        if key.host == name
    }
    confirmed = {cidr for cidr, found in own.items() if found == "confirmed"}
    singles = {
        net
        for key, value in of_kind(state, WorkloadEndpointKey).items()
        if key.host == name
        for net in value.nets
    }
    for value in of_kind(state, BlockKey).values():
        singles |= {address for address, node in value.others if node == name}
    node = state.get(NodeKey(name))
    if isinstance(node, Node):
        for address in (node.vxlan_address, node.wireguard_address_v6):
            if address:
                singles.add(str(ip_network(address)))
    outside = {net for net in singles if not any(inside(net, block) for block in confirmed)}
    return {net for net in confirmed | outside if exported(state, net)}


def exported(state: State, net: str) -> bool:
    found: dict[str, list[tuple[str, IpPool]]] = {}
    for key, pool in of_kind(state, IpPoolKey).items():
        found.setdefault(pool.cidr, []).append((key.name, pool))
    around = [
        min(named, key=lambda pair: pair[0])[1]
        for cidr, named in found.items()
        if inside(net, cidr)
    ]
    return bool(around) and all(pool.bgp_export for pool in around)


class World:
    """Answers that Calico's confd looks up, from the state."""

    def __init__(self, state: State) -> None:
        self.state = state
        self.nodes: dict[str, Node] = {
            key.name: value for key, value in of_kind(state, NodeKey).items()
        }

    def configuration(self, name: str) -> BgpConfiguration:
        found = self.state.get(BgpConfigurationKey(name))
        return found if isinstance(found, BgpConfiguration) else BgpConfiguration()

    def address(self, name: str, family: int) -> str:
        node = self.nodes.get(name, Node())
        return (node.bgp_ipv4 if family == 4 else node.bgp_ipv6).split("/")[0]

    def as_number(self, name: str) -> int:
        own = self.nodes[name].as_number if name in self.nodes else 0
        return own or self.configuration("default").as_number or 64512

    def port(self, name: str) -> int:
        own = self.configuration(f"node.{name}").listen_port
        return own or self.configuration("default").listen_port

    def at(self, address: str) -> list[str]:
        """Sorted; the first is believed to have it."""
        version = ip_address(address).version
        return sorted(name for name in self.nodes if self.address(name, version) == address)

    def ends(self, name: str) -> list[tuple[str, str]]:
        """What sessions with this node can be about: its name and address, per family."""
        return [
            (name, address)
            for family in (4, 6)
            if name != HOST
            and (address := self.address(name, family))
            and self.address(HOST, family)
            and self.at(address)[0] == name
            and HOST not in self.at(address)
        ]

    def matches(self, selector: str, name: str) -> bool:
        return name in self.nodes and parse(selector).matches(self.nodes[name].labels)

    def local(self, peer: BgpPeer, name: str) -> bool:
        if peer.node_selector:
            labels = self.nodes[name].labels if name in self.nodes else {}
            return parse(peer.node_selector).matches(labels)
        return peer.node in ("", name)


def sound(peer: BgpPeer) -> bool:
    remotes = [*filter(None, (peer.address, peer.peer_selector, peer.workload_selector))]
    if len(remotes) != 1 or (peer.node and peer.node_selector):
        return False
    if (peer.peer_selector and peer.as_number) or (peer.workload_selector and not peer.as_number):
        return False
    try:
        parse(peer.node_selector)
        parse(peer.peer_selector)
    except SelectorError:
        return False
    return True


Asked: TypeAlias = dict[tuple[str, int], tuple[str, str, str, int]]  # kind, resource, remote, AS


def forward(world: World, name: str, peer: BgpPeer, asked: Asked) -> None:
    kind = "node" if peer.node or peer.node_selector else "global"
    if not world.local(peer, HOST):
        return
    if peer.peer_selector:
        for remote in sorted(world.nodes):
            if world.matches(peer.peer_selector, remote):
                for node, address in world.ends(remote):
                    port = world.port(node)
                    found = (kind, name, node, world.as_number(node))
                    asked.setdefault((address, port or 179), found)
    elif peer.address:
        own = world.address(HOST, ip_address(peer.address).version)
        if own in ("", peer.address):
            return
        at = [
            node
            for node in world.at(peer.address)
            if not peer.port or peer.port == (world.port(node) or 179)
        ]
        remote = at[0] if at else ""
        as_number = peer.as_number or (world.as_number(remote) if remote else 0)
        if as_number:
            found = (kind, name, remote, as_number)
            port = peer.port
            if not port and remote and world.as_number(remote) == as_number:
                port = world.port(remote)
            asked.setdefault((peer.address, port or 179), found)
    else:
        forward_workloads(world, name, peer, asked)


def forward_workloads(world: World, name: str, peer: BgpPeer, asked: Asked) -> None:
    for key, value in sorted(of_kind(world.state, WorkloadEndpointKey).items()):
        found = dict(value.labels)
        for profile_name in value.profiles:
            profile = world.state.get(ProfileKey(profile_name))
            found = (profile.labels if isinstance(profile, Profile) else {}) | found
        if key.host != HOST or not parse(peer.workload_selector).matches(found):
            continue
        for family in (4, 6):
            addresses = [net.split("/")[0] for net in value.nets]
            of_family = [a for a in addresses if ip_address(a).version == family]
            own = world.address(HOST, family)
            if of_family and own not in ("", of_family[0]):
                session = ("workload", name, "", peer.as_number)
                asked.setdefault((of_family[0], 179), session)


def backward(world: World, name: str, peer: BgpPeer, asked: Asked) -> None:
    if not peer.mirrored or peer.workload_selector or HOST not in world.nodes:
        return
    families: tuple[int, ...] = (4, 6)
    if peer.peer_selector:
        if not world.matches(peer.peer_selector, HOST):
            return
    else:
        families = (ip_address(peer.address).version,)
        as_number = peer.as_number or world.configuration("default").as_number or 64512
        if (
            world.address(HOST, families[0]) != peer.address
            or as_number != world.as_number(HOST)
            or peer.port not in (0, world.port(HOST) or 179)
        ):
            return
    for remote in sorted(world.nodes):
        if world.local(peer, remote):
            for node, address in world.ends(remote):
                if ip_address(address).version in families:
                    found = ("node", name, node, peer.local_as or world.as_number(node))
                    asked.setdefault((address, world.port(node) or 179), found)


def expected_sessions(state: State) -> Asked:
    world, asked = World(state), Asked()
    found = sorted(
        (key.name, value) for key, value in of_kind(state, BgpPeerKey).items() if sound(value)
    )
    for everywhere in (True, False):
        for name, peer in found:
            if everywhere == (not peer.node and not peer.node_selector):
                forward(world, name, peer, asked)
    for name, peer in found:
        backward(world, name, peer, asked)
    own = world.nodes.get(HOST, Node())
    if world.configuration("default").mesh is not False and not own.cluster_id:
        for remote in sorted(world.nodes):
            if not world.nodes[remote].cluster_id:
                for node, address in world.ends(remote):
                    key = (address, world.port(node) or 179)
                    asked.setdefault(key, ("mesh", "", node, world.as_number(node)))
    return asked


def check_against_interpretation(state: State, found: Told) -> None:
    keys = [(each.address, each.port or 179) for each in found.sessions.values()]
    assert len(set(keys)) == len(keys)
    sessions = {
        key: (each.kind, each.resource, each.remote, each.remote_as)
        for key, each in zip(keys, found.sessions.values(), strict=True)
    }
    assert sessions == expected_sessions(state)
    for name in (*NODES, "n4"):
        nets = found.origins[name].nets if name in found.origins else ()
        assert set(nets) == expected_nets(state, name)
        assert list(nets) == sorted(nets, key=lambda net: (":" in net, ip_network(net)))
    assert found.filters == {key.name: value for key, value in of_kind(state, BgpFilterKey).items()}


# ---------------------------------------------------------------- the properties


def walk(path: list[Step], *, strictly: bool = False) -> tuple[State, Told, BgpGraph]:
    """The state at the end of the path, and what a consumer was told on the way.

    Strictly: after each flush it is compared, for much of what comes later has all sessions
    computed anew.
    """
    graph, found, state, in_sync = BgpGraph(HOST), Told(), State(), False
    for step in path:
        match step:
            case Flush():
                updates = graph.flush()
                assert in_sync or not updates
                found.play(updates)
                if strictly and in_sync:
                    assert found.state() == told(state).state()
            case InSync():
                graph.in_sync()
                in_sync = True
            case (key, value):
                graph.update(key, value)
                # Moved to the end, so that the order differs between paths to one state.
                state.pop(key, None)
                if value is not None:
                    state[key] = value
    graph.in_sync()
    found.play(graph.flush())
    assert graph.flush() == []
    return state, found, graph


@given(steps)
@settings(max_examples=60, deadline=None)
def test_output_depends_on_the_state_not_on_the_path(path: list[Step]) -> None:
    state, found, graph = walk(path, strictly=True)
    assert found.state() == told(state).state()
    check_against_interpretation(state, found)
    anew = Told()
    # A replay says so too if there are no faults; this consumer takes that for granted.
    anew.play(each for each in graph.replay() if each != BgpFaults())
    assert anew.state() == found.state()


@given(steps, st.randoms(use_true_random=False))
@settings(max_examples=40, deadline=None)
def test_a_resync_in_any_order_says_nothing_new(path: list[Step], random: Random) -> None:
    state, _, graph = walk(path)
    again = list(state.items())
    random.shuffle(again)
    for key, value in again:
        graph.update(key, value)
    graph.in_sync()
    assert graph.flush() == []


@given(steps)
@settings(max_examples=40, deadline=None)
def test_everything_gone_is_nothing_left(path: list[Step]) -> None:
    graph, found = BgpGraph(HOST), Told()
    graph.in_sync()
    keys: dict[Key, None] = {}
    for step in path:
        if isinstance(step, tuple):
            graph.update(*step)
            keys[step[0]] = None
        else:
            found.play(graph.flush())
    for key in keys:
        graph.update(key, None)
        found.play(graph.flush())
    found.play(graph.flush())
    assert found.state() == told({}).state()
