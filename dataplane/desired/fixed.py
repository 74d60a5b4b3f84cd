"""The chains, hooks and settings that every node has, whatever the datastore says."""

from __future__ import annotations

from collections.abc import Container

from msgspec import structs

from dataplane.desired.sinks import Sinks
from dataplane.families import Family
from dataplane.render.encryption import (
    NO_GUARDS,
    POLICING,
    Guards,
    coverage_chain,
    encryption_chains,
    tunnelled_chain,
)
from dataplane.render.names import Table
from dataplane.render.overlays import NO_OVERLAYS, Overlays
from dataplane.render.static import hooks, static_chains
from dataplane.render.workload_limit import shared_limit_chain
from dataplane.settings import Settings

FAMILIES: tuple[Family, ...] = (4, 6)
TABLES: tuple[Table, ...] = ("raw", "mangle", "nat", "filter")


def desire_fixed(sinks: Sinks, settings: Settings) -> None:
    for family, tables in sinks.tables.items():
        overlays = with_wireguard(NO_OVERLAYS, settings, family, ())
        desire_static_chains(sinks, settings, family, overlays, NO_GUARDS)
        tables.desire_chain("mangle", coverage_chain(family, settings.render))
        tables.desire_chain("mangle", tunnelled_chain(settings.render))
        for table in TABLES:
            for hook in hooks(table, family, settings.render):
                tables.desire_hook(table, hook.kernel_chain, hook.inserts, hook.appends)
        if settings.render.workload_to_host_rate:
            tables.desire_chain("filter", shared_limit_chain(settings.render))
    if settings.ip_forwarding:
        sinks.sysctls.desire_global("net/ipv4/ip_forward", "1")
        if 6 in sinks.families:
            sinks.sysctls.desire_global("net/ipv6/conf/all/forwarding", "1")
    sinks.sysctls.desire_global("net/netfilter/nf_conntrack_acct", "1", required=False)


def with_wireguard(
    tunnels: Overlays, settings: Settings, family: Family, interfaces: Container[str]
) -> Overlays:
    """What the fixed rules say of a family's tunnels, and of WireGuard; `interfaces` are those
    that are there.

    While its device is still there its rules are too: what others have on its way is taken in until
    the end.  As Felix has it, one family in use is enough for the marks of both.
    """
    ours = settings.wireguard
    used = {f for f in FAMILIES if f in ours.families or ours.device_of(f) in interfaces}
    return structs.replace(
        tunnels,
        wireguard_device=ours.device_of(family) if family in used else "",
        wireguard_port=ours.ports[0 if family == 4 else 1],
        wireguard_mark=ours.mark if used and ours.host_encryption else 0,
        wireguard_devices=ours.devices,
    )


def desire_static_chains(
    sinks: Sinks, settings: Settings, family: Family, overlays: Overlays, guards: Guards
) -> None:
    """Again with each change of the tunnels that there are, and of what must be encrypted."""
    device = settings.wireguard.device_of(family)
    for table in POLICING:
        for chain in encryption_chains(table, settings.render, device, ipsec=overlays.ipsec):
            sinks.tables[family].desire_chain(table, chain)
    for table in TABLES:
        for chain in static_chains(table, family, settings.render, overlays, guards):
            sinks.tables[family].desire_chain(table, chain)
