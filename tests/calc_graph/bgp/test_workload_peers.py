"""Which workloads speak BGP with their node, told with the endpoints."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from calc_graph.bgp.resources import (
    BgpConfiguration,
    BgpConfigurationKey,
    BgpPeer,
    BgpPeerKey,
)
from calc_graph.graph import CalcGraph
from calc_graph.model import (
    Key,
    Node,
    NodeKey,
    Profile,
    ProfileKey,
    Value,
    WorkloadEndpoint,
    WorkloadEndpointKey,
)
from calc_graph.updates import WorkloadEndpointUpdate, WorkloadPeering

ADDRESSES = BgpConfiguration(workload_peering_v4="169.254.9.9", workload_peering_v6="fd00::9")
DEFAULT = BgpConfigurationKey("default")


def key(name: str, host: str = "n1") -> WorkloadEndpointKey:
    return WorkloadEndpointKey(host, "k8s", f"ns/{name}", "eth0")


def router(selector: str = "app == 'router'", as_number: int = 65001, **more) -> BgpPeer:
    return BgpPeer(workload_selector=selector, as_number=as_number, **more)


def workload(app: str = "router", *profiles: str) -> WorkloadEndpoint:
    labels = {"app": app} if app else {}
    return WorkloadEndpoint("cali1", ("10.65.0.2/32",), labels=labels, profiles=profiles)


class Told:
    """What the dataplane knows by now."""

    def __init__(self) -> None:
        self.graph = CalcGraph("n1")
        self.graph.in_sync()
        self.peerings: dict[str, WorkloadPeering | None] = {}

    def __call__(self, *changes: tuple[Key, Value | None]) -> dict[str, WorkloadPeering | None]:
        """The workloads told of anew."""
        for change in changes:
            self.graph.update(*change)
        return {
            update.key.workload: update.peering
            for update in self.graph.flush()
            if isinstance(update, WorkloadEndpointUpdate)
        }


@pytest.fixture
def told() -> Told:
    told = Told()
    told((key("a"), workload()), (key("b"), workload("web")), (DEFAULT, ADDRESSES))
    return told


PEERING = WorkloadPeering("tor", "169.254.9.9", "fd00::9")


def test_only_the_workloads_that_a_bgppeer_selects(told: Told) -> None:
    assert told((BgpPeerKey("tor"), router())) == {"ns/a": PEERING}
    assert told((key("b"), workload())) == {"ns/b": PEERING}
    assert told((key("b"), workload("web"))) == {"ns/b": None}
    assert told((BgpPeerKey("tor"), None)) == {"ns/a": None}


def test_the_first_by_name_of_those_that_select_it(told: Told) -> None:
    assert told((BgpPeerKey("tor"), router())) == {"ns/a": PEERING}
    assert told((BgpPeerKey("zoo"), router("all()"))) == {
        "ns/b": WorkloadPeering("zoo", "169.254.9.9", "fd00::9")
    }
    assert told((BgpPeerKey("tor"), None)) == {
        "ns/a": WorkloadPeering("zoo", "169.254.9.9", "fd00::9")
    }


def test_this_node_must_be_on_the_local_side(told: Told) -> None:
    assert told((BgpPeerKey("tor"), router(node_selector="rack == '1'"))) == {}
    assert told((NodeKey("n1"), Node(labels={"rack": "1"}))) == {"ns/a": PEERING}
    assert told((NodeKey("n1"), None)) == {"ns/a": None}
    assert told((BgpPeerKey("tor"), router(node="n2"))) == {}
    assert told((BgpPeerKey("tor"), router(node="n1"))) == {"ns/a": PEERING}


def test_addresses_are_the_clusters(told: Told) -> None:
    told((BgpPeerKey("tor"), router()))
    other = BgpConfiguration(workload_peering_v4="169.254.1.1")
    assert told((DEFAULT, other)) == {"ns/a": WorkloadPeering("tor", "169.254.1.1")}
    assert told((BgpConfigurationKey("node.n1"), ADDRESSES)) == {}
    assert told((DEFAULT, None)) == {"ns/a": WorkloadPeering("tor")}


def test_labels_of_profiles_count(told: Told) -> None:
    told((BgpPeerKey("tor"), router()), (key("c"), workload("", "p")))
    assert told((ProfileKey("p"), Profile(labels={"app": "router"}))) == {"ns/c": PEERING}
    assert told((ProfileKey("p"), None)) == {"ns/c": None}


def test_a_bgppeer_that_means_nothing_selects_nothing(told: Told) -> None:
    for peer in (router("app =="), router(as_number=0), router(address="10.0.0.1")):
        assert told((BgpPeerKey("tor"), peer)) == {}


def test_what_is_told_anew_is_the_same(told: Told) -> None:
    told((BgpPeerKey("tor"), router()))
    replayed = [u for u in told.graph.replay() if isinstance(u, WorkloadEndpointUpdate)]
    assert [update.peering for update in replayed] == [PEERING, None]


# ------------------------------------------------------------ any path leads to the same

CHANGES: list[tuple[Key, list[Value | None]]] = [
    (key("a"), [workload(), workload("web"), workload("", "p"), None]),
    (key("b"), [workload(), workload("", "p"), None]),
    (key("far", "n2"), [workload(), None]),
    (ProfileKey("p"), [Profile(labels={"app": "router"}), Profile(), None]),
    (NodeKey("n1"), [Node(labels={"rack": "1"}), Node(), None]),
    (DEFAULT, [ADDRESSES, BgpConfiguration(), None]),
    (BgpPeerKey("x"), [router(), router("all()", node_selector="rack == '1'"), BgpPeer(), None]),
    (BgpPeerKey("y"), [router("!has(app)"), router(node="n1"), router(node="n2"), None]),
]


def all_told(graph: CalcGraph) -> dict[WorkloadEndpointKey, WorkloadPeering | None]:
    return {u.key: u.peering for u in graph.replay() if isinstance(u, WorkloadEndpointUpdate)}


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_any_path_leads_to_the_same(data: st.DataObject) -> None:
    step = st.sampled_from(range(len(CHANGES))).flatmap(
        lambda n: st.tuples(st.just(CHANGES[n][0]), st.sampled_from(CHANGES[n][1]))
    )
    walked, state = CalcGraph("n1"), dict[Key, Value | None]()
    walked.in_sync()
    for name, value in data.draw(st.lists(step, max_size=25)):
        walked.update(name, value)
        state[name] = value
        if data.draw(st.booleans()):
            walked.flush()
    direct = CalcGraph("n1")
    direct.in_sync()
    for name, value in state.items():
        direct.update(name, value)
    assert all_told(walked) == all_told(direct)
