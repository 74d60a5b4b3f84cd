"""BgpGraph as a whole: its gate, its order, what it lets pass by; and this node's own settings."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from msgspec.structs import replace

from calc_graph.bgp.felix import FelixSettings
from calc_graph.bgp.graph import BgpGraph
from calc_graph.bgp.resources import (
    BgpConfiguration,
    BgpConfigurationKey,
    BgpFilter,
    BgpFilterKey,
    BgpPeer,
    BgpPeerKey,
    NodeStatusKey,
    PrefixCommunities,
    SecretRef,
)
from calc_graph.bgp.updates import (
    BgpFaults,
    BgpFilterRemove,
    BgpFilterUpdate,
    BgpOrigins,
    BgpOriginsRemove,
    BgpPool,
    BgpSession,
    BgpSessionRemove,
    BgpSpeaker,
)
from calc_graph.model import (
    IpPool,
    IpPoolKey,
    Node,
    NodeKey,
    Policy,
    PolicyKey,
    Value,
)
from tests.calc_graph.bgp.told import Told, told

State = Mapping[Any, Value]

N1, N2 = NodeKey("n1"), NodeKey("n2")
ONE = Node(bgp_ipv4="10.0.0.1/24", bgp_ipv6="fd00::1/64")
TWO = Node(bgp_ipv4="10.0.0.2/24")
DEFAULT, OWN = BgpConfigurationKey("default"), BgpConfigurationKey("node.n1")
TOR = BgpPeer(address="10.0.0.254", as_number=65001)


# ---------------------------------------------------------------- the graph


def full() -> BgpGraph:
    graph = BgpGraph("n1")
    graph.update(N1, ONE)
    graph.update(N2, TWO)
    graph.update(BgpFilterKey("f"), BgpFilter())
    graph.update(BgpPeerKey("t"), replace(TOR, filters=("f", "g")))
    return graph


def test_nothing_before_in_sync() -> None:
    graph = full()
    assert graph.flush() == []
    assert graph.replay() == []
    graph.in_sync()
    graph.in_sync()
    assert graph.flush()
    assert graph.flush() == []


def test_what_others_refer_to_comes_first_and_goes_last() -> None:
    graph = full()
    graph.in_sync()
    kinds = [BgpSpeaker, BgpFilterUpdate, BgpOrigins, BgpOrigins, BgpSession, BgpSession, BgpFaults]
    assert [type(each) for each in graph.flush()] == kinds
    assert [type(each) for each in graph.replay()] == kinds
    for key in (N2, BgpFilterKey("f"), BgpPeerKey("t")):
        graph.update(key, None)
    assert graph.flush() == [
        BgpSessionRemove("Global_10_0_0_254"),
        BgpSessionRemove("Mesh_10_0_0_2"),
        BgpOriginsRemove("n2"),
        BgpFilterRemove("f"),
        BgpFaults(),
    ]


def test_the_speaker_is_told_even_when_nothing_is_known() -> None:
    graph = BgpGraph("n1")
    graph.in_sync()
    assert graph.flush() == [BgpSpeaker(node="n1")]
    assert graph.replay() == [BgpSpeaker(node="n1"), BgpFaults()]


def test_what_means_nothing_to_bgp_passes_by() -> None:
    graph = BgpGraph("n1")
    graph.update(PolicyKey("GlobalNetworkPolicy", "", "p"), Policy("default", "all()"))
    graph.update(NodeStatusKey("s"), None)
    graph.in_sync()
    assert graph.flush() == [BgpSpeaker(node="n1")]


@pytest.mark.parametrize("key", [N1, BgpPeerKey("t"), BgpFilterKey("f"), IpPoolKey("p")])
def test_a_key_with_a_value_of_another_kind_is_refused(key) -> None:
    with pytest.raises(TypeError, match="with a value of type Policy"):
        BgpGraph("n1").update(key, Policy("default", "all()"))


# ---------------------------------------------------------------- the speaker

MARKED, OTHERS = PrefixCommunities("10.65.0.0/16", ("1:2",)), PrefixCommunities("::/0", ("3:4",))
SPEAKERS: list[tuple[str, State, dict[str, object]]] = [
    ("addresses", {}, {"address_v4": "10.0.0.1", "address_v6": "fd00::1", "as_number": 64512}),
    ("the cluster's AS", {DEFAULT: BgpConfiguration(as_number=65000)}, {"as_number": 65000}),
    (
        "the node's AS",
        {DEFAULT: BgpConfiguration(as_number=65000), N1: replace(ONE, as_number=65002)},
        {"as_number": 65002},
    ),
    ("a reflector", {N1: replace(ONE, cluster_id="1.1.1.1")}, {"cluster_id": "1.1.1.1"}),
    (
        "what the node's configuration may say",
        {
            DEFAULT: BgpConfiguration(listen_port=1, log="none", prefix_communities=(MARKED,)),
            OWN: BgpConfiguration(listen_port=2, log="debug", prefix_communities=(OTHERS,)),
        },
        {"listen_port": 2, "log": "debug", "communities": (OTHERS,)},
    ),
    (
        "what it does not say",
        {
            DEFAULT: BgpConfiguration(listen_port=1, log="none", prefix_communities=(MARKED,)),
            OWN: BgpConfiguration(),
        },
        {"listen_port": 1, "log": "none", "communities": (MARKED,)},
    ),
    (
        "what it has no say in",
        {OWN: BgpConfiguration(as_number=7, mesh=False, bind_node_address=True)},
        {"as_number": 64512, "bind_node_address": False, "fabric": False},
    ),
    (
        "the cluster's alone",
        {
            DEFAULT: BgpConfiguration(
                bind_node_address=True,
                ignored_interfaces=("eth9",),
                normal_priority_v4=5,
                normal_priority_v6=6,
                service_cidrs=("10.96.0.0/12",),
                advertised_cidrs=("10.96.0.0/16",),
            )
        },
        {
            "bind_node_address": True,
            "ignored_interfaces": ("eth9",),
            "priority_v4": 5,
            "priority_v6": 6,
            "service_cidrs": ("10.96.0.0/12",),
            "advertised_cidrs": ("10.96.0.0/16",),
        },
    ),
]


@pytest.mark.parametrize(("_", "more", "expected"), SPEAKERS, ids=[c[0] for c in SPEAKERS])
def test_the_speaker(_, more, expected) -> None:
    speaker = told({N1: ONE, N2: TWO, **more}).speaker
    assert {name: getattr(speaker, name) for name in expected} == expected


POOLS: State = {
    IpPoolKey("a"): IpPool("10.100.0.0/16"),
    IpPoolKey("b"): IpPool("10.20.0.0/16", vxlan_mode="cross-subnet"),
    IpPoolKey("c"): IpPool("fd65::/48", bgp_export=False),
}
IPIP: State = {IpPoolKey("d"): IpPool("10.30.0.0/16", ipip_mode="always")}
WRITERS: list[tuple[str | None, str | None, bool, list[str]]] = [
    # BIRD                Felix                 in the kernel by BIRD, faults
    (None, None, True, []),
    ("EnabledNoEncapOnly", "EnabledIPIPOnly", True, []),
    ("Disabled", "Enabled", False, []),
    ("Enabled", "Disabled", True, []),
    (None, "Enabled", False, ["without encapsulation to both"]),
    (None, "Disabled", True, ["with IPIP to nobody"]),
    ("Disabled", None, False, ["without encapsulation to nobody"]),
    (
        "Enabled",
        "Enabled",
        False,
        ["with IPIP to both", "without encapsulation to both"],
    ),
]  # fmt: skip


@pytest.mark.parametrize(("bird", "felix", "in_kernel", "faults"), WRITERS)
def test_who_writes_routes_into_the_kernel(bird, felix, in_kernel, faults) -> None:
    settings = FelixSettings() if felix is None else FelixSettings(felix)
    state: State = {DEFAULT: BgpConfiguration(program_routes=bird)}
    found = told({N1: ONE, **POOLS, **state}, felix=settings)
    assert found.speaker.pools == (
        BgpPool("10.20.0.0/16", in_kernel=False),
        BgpPool("10.100.0.0/16", in_kernel=in_kernel),
        BgpPool("fd65::/48", exported=False, in_kernel=in_kernel),
    )
    texts = found.about("BGPConfiguration default")
    assert len(texts) == len(faults)
    for text, part in zip(texts, faults, strict=True):
        assert part in text


@pytest.mark.parametrize(
    ("bird", "advice"),
    [
        ("Enabled", "say EnabledNoEncapOnly here and EnabledIPIPOnly in FelixConfiguration"),
        ("EnabledIPIPOnly", "say Disabled here and Enabled in FelixConfiguration"),
        ("Disabled", None),
    ],
)
def test_bird_does_not_write_routes_into_ipip(bird, advice) -> None:
    state: State = {DEFAULT: BgpConfiguration(program_routes=bird)}
    found = told({N1: ONE, **IPIP, **state}, felix=FelixSettings("Enabled"))
    assert [pool.in_kernel for pool in found.speaker.pools] == [False]
    texts = found.about("BGPConfiguration default")
    assert [text.endswith(advice) for text in texts] == ([True] if advice else [])


@pytest.mark.parametrize(
    ("felix", "faults"),
    [
        (FelixSettings(priority_v4=5), []),
        (FelixSettings(), ["ipv4NormalRoutePriority"]),
        (FelixSettings(priority_v4=5, priority_v6=7), ["ipv6NormalRoutePriority"]),
    ],
)
def test_priorities_have_to_agree(felix, faults) -> None:
    state: State = {N1: ONE, DEFAULT: BgpConfiguration(normal_priority_v4=5)}
    texts = told(state, felix=felix).about("BGPConfiguration default")
    assert [text.partition(" ")[0] for text in texts] == faults


def test_a_bgppeer_that_a_parameter_names_has_to_be_there() -> None:
    named = frozenset({("BGPBfdPeers", "tor"), ("BGPUnguardedPeers", "rr")})
    graph, found = BgpGraph("n1"), Told()
    graph.settle(FelixSettings(named_peers=named))
    graph.update(N1, ONE)
    # one that is for other nodes alone is there too
    elsewhere = BgpPeer(address="10.0.0.254", as_number=65001, node_selector="rack == 'z'")
    graph.update(BgpPeerKey("tor"), elsewhere)
    graph.in_sync()
    found.play(graph.flush())
    assert found.about("BGPBfdPeers") == []
    assert found.about("BGPUnguardedPeers") == ["rr names no BGPPeer"]
    graph.update(BgpPeerKey("rr"), elsewhere)
    graph.update(BgpPeerKey("tor"), None)
    found.play(graph.flush())
    assert found.about("BGPUnguardedPeers") == []
    assert found.about("BGPBfdPeers") == ["tor names no BGPPeer"]
    graph.settle(FelixSettings())
    found.play(graph.flush())
    assert found.about("BGPBfdPeers") == []


def test_parameters_that_change_change_what_follows_from_them() -> None:
    graph, found = BgpGraph("n1"), Told()
    for key, value in {N1: ONE, **POOLS}.items():
        graph.update(key, value)
    graph.in_sync()
    found.play(graph.flush())
    before = found.state()
    graph.settle(FelixSettings("Enabled"))
    found.play(graph.flush())
    assert not any(pool.in_kernel for pool in found.speaker.pools)
    graph.settle(FelixSettings())
    found.play(graph.flush())
    assert found.state() == before


def test_what_a_nodes_configuration_cannot_say_is_told() -> None:
    own = BgpConfiguration(mesh=False, mesh_password=SecretRef("a", "b"), listen_port=9)
    found = told({N1: ONE, OWN: own, BgpConfigurationKey("mine"): BgpConfiguration()})
    assert found.faults == (
        ("BGPConfiguration mine", 'is ignored: its name is not "default" or "node.NAME"'),
        (
            "BGPConfiguration node.n1",
            "ignored, as it counts in BGPConfiguration default alone: nodeToNodeMeshEnabled, "
            "nodeMeshPassword",
        ),
    )


NO_MESH = BgpConfiguration(mesh=False)
FABRICS: list[tuple[str, State, bool]] = [
    ("mesh on", {}, False),
    ("mesh on and alone", {N2: Node()}, False),
    ("mesh off, routers only", {DEFAULT: NO_MESH, BgpPeerKey("t"): TOR}, True),
    (
        "mesh off, a reflector",
        {
            DEFAULT: NO_MESH,
            N2: replace(TWO, cluster_id="1.1.1.1"),
            BgpPeerKey("r"): BgpPeer(peer_selector="all()"),
        },
        False,
    ),
]


@pytest.mark.parametrize(("_", "more", "fabric"), FABRICS, ids=[case[0] for case in FABRICS])
def test_whether_the_routers_outside_connect_the_nodes(_, more, fabric) -> None:
    assert told({N1: ONE, N2: TWO, **more}).speaker.fabric is fabric
