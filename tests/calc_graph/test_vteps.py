"""Where nodes end their tunnels, and under which MAC."""

from __future__ import annotations

import pytest

from calc_graph.model import Node
from calc_graph.updates import TunnelAddresses, VtepUpdate
from calc_graph.vteps import generated_mac, generated_mac_v6, tunnel_addresses, vtep

# Computed by Felix's own code.
MACS = [
    ("node-1", "66:b3:68:28:39:8e", "66:24:ac:63:df:6c"),
    ("node-2", "66:c0:93:2e:56:2c", "66:1a:96:15:e3:d8"),
    ("worker-1", "66:93:7f:54:d5:53", "66:d8:48:96:ab:01"),
]


@pytest.mark.parametrize(("name", "mac", "mac_v6"), MACS)
def test_macs_are_those_that_every_other_node_expects(name: str, mac: str, mac_v6: str) -> None:
    assert (generated_mac(name), generated_mac_v6(name)) == (mac, mac_v6)


V4 = VtepUpdate("node-1", MACS[0][1], "10.0.0.1", "192.168.0.1")
VTEPS = [
    ("v4", Node(bgp_ipv4="192.168.0.1/24", vxlan_address="10.0.0.1"), V4),
    (
        "v6",
        Node(bgp_ipv6="fd00::1/64", vxlan_address_v6="fd10::1"),
        VtepUpdate("node-1", "", "", "", MACS[0][2], "fd10::1", "fd00::1"),
    ),
    (
        "both, with MACs of their own",
        Node(
            bgp_ipv4="192.168.0.1/24",
            bgp_ipv6="fd00::1/64",
            vxlan_address="10.0.0.1",
            vxlan_address_v6="fd10::1",
            vxlan_mac="02:00:00:00:00:04",
            vxlan_mac_v6="02:00:00:00:00:06",
        ),
        VtepUpdate(
            "node-1",
            "02:00:00:00:00:04",
            "10.0.0.1",
            "192.168.0.1",
            "02:00:00:00:00:06",
            "fd10::1",
            "fd00::1",
        ),
    ),
    (
        "the other family has only half of it",
        Node(
            bgp_ipv4="192.168.0.1/24",
            vxlan_address="10.0.0.1",
            vxlan_address_v6="fd10::1",
            vxlan_mac_v6="02:00:00:00:00:06",
        ),
        V4,
    ),
    ("no tunnel address", Node(bgp_ipv4="192.168.0.1/24"), None),
    ("not in BGP", Node(ipv4="192.168.0.1/24", vxlan_address="10.0.0.1"), None),
    ("families that do not meet", Node(bgp_ipv6="fd00::1/64", vxlan_address="10.0.0.1"), None),
]


@pytest.mark.parametrize(("node", "expected"), [c[1:] for c in VTEPS], ids=[c[0] for c in VTEPS])
def test_a_vtep_needs_both_addresses(node: Node, expected: VtepUpdate | None) -> None:
    assert vtep("node-1", node) == expected


TUNNELS = [
    ("no node", None, TunnelAddresses()),
    ("no tunnels, whatever the MAC", Node(vxlan_mac="02:00:00:00:00:04"), TunnelAddresses()),
    (
        "without an address to carry them",
        Node(ipip_address="10.1.0.1", vxlan_address="10.0.0.1"),
        TunnelAddresses("10.1.0.1", "10.0.0.1", MACS[0][1]),
    ),
    (
        "v6 with a MAC of its own",
        Node(vxlan_address_v6="fd10::1", vxlan_mac_v6="02:00:00:00:00:06"),
        TunnelAddresses(vxlan_v6="fd10::1", vxlan_mac_v6="02:00:00:00:00:06"),
    ),
    (
        "v6 without",
        Node(vxlan_address_v6="fd10::1"),
        TunnelAddresses(vxlan_v6="fd10::1", vxlan_mac_v6=MACS[0][2]),
    ),
]


@pytest.mark.parametrize(
    ("node", "expected"), [c[1:] for c in TUNNELS], ids=[c[0] for c in TUNNELS]
)
def test_own_tunnel_addresses(node: Node | None, expected: TunnelAddresses) -> None:
    assert tunnel_addresses("node-1", node) == expected
