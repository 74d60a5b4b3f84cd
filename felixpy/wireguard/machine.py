"""What the kernel says of what WireGuard is about to use: ports, routing table, rules, mark, sizes.

Nothing is changed, and a socket is bound no longer than it takes to learn whether it can be.
"""

from __future__ import annotations

import errno
import os
import re
import socket
from contextlib import suppress
from pathlib import Path
from typing import Final

from dataplane import rtnetlink, rtrules
from dataplane.families import Family
from dataplane.interfaces import Interface
from dataplane.netlink import ROUTE, Message, NetlinkError, Request, Socket
from dataplane.overlay.mtu import OVERHEADS, host_mtu
from dataplane.rtnetlink import BY_CALICO, KernelRoute
from dataplane.rtrules import KernelRule
from dataplane.settings import WireguardSettings
from dataplane.wireguard.kernel import KernelDevice, NoWireguardError
from dataplane.wireguard.state import DeviceState
from felixpy.wireguard.devices import device_index
from felixpy.wireguard.finding import Finding

_CONF: Final = Path("/proc/sys/net/ipv4/conf")
_REMOVE_FLAG: Final = (6, 16)  # the first kernel that takes one AllowedIP away by itself
# The least that a node must be able to take, so that nothing smaller need be carried.
# Source: RFC 791, RFC 8200.
_LEAST_MTU: Final = {4: 576, 6: 1280}


async def check_kernel() -> Finding:
    """Asking for it has the kernel load the module."""
    kernel = KernelDevice()
    try:
        await kernel.read(0)
    except NoWireguardError as error:
        advice = "use a kernel of 5.6 or later, with the module wireguard"
        return Finding("kernel", "fail", str(error), advice=advice)
    except NetlinkError:
        pass  # there is no device 0; that it says so is what was to be known
    finally:
        kernel.close()
    return Finding("kernel", "ok", "has WireGuard")


def check_remove_flag(release: str = "") -> Finding:
    """`release`: as `uname -r` has it; "": this kernel's."""
    release = release or os.uname().release
    numbers = re.match(r"(\d+)\.(\d+)", release)
    version = (int(numbers[1]), int(numbers[2])) if numbers else (0, 0)
    if version >= _REMOVE_FLAG:
        return Finding("AllowedIPs", "ok", f"Linux {release} takes one away by itself")
    text = f"Linux {release} is older than 6.16: one is taken away by way of a peer that nobody is"
    return Finding("AllowedIPs", "ok", text)


async def read_device(name: str) -> DeviceState | None:
    """None: there is none, or it is of another kind.  Raises DataplaneError."""
    index = device_index(name)
    if index is None:
        return None
    kernel = KernelDevice()
    try:
        return await kernel.read(index)
    except NetlinkError as error:
        if error.code in (errno.EOPNOTSUPP, errno.ENODEV):
            return None
        raise
    except NoWireguardError:
        return None
    finally:
        kernel.close()


def check_port(family: Family, port: int, device: str, state: DeviceState | None) -> Finding:
    """WireGuard takes it for both families of addresses, whichever it is to carry."""
    if state is not None and state.port == port:
        return Finding("UDP port", "ok", f"{port} is {device}'s", family)
    for kind, address in ((socket.AF_INET, "0.0.0.0"), (socket.AF_INET6, "::")):  # noqa: S104  # as the kernel binds it
        with suppress(OSError), socket.socket(kind, socket.SOCK_DGRAM) as trial:
            if kind == socket.AF_INET6:
                trial.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            try:
                trial.bind((address, port))
            except OSError as error:
                if error.errno != errno.EADDRINUSE:
                    return Finding("UDP port", "warn", f"{port} not tried: {error}", family)
                return Finding(
                    "UDP port",
                    "fail",
                    f"another program has {port}",
                    family,
                    advice=f"`ss -ulnp sport = :{port}` names it; or set another "
                    f"WireguardListeningPort{'V6' if family == 6 else ''} on all nodes",
                    holds=True,
                )
    return Finding("UDP port", "ok", f"{port} is free", family)


async def check_routing(
    family: Family, settings: WireguardSettings, *, active: bool
) -> list[Finding]:
    """`active`: WireGuard's device is there, so what has our marks in table and rules is ours."""
    kernel = Socket(ROUTE)
    doing = f"listing IPv{family} routes and rules"
    try:
        routes = await _list(kernel, rtnetlink.list_routes(family, settings.table), doing)
        rules = await _list(kernel, rtrules.list_rules(family), doing)
    except NetlinkError as error:
        return [Finding("routing", "warn", f"not known: {error}", family)]
    finally:
        kernel.close()
    parsed = (rtnetlink.parse_route(message.body) for message in routes)
    found = [r.route for r in parsed if r and (r.family, r.table) == (family, settings.table)]
    listed = (rtrules.parse_rule(message.body) for message in rules)
    here = [p[1] for p in listed if p and p[0] == family]
    others = [rule for rule in here if not _is_ours(rule, settings, active)]
    return [
        _table(family, settings, found, ours=len(others) < len(here)),
        _priority(family, settings, others),
        _mark(family, settings, others),
    ]


