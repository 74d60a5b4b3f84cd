"""One RouteUpdate and what this node is like in, the route for it out: pure.

    another node's block or address   of the pool's mode:
        in our subnet, or no encapsulation      via the node, on the device that has our address
        else                                    through the tunnel, via its end on the node
    a block of ours                   a blackhole: what none of its endpoints has goes nowhere else

Where the end of the tunnel is not known yet there is a route all the same, marked as not `known`:
what the kernel has there by another way stays for a while.
Source: projectcalico/calico felix/dataplane/linux/route_mgr.go; sections 1.2 and 2.1 of the routes
reference.
"""

from __future__ import annotations

from msgspec import Struct

from calc_graph.updates import PoolType, RouteType, RouteUpdate
from dataplane import rtnetlink
from dataplane.drivers.route_wishes import Route
from dataplane.families import Family


class Ways(Struct, frozen=True):
    """What this node is like, in one family.

    `modes` are the types of pools whose routes are ours to write; `parent` is the device that has
    the node's own address, "" while none has.
    """

    family: Family
    modes: frozenset[PoolType] = frozenset()
    parent: str = ""
    vxlan_device: str = ""
    vxlan_mtu: int = 0
    ipip_device: str = ""
    ipip_mtu: int = 0
    source: str = ""
    protocol: int = rtnetlink.BY_CALICO
    vxlan_protocol: int = rtnetlink.BY_BOOT


def route_for(update: RouteUpdate, vtep: str, ways: Ways) -> Route | None:
    """`vtep` is the end of VXLAN on the update's node, "" where it is not known."""
    if update.pool not in ways.modes or update.local_workload:
        return None
    if _is_elsewhere(update):
        return _route_to_node(update, vtep, ways)
    if _is_block_of_ours(update, ways.family):
        return Route(
            update.cidr,
            interface="",
            source=ways.source,
            metric=0,
            protocol=ways.protocol,
            kind="blackhole",
        )
    return None


def _is_elsewhere(update: RouteUpdate) -> bool:
    """A tunnel address inside its own node's block goes with the block."""
    if RouteType.REMOTE_WORKLOAD in update.types:
        return True
    return RouteType.REMOTE_TUNNEL in update.types and update.borrowed


def _is_block_of_ours(update: RouteUpdate, family: Family) -> bool:
    """A blackhole for a block of one address would hide the endpoint that has it."""
    single = update.cidr.endswith(f"/{rtnetlink.BITS[family]}")
    return RouteType.LOCAL_WORKLOAD in update.types and not single


def _route_to_node(update: RouteUpdate, vtep: str, ways: Ways) -> Route:
    direct = update.same_subnet or update.pool == "no-encap"
    if direct and ways.parent and update.node_ip:
        return _via(update.cidr, ways.parent, update.node_ip, 0, ways.protocol, ways)
    if update.pool == "vxlan":
        gateway, mtu = vtep, ways.vxlan_mtu
        return _via(update.cidr, ways.vxlan_device, gateway, mtu, ways.vxlan_protocol, ways)
    if update.pool == "ipip":
        return _via(
            update.cidr, ways.ipip_device, update.node_ip, ways.ipip_mtu, ways.protocol, ways
        )
    return _via(update.cidr, ways.parent, "", 0, ways.protocol, ways)


def _via(dst: str, interface: str, gateway: str, mtu: int, protocol: int, ways: Ways) -> Route:
    """The end of a tunnel itself is on its device, behind nothing."""
    itself = dst == f"{gateway}/{rtnetlink.BITS[ways.family]}"
    return Route(
        dst,
        interface=interface,
        source=ways.source,
        metric=0,
        protocol=protocol,
        gateway="" if itself else gateway,
        mtu=mtu,
        known=bool(gateway),
    )
