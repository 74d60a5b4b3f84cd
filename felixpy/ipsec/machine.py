"""What IPsec meets on this machine: interface, settings, marks, and others who use IPsec.

    in   settings of the dataplane; the kernel
    out  Findings
Source: sections 4.5, 6.4 and 10 of the IPsec reference.
"""

from __future__ import annotations

import socket
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

from dataplane import rtnetlink, rtrules
from dataplane.families import Family
from dataplane.ipsec.kernel import Xfrm
from dataplane.ipsec.keys import Algorithm
from dataplane.ipsec.mtu import inner_mtu
from dataplane.ipsec.ours import LAST_PRIORITY, claim_of_policy
from dataplane.ipsec.values import MARK_MASK, PROTOCOL, TABLE
from dataplane.netlink import ROUTE, Socket
from dataplane.rtrules import KernelRule
from felixpy.wireguard.finding import Finding

_FAMILIES: Final[tuple[Family, ...]] = (4, 6)
_CONF: Final = Path("/proc/sys/net/ipv4/conf")
_SWITCHES: Final = ("disable_policy", "disable_xfrm")
_LEAST_MTU: Final = 1280  # what IPv6 asks of any link
_SHOWN: Final = 3


# ---------------------------------------------------------------- the interface


async def check_interface(
    configured: str, algorithms: Iterable[Algorithm], families: Iterable[Family]
) -> list[Finding]:
    """`configured`: IPsecInterface.  Raises DataplaneError."""
    kernel = Socket(ROUTE)
    try:
        messages = await kernel.query(rtnetlink.list_links(), "listing interfaces")
        mtus = {
            link.name: link.mtu
            for message in messages
            if (link := rtnetlink.parse_link(message.body)) is not None
        }
        names = [configured] if configured else await _defaults(kernel)
    finally:
        kernel.close()
    return list(_interface(configured, names, mtus, list(algorithms), families))


async def _defaults(kernel: Socket) -> list[str]:
    """Interfaces of the best default routes of the main table, IPv4's before IPv6's."""
    for family in _FAMILIES:
        request = rtnetlink.list_routes(family, rtnetlink.MAIN)
        messages = await kernel.query(request, "listing default routes")
        parsed = (rtnetlink.parse_route(each.body) for each in messages if each.body[1] == 0)
        routes = [found.route for found in parsed if found and found.table == rtnetlink.MAIN]
        if routes:
            best = min(route.key.metric for route in routes)
            devices = {route.device for route in routes if route.key.metric == best}
            return sorted(socket.if_indextoname(device) for device in devices if device)
    return []


def _interface(
    configured: str,
    names: list[str],
    mtus: dict[str, int],
    algorithms: list[Algorithm],
    families: Iterable[Family],
) -> Iterator[Finding]:
    there = [name for name in names if name in mtus]
    if not there:
        text = (
            f"there is no {configured}"
            if configured
            else "there is no default route over one interface"
        )
        advice = "name the network-facing interface in IPsecInterface"
        yield Finding("interface", "fail" if configured else "warn", text, advice=advice)
        return
    if len(there) > 1:
        text = f"default routes lead over {' and '.join(there)}"
        yield Finding("interface", "warn", text, advice="name one of them in IPsecInterface")
    else:
        yield Finding("interface", "ok", there[0])
    for family in families:
        inner = inner_mtu(mtus[there[0]], family, algorithms)
        if not inner:
            continue
        text = f"{mtus[there[0]]} on {there[0]}, of which {inner} are left for workloads"
        advice = "" if inner >= _LEAST_MTU else "make the MTU of the interface larger"
        yield Finding("MTU", "warn" if advice else "ok", text, family, advice)


# ---------------------------------------------------------------- settings of interfaces


def check_sysctls(prefixes: Iterable[str], conf: Path = _CONF) -> Finding:
    """`prefixes` of workloads' interfaces.  What is switched off for IPv6 hangs on the same two."""
    prefixes = tuple(prefixes)
    wrong = []
    for directory in sorted(conf.iterdir()):
        if directory.name == "lo":
            continue  # the kernel has it so, and nothing of ours goes that way
        for switch in _SWITCHES:
            try:
                value = (directory / switch).read_text().strip()
            except OSError:
                continue  # gone meanwhile
            if value not in ("", "0"):
                wrong.append(f"{directory.name}/{switch}")
    if not wrong:
        return Finding("sysctls", "ok", "no interface leaves IPsec's policies aside")
    matter = [w for w in wrong if w.startswith((*prefixes, "all/", "default/"))]
    names = ", ".join((matter or wrong)[:_SHOWN])
    return Finding(
        "sysctls",
        "fail" if matter else "warn",
        f"IPsec's policies are left aside where net/ipv4/conf/{names} is not 0",
        advice="set them to 0: packets would go and come in clear there",
    )


# ---------------------------------------------------------------- marks


async def check_marks(mask: int) -> list[Finding]:
    """`mask`: IptablesMarkMask.  Raises DataplaneError."""
    found = []
    if mask & MARK_MASK:
        text = f"IptablesMarkMask {mask:#010x} has bits of {MARK_MASK:#x}, which are IPsec's"
        advice = "give it other bits: the default is 0xffff0000"
        found.append(Finding("marks", "fail", text, advice=advice))
    kernel = Socket(ROUTE)
    try:
        for family in _FAMILIES:
            messages = await kernel.query(rtrules.list_rules(family), "listing rules")
            parsed = [rtrules.parse_rule(message.body) for message in messages]
            others = [r for f, r in filter(None, parsed) if f == family and _overlaps(r)]
            found += [_foreign_rule(family, rule) for rule in others]
    finally:
        kernel.close()
    return found or [Finding("marks", "ok", f"nobody else routes by the bits {MARK_MASK:#x}")]


def _overlaps(rule: KernelRule) -> bool:
    ours = rule.protocol == PROTOCOL and rule.table == TABLE
    return bool(rule.mask & MARK_MASK) and not ours


def _foreign_rule(family: Family, rule: KernelRule) -> Finding:
    text = (
        f"a rule of priority {rule.priority} looks at mark {rule.mark:#x}/{rule.mask:#x}, "
        f"which has bits of {MARK_MASK:#x}"
    )
    return Finding("marks", "warn", text, family, "these bits are IPsec's, on this node too")


# ---------------------------------------------------------------- others


async def check_others(kernel: Xfrm, reqid: int) -> list[Finding]:
    """Raises DataplaneError."""
    found = []
    foreign = 0
    for family in _FAMILIES:
        for policy in await kernel.read_policies(family):
            claim = claim_of_policy(policy, reqid)
            if claim == "ours":
                continue
            foreign += 1
            what = f"{policy.direction} {policy.selector.source} -> {policy.selector.destination}"
            if claim == "doubtful":
                text = f"the policy {what} may be ours or somebody else's; it is left alone"
                advice = "give IPsecReqID another number than the other software has"
                found.append(Finding("other users", "warn", text, family, advice))
            elif policy.priority <= LAST_PRIORITY:
                text = f"somebody's policy {what} has priority {policy.priority}, before ours"
                advice = "if it covers workloads of the cluster, give it one above 65000"
                found.append(Finding("other users", "warn", text, family, advice))
    text = f"{foreign} policies of others, all after ours" if foreign else "nobody else uses IPsec"
    return found or [Finding("other users", "ok", text)]
