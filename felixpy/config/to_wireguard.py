"""The parameters in the words of the dataplane's WireGuard, and what in them cannot be."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any, Final

from dataplane.families import Family
from dataplane.settings import WireguardSettings
from felixpy.config import marks, tables
from felixpy.config.parameters import Config

_LONGEST_KEEPALIVE: Final = 65535  # seconds; the kernel has 16 bits for it
_LAST_BEFORE_MAIN: Final = 32765  # the rule for the main table has the next number


def to_wireguard(config: Config) -> WireguardSettings:
    keepalive = math.ceil(config.wireguard_persistent_keep_alive)
    ranges = tables.usable(config.route_table_ranges, config.route_table_range)
    return WireguardSettings(
        families=_families(config),
        ports=(config.wireguard_listening_port, config.wireguard_listening_port_v6),
        devices=(config.wireguard_interface_name, config.wireguard_interface_name_v6),
        mtus=(config.wireguard_mtu, config.wireguard_mtu_v6),
        mark=_mark(config.iptables_mark_mask),
        table=tables.lowest(ranges) or tables.DEFAULT[0][0],
        rule_priority=config.wireguard_routing_rule_priority,
        keepalive=min(keepalive, _LONGEST_KEEPALIVE),
        threading=config.wireguard_threading_enabled,
        strict=config.wireguard_strict,
        host_encryption=config.wireguard_host_encryption_enabled,
        clear_hosts=config.wireguard_clear_hosts,
    )


def _families(config: Config) -> frozenset[Family]:
    found: set[Family] = set()
    if config.wireguard_enabled:
        found.add(4)
    if config.wireguard_enabled_v6 and config.ipv6_support:
        found.add(6)
    return frozenset(found)


def _mark(mask: int) -> int:
    """While WireGuard is off the bit that it had: by it what is left of it is found.

    0 where the mask never had one for it.
    """
    try:
        return marks.allocate(mask, wireguard=True).wireguard
    except ValueError:
        return 0


def wireguard_faults(value: Callable[[str], Any]) -> Iterator[tuple[str, str]]:
    """Parameter and reason for each thing that WireGuard could not work with, while it is on.

    `value` gives that of a parameter.  Felix takes all of them, and some of these end in clear
    text without a word.
    """
    suffixes = [suffix for suffix in ("", "V6") if value(f"WireguardEnabled{suffix}")]
    if not suffixes:
        return
    if tables.lowest(tables.usable(value("RouteTableRanges"), value("RouteTableRange"))) is None:
        yield (
            "RouteTableRanges",
            "leaves no routing table for WireGuard: 253 to 255 are the kernel's",
        )
    if not 1 <= value("WireguardRoutingRulePriority") <= _LAST_BEFORE_MAIN:
        reason = f"must be from 1 to {_LAST_BEFORE_MAIN}: a later rule is never asked"
        yield "WireguardRoutingRulePriority", reason
    for suffix in suffixes:
        name = f"WireguardListeningPort{suffix}"
        if not value(name):
            yield name, "must be a port from 1 to 65535: other nodes send to the same"
        name = f"WireguardInterfaceName{suffix}"
        if value(name).endswith("+") or value(name).startswith(value("InterfacePrefix")):
            yield name, "must be the name of one interface, and not like a workload's"
    if len(suffixes) > 1:
        for name in ("WireguardListeningPort", "WireguardInterfaceName"):
            if value(name) == value(f"{name}V6"):
                yield f"{name}V6", f"must not be that of IPv4, {name}"
