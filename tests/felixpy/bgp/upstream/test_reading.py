"""From manifests to the cluster as the routers see it, and the command that does it all."""

from __future__ import annotations

import json
import re
from argparse import ArgumentParser, Namespace
from pathlib import Path

import pytest
from msgspec import structs

from calc_graph.bgp.resources import (
    BgpConfiguration,
    BgpConfigurationKey,
    BgpPeer,
    BgpPeerKey,
    BlockAffinity,
    BlockAffinityKey,
    SecretRef,
)
from calc_graph.model import IpPool, IpPoolKey, Node, NodeKey
from felixpy import exits, log
from felixpy.bgp.upstream.model import Member, Peering, Pool
from felixpy.bgp.upstream.reading import read_cluster
from felixpy.commands.bgp import upstream

SECRET = SecretRef("bgp-secrets", "tor")
VALUES = {
    IpPoolKey("p4"): IpPool("10.65.0.0/16", block_size=28),
    IpPoolKey("p6"): IpPool("fd65::/48"),
    IpPoolKey("quiet"): IpPool("10.66.0.0/24", bgp_export=False, block_size=20),
    NodeKey("n1"): Node(ipv4="10.0.0.1/24", bgp_ipv4="10.0.0.1/24"),
    NodeKey("n2"): Node(ipv4="10.0.1.2/24", bgp_ipv4="10.0.1.2/24", as_number=64600),
    NodeKey("n3"): Node(ipv4="10.0.0.3/24", bgp_ipv4="10.0.0.3/24"),
    BgpConfigurationKey("default"): BgpConfiguration(
        service_cidrs=("10.96.0.0/12", "10.200.0.0/16"), advertised_cidrs=("10.96.0.0/12",)
    ),
    BgpPeerKey("tor"): BgpPeer(
        address="10.0.0.254", as_number=65001, password=SECRET, ttl_security=1, node="n1"
    ),
    BgpPeerKey("far"): BgpPeer(address="10.0.0.254", as_number=65001, node="n2"),
    BlockAffinityKey("n1", "10.65.1.0/28"): BlockAffinity(),
    BlockAffinityKey("n1", "10.65.2.0/28"): BlockAffinity("pendingDeletion"),
    BlockAffinityKey("n1", "10.65.3.0/28"): BlockAffinity("pending"),
    BlockAffinityKey("n2", "10.66.0.0/28"): BlockAffinity(),
}


def test_nodes_with_what_they_may_announce_and_whom_they_peer_with():
    found = read_cluster(VALUES)
    assert found.pools == (
        Pool("10.65.0.0/16", (28,)),
        Pool("10.66.0.0/24", (26,), exported=False),  # no block is larger than its pool
        Pool("fd65::/48", (122,)),
    )
    assert found.services == ("10.96.0.0/12", "10.200.0.0/16")
    services = ("10.96.0.0/12",)
    near = Peering(4, "10.0.0.1", 64512, "10.0.0.254", 65001, 1, direct=True, password=SECRET)
    far = Peering(4, "10.0.1.2", 64600, "10.0.0.254", 65001)
    # what a node gives back it may announce until it is gone; what is not exported, never
    assert found.members == (
        Member("n1", ("10.65.1.0/28", "10.65.2.0/28"), services, peerings=(near,)),
        Member("n2", (), services, peerings=(far,)),
        Member("n3", (), services),
    )


def test_without_a_mesh_the_routers_are_the_fabric():
    values = {**VALUES, BgpConfigurationKey("default"): BgpConfiguration(mesh=False)}
    assert all(member.fabric for member in read_cluster(values).members)


def test_a_peer_that_is_a_node_is_nobody_outside():
    """And with one among the nodes, the routers are not all that connects them."""
    values = {
        **VALUES,
        BgpConfigurationKey("default"): BgpConfiguration(mesh=False),
        BgpPeerKey("inside"): BgpPeer(address="10.0.0.3", as_number=64512),
    }
    found = {member.name: member for member in read_cluster(values).members}
    assert {peering.router_address for peering in found["n1"].peerings} == {"10.0.0.254"}
    assert not found["n1"].fabric
    assert not found["n3"].fabric


def test_only_the_nodes_that_matter_are_asked_for_their_peers():
    whole, part = read_cluster(VALUES), read_cluster(VALUES, ("n1",))
    assert part.members[0] == whole.members[0]
    assert part.members[1] == structs.replace(whole.members[1], peerings=())


MANIFESTS = """\
apiVersion: projectcalico.org/v3
kind: IPPool
metadata: {name: p4}
spec: {cidr: 10.65.0.0/16}
---
apiVersion: projectcalico.org/v3
kind: BGPPeer
metadata: {name: tor}
spec:
  peerIP: 10.0.0.254
  asNumber: 65001
  password: {secretKeyRef: {name: bgp-secrets, key: tor}}
---
apiVersion: projectcalico.org/v3
kind: Node
metadata: {name: n1}
spec: {bgp: {ipv4Address: 10.0.0.1/24}}
"""


@pytest.fixture
def ask(tmp_path: Path):
    manifests = tmp_path / "manifests"
    manifests.mkdir()
    config = tmp_path / "felixpy.cfg"
    config.write_text(f"[global]\nDatastoreType = file\nDatastorePath = {manifests}\n")

    def run(text: str, *words: str) -> int:
        log.set_up(screen="ERROR")  # as the command line does
        (manifests / "all.yaml").write_text(text)
        parser = ArgumentParser()
        upstream.add_arguments(parser)
        parser.add_argument("--json", action="store_true")
        return upstream.run(parser.parse_args(words, namespace=Namespace(config=config)))

    return run


def test_the_command_prints_what_can_be_pasted(ask, capsys):
    assert ask(MANIFESTS, "--role", "tor", "--vendor", "frr") == exits.OK
    printed = capsys.readouterr().out
    assert printed.startswith("! felixpy bgp upstream --role tor --exact\n")
    assert "router bgp" not in printed
    assert ask(MANIFESTS, "--role", "tor", "--vendor", "frr", "--sessions", "--json") == exits.OK
    found = json.loads(capsys.readouterr().out)
    assert found["mode"] == "exact"
    assert found["nodes"] == ["n1"]
    assert "\nrouter bgp 65001\n" in found["text"]


WRONG = [
    ("no node", MANIFESTS, ("--node", "n7"), "felixpy: there is no node n7"),
    ("no pools", MANIFESTS.split("---", 1)[1], (), "felixpy: there is no IPPool"),
    ("a bad pool", MANIFESTS.replace("10.65.0.0/16", "10.65.0.0/66"), (), "cidr"),
]


@pytest.mark.parametrize(
    ("text", "words", "why"), [case[1:] for case in WRONG], ids=[case[0] for case in WRONG]
)
def test_what_is_wrong_is_said_and_nothing_printed(ask, capsys, text, words, why):
    assert ask(text, "--role", "tor", "--vendor", "bird", *words) == exits.REFUSED
    said = capsys.readouterr()
    assert why in said.err
    assert not re.search("^(define|#)", said.out, re.MULTILINE)
