"""What nodes publish of IPsec: from manifests and from etcd, and back."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from calc_graph.model import IpsecNode, IpsecNodeKey, IpsecPeering
from felixpy.datastore.convert.ipsec import render_ipsec_node
from felixpy.datastore.decode import InvalidResourceError, decode_manifest, decode_stored
from felixpy.datastore.errors import render_path

CHECK = "0123456789abcdef"
BOOT = "0123456789abcdef" * 2
SPEC: dict[str, Any] = {
    "enabled": True,
    "layout": "shared",
    "tag": 1,
    "boot": BOOT,
    "receive": [{"id": 15, "check": CHECK}, {"id": 1, "check": "f" * 16}],
    "peers": [{"node": "n3", "tag": 0xFFFFFF, "sends": 15, "hosts": True}, {"node": "n2"}],
    "ipv4": "192.0.2.1",
    "ipv6": "fd00:0::1",
    "allowClear": True,
    "nodeEncryption": True,
}
NODE = IpsecNode(
    enabled=True,
    layout="shared",
    tag=1,
    boot=BOOT,
    receive={1: "f" * 16, 15: CHECK},
    peers={"n2": IpsecPeering(), "n3": IpsecPeering(0xFFFFFF, 15, hosts=True)},
    ipv4="192.0.2.1",
    ipv6="fd00::1",
    allow_clear=True,
    node_encryption=True,
)


def manifest(spec: dict[str, Any], name: str = "n1") -> dict[str, Any]:
    return {
        "apiVersion": "felixpy/v1",
        "kind": "IPsecNode",
        "metadata": {"name": name},
        "spec": spec,
    }


def stored(spec: dict[str, Any], name: str = "n1") -> Any:
    return decode_stored("IPsecNode", "", name, msgspec.json.encode(manifest(spec, name)))


def test_a_record_whole() -> None:
    expected = ((IpsecNodeKey("n1"), NODE),)
    assert decode_manifest(manifest(SPEC)).changes == stored(SPEC) == expected


def test_one_that_says_nothing() -> None:
    nothing = ((IpsecNodeKey("n1"), IpsecNode()),)
    assert decode_manifest(manifest({})).changes == stored({}) == nothing


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"tag": 0}, "spec.tag"),
    ({"tag": -1}, "spec.tag"),
    ({"tag": 0x1000000}, "spec.tag"),
    ({"tag": True}, "spec.tag"),
    ({"boot": ""}, "spec.boot"),
    ({"boot": BOOT.upper()}, "spec.boot"),
    ({"boot": BOOT[1:]}, "spec.boot"),
    ({"boot": f"{BOOT}\n"}, "spec.boot"),
    ({"layout": "mesh"}, "spec.layout"),
    ({"enabled": "yes"}, "spec.enabled"),
    ({"ipv4": "fd00::1"}, "spec.ipv4"),
    ({"ipv6": "192.0.2.1"}, "spec.ipv6"),
    ({"ipv4": "192.0.2.1/24"}, "spec.ipv4"),
    ({"ipv6": "fe80::1%eth0"}, "spec.ipv6"),
    ({"receive": [{"id": 0, "check": CHECK}]}, "spec.receive[0].id"),
    ({"receive": [{"id": 16, "check": CHECK}]}, "spec.receive[0].id"),
    ({"receive": [{"id": 3}]}, "spec.receive[0].check"),
    ({"receive": [{"check": CHECK}]}, "spec.receive[0].id"),
    ({"receive": [{"id": 3, "check": CHECK[1:]}]}, "spec.receive[0].check"),
    ({"receive": [{"id": 3, "check": CHECK.upper()}]}, "spec.receive[0].check"),
    ({"receive": [{"id": 3, "check": CHECK}] * 2}, "spec.receive[1].id"),
    ({"receive": {"3": CHECK}}, "spec.receive"),
    ({"peers": [{"node": "n2", "tag": 0x1000000}]}, "spec.peers[0].tag"),
    ({"peers": [{"node": "n2", "sends": 16}]}, "spec.peers[0].sends"),
    ({"peers": [{"node": "n2", "hosts": 1}]}, "spec.peers[0].hosts"),
    ({"peers": [{"tag": 1}]}, "spec.peers[0].node"),
    ({"peers": [{"node": ""}]}, "spec.peers[0].node"),
    ({"peers": [{"node": "../n2"}]}, "spec.peers[0].node"),
    ({"peers": [{"node": "n2\n"}]}, "spec.peers[0].node"),
    ({"peers": [{"node": "n" * 254}]}, "spec.peers[0].node"),
    ({"peers": [{"node": "n2"}, {"node": "n2"}]}, "spec.peers[1].node"),
]


@pytest.mark.parametrize(("change", "path"), REFUSED)
def test_what_makes_no_sense_is_refused_wherever_it_stands(
    change: dict[str, Any], path: str
) -> None:
    with pytest.raises(InvalidResourceError) as in_etcd:
        stored(SPEC | change)
    with pytest.raises(InvalidResourceError) as in_a_file:
        decode_manifest(manifest(SPEC | change))
    assert render_path(in_etcd.value.path) == render_path(in_a_file.value.path) == path


def test_an_unknown_field_is_a_mistake_in_a_file_and_of_a_later_version_in_etcd() -> None:
    assert stored(SPEC | {"offload": True}) == stored(SPEC)
    with pytest.raises(InvalidResourceError, match="allowClear"):
        decode_manifest(manifest(SPEC | {"allowClaer": True}))


@pytest.mark.parametrize("name", ["a b", "n1\n", "n1/n2", "é", "n" * 254])
def test_names_that_are_none(name: str) -> None:
    with pytest.raises(InvalidResourceError):
        stored(SPEC, name)
    with pytest.raises(InvalidResourceError):
        decode_manifest(manifest(SPEC, name))


def test_it_is_of_its_own_version() -> None:
    with pytest.raises(InvalidResourceError) as caught:
        decode_manifest(manifest(SPEC) | {"apiVersion": "projectcalico.org/v3"})
    assert caught.value.path == ("apiVersion",)


CHECKS = st.text("0123456789abcdef", min_size=16, max_size=16)
NODES = st.builds(
    IpsecNode,
    enabled=st.booleans(),
    layout=st.sampled_from(["pair", "shared"]),
    tag=st.integers(1, 0xFFFFFF),
    boot=st.text("0123456789abcdef", min_size=32, max_size=32),
    receive=st.dictionaries(st.integers(1, 15), CHECKS),
    peers=st.dictionaries(
        st.from_regex(r"[a-z0-9]{1,9}", fullmatch=True),
        st.builds(IpsecPeering, st.integers(0, 0xFFFFFF), st.integers(0, 15)),
    ),
    ipv4=st.sampled_from(["", "192.0.2.1"]),
    ipv6=st.sampled_from(["", "fd00::1"]),
    allow_clear=st.booleans(),
    node_encryption=st.booleans(),
)


@given(NODES)
def test_what_is_written_is_read(node: IpsecNode) -> None:
    written = render_ipsec_node("n1", node)
    assert decode_stored("IPsecNode", "", "n1", written) == ((IpsecNodeKey("n1"), node),)
    assert decode_manifest(msgspec.json.decode(written)).changes == ((IpsecNodeKey("n1"), node),)


def test_one_that_is_off_needs_no_life() -> None:
    off = IpsecNode(ipv4="192.0.2.1")
    assert decode_stored("IPsecNode", "", "n1", render_ipsec_node("n1", off)) == (
        (IpsecNodeKey("n1"), off),
    )


@given(NODES)
def test_the_order_of_what_it_holds_makes_no_difference(node: IpsecNode) -> None:
    turned = msgspec.structs.replace(
        node,
        receive=dict(reversed(node.receive.items())),
        peers=dict(reversed(node.peers.items())),
    )
    assert render_ipsec_node("n1", turned) == render_ipsec_node("n1", node)