async def _list(kernel: Socket, request: Request, doing: str) -> list[Message]:
    """Nothing where there is no such table yet, or this kernel does not have the family."""
    try:
        return await kernel.query(request, doing)
    except NetlinkError as error:
        if error.code not in (errno.ENOENT, errno.EAFNOSUPPORT, errno.EOPNOTSUPP):
            raise
        return []


def _is_ours(rule: KernelRule, settings: WireguardSettings, active: bool) -> bool:
    if rule.table != settings.table:
        return False
    form = rule.inverted and rule.plain and rule.mark == rule.mask != 0
    if rule.protocol == BY_CALICO:
        return form or rule.forwarded
    return form and active


def _table(
    family: Family, settings: WireguardSettings, routes: list[KernelRoute], *, ours: bool
) -> Finding:
    """`ours`: a rule of ours leads to it, so it was ours before."""
    foreign = [route for route in routes if route.protocol != BY_CALICO]
    if ours or not foreign:
        return Finding("routing table", "ok", f"{settings.table} has no routes of others", family)
    return Finding(
        "routing table",
        "fail",
        f"{settings.table} has {len(foreign)} routes of others, which would be removed",
        family,
        advice="let RouteTableRanges begin with a table that nobody uses",
        holds=True,
    )


def _priority(family: Family, settings: WireguardSettings, others: list[KernelRule]) -> Finding:
    priority = settings.rule_priority
    if all(rule.priority != priority for rule in others):
        return Finding("rule priority", "ok", f"{priority} is no other rule's", family)
    return Finding(
        "rule priority",
        "fail",
        f"{priority} is that of a rule of somebody else's",
        family,
        advice="set another WireguardRoutingRulePriority",
        holds=True,
    )


def _mark(family: Family, settings: WireguardSettings, others: list[KernelRule]) -> Finding:
    asking = [rule for rule in others if rule.mask & settings.mark]
    if not asking:
        return Finding("mark", "ok", f"no other rule asks for {settings.mark:#x}", family)
    return Finding(
        "mark",
        "fail",
        f"the rule of priority {asking[0].priority} asks for {settings.mark:#x}, which would be on"
        " encrypted packets",
        family,
        advice="take that bit out of IptablesMarkMask, or out of the rule",
        holds=True,
    )


def check_rp_filter(device: str, conf: Path = _CONF) -> Finding:
    """The larger of the two values holds: 1 looks back by the rules as they are without a mark."""
    values = {name: _number(conf / name / "rp_filter") for name in ("all", device)}
    if values[device] is None:
        text = f"all: {values['all']}; {device} is not there yet, and will not be strict"
        return Finding("rp_filter", "ok", text, 4)
    text = ", ".join(f"{name}: {value}" for name, value in values.items())
    if max(value or 0 for value in values.values()) == 1:
        advice = f"set net.ipv4.conf.{device}.rp_filter to 2, and see who has changed it"
        return Finding("rp_filter", "fail", f"{text}: strict, drops what comes", 4, advice)
    return Finding("rp_filter", "ok", text, 4)


def _number(path: Path) -> int | None:
    try:
        return int(path.read_text())
    except (OSError, ValueError):
        return None


async def local_mtu(pattern: str) -> int:
    """The smallest MTU of the interfaces that lead to other nodes; as Overlays has it.

    Raises DataplaneError.
    """
    kernel = Socket(ROUTE)
    try:
        messages = await kernel.query(rtnetlink.list_links(), "listing interfaces")
    finally:
        kernel.close()
    links = [link for m in messages if (link := rtnetlink.parse_link(m.body)) is not None]
    interfaces = (
        Interface(link.name, link.device, link.admin_up and link.carrier, mtu=link.mtu)
        for link in links
    )
    return host_mtu(interfaces, re.compile(pattern))


def outer_size(family: Family, settings: WireguardSettings, host: int) -> int:
    """Bytes of the largest packet that WireGuard sends to a peer."""
    configured = settings.mtus[0 if family == 4 else 1]
    return configured + _overhead(family) if configured else host


def check_mtu(family: Family, settings: WireguardSettings, host: int) -> Finding:
    inner = outer_size(family, settings, host) - _overhead(family)
    name = "WireguardMTUV6" if family == 6 else "WireguardMTU"
    text = f"{inner} inside, {host} outside"
    if inner < _LEAST_MTU[family]:
        text += f": workloads would have less than {_LEAST_MTU[family]}"
        advice = "raise the MTU of the interfaces to other nodes (MTUIfacePattern)"
        return Finding("MTU", "fail", text, family, advice, holds=True)
    if inner + _overhead(family) > host:
        text += ": large packets are sent in pieces"
        advice = f"set {name} to {host - _overhead(family)} at most, or to 0"
        return Finding("MTU", "warn", text, family, advice)
    return Finding("MTU", "ok", text, family)


def _overhead(family: Family) -> int:
    return OVERHEADS["wireguard" if family == 4 else "wireguard_v6"]
