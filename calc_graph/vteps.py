"""Where nodes end their tunnels, from what their Node resources say.

    in   nodes
    out  vtep(name, node)                a node's end of VXLAN
         tunnel_addresses(name, node)    this node's own addresses inside tunnels

Only what BGP is told of carries VXLAN, as in Felix: a node that is in no BGP has no VTEP.
Source: section 5.5 of the reference; projectcalico/calico felix/calc/vxlan_resolver.go.
"""

from __future__ import annotations

from hashlib import sha1

from calc_graph.model import Node
from calc_graph.updates import TunnelAddresses, VtepUpdate


def vtep(name: str, node: Node) -> VtepUpdate | None:
    """None for a node that has both addresses of neither family."""
    mac = address = parent = mac_v6 = address_v6 = parent_v6 = ""
    if node.vxlan_address and node.bgp_ipv4:
        mac = node.vxlan_mac or generated_mac(name)
        address, parent = node.vxlan_address, node.bgp_ipv4.partition("/")[0]
    if node.vxlan_address_v6 and node.bgp_ipv6:
        mac_v6 = node.vxlan_mac_v6 or generated_mac_v6(name)
        address_v6, parent_v6 = node.vxlan_address_v6, node.bgp_ipv6.partition("/")[0]
    if not address and not address_v6:
        return None
    return VtepUpdate(name, mac, address, parent, mac_v6, address_v6, parent_v6)


def tunnel_addresses(name: str, node: Node | None) -> TunnelAddresses:
    if node is None:
        return TunnelAddresses()
    v4, v6 = node.vxlan_address, node.vxlan_address_v6
    return TunnelAddresses(
        ipip=node.ipip_address,
        vxlan=v4,
        vxlan_mac=(node.vxlan_mac or generated_mac(name)) if v4 else "",
        vxlan_v6=v6,
        vxlan_mac_v6=(node.vxlan_mac_v6 or generated_mac_v6(name)) if v6 else "",
    )


def generated_mac(name: str) -> str:
    """The MAC that every other node expects as well, so it cannot be another one.

    Local and unicast, because the first byte is an "f".
    """
    digest = sha1(name.encode(), usedforsecurity=False).digest()
    return ":".join(f"{byte:02x}" for byte in b"f" + digest[:5])


def generated_mac_v6(name: str) -> str:
    return generated_mac(f"{name}-v6")
