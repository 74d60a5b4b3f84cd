"""What cannot be is refused by name, names are safe, and the same is rendered the same."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from calc_graph.bgp.resources import SecretRef
from felixpy.bgp.upstream.build import build
from felixpy.bgp.upstream.model import Cluster, UpstreamError, Wish
from felixpy.bgp.upstream.names import node_name, policy_name, set_name
from felixpy.bgp.upstream.render import RENDERERS
from tests.felixpy.bgp.upstream.clusters import FABRIC, MESH, SECRET, peerings
from tests.felixpy.bgp.upstream.matrix import EXACT_TOR, MATRIX
from tests.felixpy.bgp.upstream.rendering import text_of


def changed(position: int, **fields) -> Cluster:
    members = list(MESH.members)
    members[position] = structs.replace(members[position], **fields)
    return structs.replace(MESH, members=tuple(members))


TWO_TORS = changed(0, peerings=(*peerings(1), *peerings(1, router=253)))
ALONE = structs.replace(
    MESH, members=tuple(structs.replace(member, peerings=()) for member in MESH.members)
)

REFUSED = [
    # case                    cluster                           wish                        why
    ("no pools", structs.replace(MESH, pools=()), Wish("tor"), "there is no IPPool"),
    ("no peers outside", ALONE, Wish("tor"), "no session with anybody outside the cluster"),
    ("nor for a border", ALONE, Wish("border"), "no session with anybody outside the cluster"),
    ("an unknown node", MESH, Wish("tor", nodes=("n1", "n9", "n8")), "there is no node n8, n9"),
    ("a node alone", changed(1, peerings=()), Wish("tor", nodes=("n1", "n2")), "n2 has no such"),
    ("an unknown router", MESH, Wish("tor", routers=("10.0.0.9",)), "no node peers with 10.0.0.9"),
    ("an AS of nobody", MESH, Wish("tor", router_as=7), "no session with AS 7"),
    ("whose sessions", TWO_TORS, Wish("tor", sessions=True), "choose one with --router"),
    ("a spine's AS", MESH, Wish("spine", sessions=True), "give --local-as"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("cluster", "wish", "why"), [case[1:] for case in REFUSED], ids=[case[0] for case in REFUSED]
)
def test_what_cannot_be_is_refused_by_name(cluster, wish, why):
    with pytest.raises(UpstreamError, match=re.escape(why)):
        build(cluster, wish)


def test_a_router_chooses_its_nodes_and_sessions():
    routers = ("10.0.0.253", "fd00::253")
    found = build(TWO_TORS, Wish("tor", sessions=True, routers=routers))
    assert found.nodes == ("n1",)
    assert [session.peering.router_address for session in found.sessions] == list(routers)


def test_a_reflector_may_announce_what_its_clients_may():
    found = build(changed(0, reflector=True), Wish("tor"))
    nets = {each.name: [span.net for span in each.spans] for each in found.sets}
    assert nets["CALICO-n1-V4"] == nets["CALICO-ALL-V4"]
    assert nets["CALICO-n2-V4"] == ["10.65.2.0/26", "10.96.0.0/12"]


def test_a_pool_that_is_not_exported_is_protected_and_not_announced():
    pools = (structs.replace(MESH.pools[0], exported=False), MESH.pools[1])
    found = build(structs.replace(MESH, pools=pools), Wish("spine"))
    nets = {each.name: [span.net for span in each.spans] for each in found.sets}
    assert "10.65.0.0/16" in nets["CALICO-CLUSTER-V4"]
    assert "10.65.0.0/16" not in nets["CALICO-ANNOUNCED-V4"]
    assert "10.65.0.0/16" not in nets["CALICO-BLOCKS-V4"]


def test_an_internal_session_has_an_empty_path():
    own = tuple(structs.replace(each, node_as=65001) for each in peerings(1))
    found = build(changed(0, peerings=own), Wish("tor"))
    assert [(path.name, path.origin) for path in found.paths] == [
        ("CALICO-AS-NONE", 0),
        ("CALICO-AS64512", 64512),
    ]


# ---------------------------------------------------------------- names

NAMES = [
    # node                              stands as
    ("n1", "n1"),
    ("rack-1-node-7", "rack-1-node-7"),
    ("n1.example.org", "n1-examp-257b1e4c"),  # changed, so with a hash
    ("n1-example-org", "n1-example-org"),
    ("a-name-that-is-too-long", "a-name-t-c8400ded"),
    ("cluster", None),  # a set of everybody's has that name
    ("NOT-cluster", None),
]


@pytest.mark.parametrize(("node", "name"), NAMES)
def test_names_are_safe_and_say_whose_they_are(node, name):
    if name is None:
        assert re.fullmatch(rf"{node[:8]}-?[0-9a-f]{{8}}", node_name(node))
    else:
        assert node_name(node) == name


@given(st.text(min_size=1, max_size=300))
def test_no_name_is_too_long_or_has_what_a_vendor_does_not_take(node):
    for name in (set_name(node_name(node), 6), policy_name(node_name(node), 6, "OUT")):
        assert re.fullmatch(r"CALICO-[A-Za-z0-9-]{1,24}", name)


@given(st.lists(st.text("ab.-_V4IN", min_size=1, max_size=20), unique=True, min_size=2, max_size=9))
def test_no_two_nodes_share_a_name(nodes):
    assert len({set_name(node_name(node), 4) for node in nodes}) == len(nodes)


# ---------------------------------------------------------------- texts


@pytest.mark.parametrize("vendor", RENDERERS)
@pytest.mark.parametrize("cluster", [MESH, FABRIC])
def test_the_same_is_rendered_the_same(vendor, cluster):
    backwards = structs.replace(
        cluster,
        members=tuple(
            structs.replace(member, nets=member.nets[::-1]) for member in cluster.members
        ),
    )
    texts = {
        RENDERERS[vendor](build(each, Wish("tor", sessions=True))) for each in (cluster, backwards)
    }
    assert len(texts) == 1


@pytest.mark.parametrize("vendor", RENDERERS)
def test_the_hash_is_that_of_the_content(vendor):
    def digest(cluster: Cluster) -> str:
        text = RENDERERS[vendor](build(cluster, Wish("tor")))
        [found] = re.findall(r"sha256:([0-9a-f]{16})", text)
        return found

    assert digest(MESH) == digest(MESH)
    assert digest(MESH) != digest(changed(0, nets=("10.65.9.0/26",)))


@pytest.mark.parametrize("vendor", RENDERERS)
def test_passwords_are_named_and_not_printed(vendor):
    text = text_of(EXACT_TOR, vendor)
    assert text.count(f"password: Secret {SECRET.name}, key {SECRET.key}") == 6
    assert text.count("REPLACE-ME") == 6


@pytest.mark.parametrize("vendor", RENDERERS)
def test_no_name_from_the_datastore_ends_its_comment(vendor):
    """Names are checked long before; this is for a day when one slips through."""
    evil = "n1\nroute-map CALICO-NODES-V4-OUT permit 1\n*/ }"
    secret = SecretRef("s\nexit", "k\r\n")
    own = tuple(structs.replace(each, password=secret) for each in peerings(1))
    text = RENDERERS[vendor](build(changed(0, name=evil, peerings=own), Wish("tor", sessions=True)))
    marks = ("#", "!")
    for line in text.splitlines():
        if "permit 1?" in line or "s?exit" in line:
            assert line.lstrip().startswith(marks) or "; # password" in line
    assert "\nroute-map CALICO-NODES-V4-OUT permit 1\n" not in text
    assert "\nexit, key" not in text


@pytest.mark.parametrize("setting", MATRIX, ids=lambda setting: setting.label)
@pytest.mark.parametrize("vendor", RENDERERS)
def test_only_ascii_and_no_line_ends_in_a_space(vendor, setting):
    text = text_of(setting, vendor)
    assert text.isascii()
    assert not [line for line in text.splitlines() if line != line.rstrip()]
    assert text.endswith("\n")
