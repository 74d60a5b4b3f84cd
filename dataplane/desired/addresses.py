"""Pools, nodes and this host's own addresses: the sets that address translation and loop prevention
ask.

    in   PoolUpdate, PoolRemove, HostUpdate, HostRemove, ServiceCidrsUpdate; the host's interfaces
    out  sets   network-ip-pools, masq-ipam-pools, this-host, dscp-src-net; all-hosts-net where it
    is asked for; tunnelled-pools, cross-subnet-pools where forged sources are looked for
         nat    cali-nat-outgoing     filter  cali-cidr-block     mangle  cali-egress-dscp

Source: sections 4.1, 8.1 and 8.3 of the rules reference.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import assert_never

from calc_graph.model import EncapMode, IpPool
from calc_graph.updates import (
    HostRemove,
    HostUpdate,
    IpsetType,
    PoolRemove,
    PoolUpdate,
    ServiceCidrsUpdate,
)
from dataplane.desired.sets import net_members, of_family
from dataplane.desired.sinks import Sinks
from dataplane.families import Family, family_of
from dataplane.interfaces import Interface
from dataplane.render.names import CROSS_SUBNET_POOLS_SET, TUNNELLED_POOLS_SET, ipset_name
from dataplane.render.nat import cidr_block_chain, egress_dscp_chain, nat_outgoing_chain
from dataplane.settings import Settings


class Addresses:
    def __init__(self, sinks: Sinks, settings: Settings) -> None:
        self._sinks = sinks
        self._settings = settings
        self._pools: dict[str, IpPool] = {}
        self._hosts: dict[str, HostUpdate] = {}
        self._service_cidrs: tuple[str, ...] = ()
        self._own: frozenset[str] = frozenset()
        self._hosts_matter = settings.render.nat_outgoing_exclude_hosts
        self._dirty = True
        self._own_dirty = True

    def need_hosts(self, *, needed: bool) -> None:
        """Whether rules besides those for outgoing addresses ask who is a node of the cluster."""
        needed = needed or self._settings.render.nat_outgoing_exclude_hosts
        self._dirty |= needed != self._hosts_matter
        self._hosts_matter = needed

    def update(
        self, event: PoolUpdate | PoolRemove | HostUpdate | HostRemove | ServiceCidrsUpdate
    ) -> None:
        match event:
            case PoolUpdate(pool):
                self._pools[pool.cidr] = pool
            case PoolRemove(cidr):
                del self._pools[cidr]
            case HostUpdate():
                self._hosts[event.name] = event
                if not self._hosts_matter:
                    return
            case HostRemove(name):
                del self._hosts[name]
                if not self._hosts_matter:
                    return
            case ServiceCidrsUpdate(cidrs):
                self._service_cidrs = cidrs
            case _:
                assert_never(event)
        self._dirty = True

    def interfaces_changed(self, interfaces: Iterable[Interface]) -> None:
        """`interfaces` are all there are; those of workloads carry no addresses."""
        own = frozenset(address for interface in interfaces for address in interface.addresses)
        self._own_dirty |= own != self._own
        self._own = own

    def resolve(self) -> None:
        if self._own_dirty:
            for family in self._sinks.families:
                self._place_set(family, "this-host", IpsetType.IP, self._own)
            self._own_dirty = False
        if self._dirty:
            for family in self._sinks.families:
                self._place(family)
            self._dirty = False

    def _place(self, family: Family) -> None:
        render = self._settings.render
        pools = [pool for pool in self._pools.values() if family_of(pool.cidr) == family]
        networks = [p.cidr for p in pools if p.allowed_uses != ("LoadBalancer",)]
        masqueraded = [pool.cidr for pool in pools if pool.nat_outgoing]
        self._place_set(family, "network-ip-pools", IpsetType.NET, networks)
        self._place_set(family, "masq-ipam-pools", IpsetType.NET, masqueraded)
        self._place_set(family, "dscp-src-net", IpsetType.NET, ())
        if self._hosts_matter:
            self._place_set(family, "all-hosts-net", IpsetType.NET, self._host_nets(family))
        else:
            self._sinks.ipsets[family].drop(ipset_name("all-hosts-net", family))
        if render.fabric_spoof_protection != "Off":
            for set_id, mode in (
                (TUNNELLED_POOLS_SET, "always"),
                (CROSS_SUBNET_POOLS_SET, "cross-subnet"),
            ):
                some = [p.cidr for p in pools if p.cidr in networks and _encapsulation(p) == mode]
                self._place_set(family, set_id, IpsetType.NET, some)
        tables = self._sinks.tables[family]
        nat_outgoing = nat_outgoing_chain(family, render, active=bool(masqueraded))
        tables.desire_chain("nat", nat_outgoing)
        tables.desire_chain("filter", cidr_block_chain(self._service_cidrs, family, render))
        tables.desire_chain("mangle", egress_dscp_chain((), family))

    def _host_nets(self, family: Family) -> set[str]:
        length = 128 if family == 6 else 32
        addresses = (h.ipv6 if family == 6 else h.ipv4 for h in self._hosts.values())
        nets = {f"{address}/{length}" for address in addresses if address}
        external = of_family(self._settings.external_node_cidrs, family)
        return nets | set(net_members(external))

    def _place_set(
        self,
        family: Family,
        id: str,  # noqa: A002  the word of updates.py
        type: IpsetType,  # noqa: A002
        members: Iterable[str],
    ) -> None:
        name = ipset_name(id, family)
        self._sinks.ipsets[family].desire(name, type, of_family(members, family))


def _encapsulation(pool: IpPool) -> EncapMode:
    return pool.ipip_mode if pool.vxlan_mode == "never" else pool.vxlan_mode
