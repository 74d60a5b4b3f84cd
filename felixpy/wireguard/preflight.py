"""What stands in the way of WireGuard on this node, found before it is switched on, or at any time.

    Facts   who the nodes are, what is configured     felixpy.wireguard.facts
      |
    check_machine   this machine: at once, without a packet     machine.py, clock.py
    check_cluster   keys, and the hosts of etcd
    check_peers     the way to each other node: some seconds    probes.py
      |
    Findings        a verdict each, and what to do

With host encryption the hosts of the datastore have to be reached in clear, on all nodes: who
learns of keys from there must not need them for it.  Section 3.9 of the routes reference.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Iterable, Iterator, Mapping
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Final

from calc_graph.wireguard import canonical_key
from dataplane.families import Family
from dataplane.wireguard.former import find as find_former
from dataplane.wireguard.state import DeviceState, shown
from felixpy.wireguard import machine, probes
from felixpy.wireguard.clock import check_clock
from felixpy.wireguard.facts import Facts, NodeEnd
from felixpy.wireguard.finding import Finding
from felixpy.wireguard.probes import Reached, Target

FAMILIES: Final[tuple[Family, ...]] = (4, 6)


def families_of(facts: Facts) -> list[Family]:
    """Those that it is on for; both where it is off: how would it be?"""
    return [f for f in FAMILIES if f in (facts.settings.families or FAMILIES)]


async def examine(facts: Facts, directory: Path) -> list[Finding]:
    """Everything, for a person who waits.  `directory` is that of felixpy.rundir.

    Raises DataplaneError where a device cannot be read: only root may.
    """
    families = families_of(facts)
    devices = {f: await machine.read_device(facts.settings.device_of(f)) for f in families}
    return [
        *await check_machine(facts, directory, devices),
        *check_cluster(facts, families),
        *await check_peers(facts, devices),
    ]


# ---------------------------------------------------------------- this machine


async def check_machine(
    facts: Facts, directory: Path, devices: Mapping[Family, DeviceState | None]
) -> list[Finding]:
    """`devices`: the families that matter, each with its device if there is one.

    One that has another name now is as good: the new one takes its port, table and rule.
    """
    settings = facts.settings
    host = await machine.local_mtu(facts.mtu_interfaces)
    found = [await machine.check_kernel(), machine.check_remove_flag(), *check_clock(directory)]
    for family, state in devices.items():
        device = settings.device_of(family)
        port = settings.ports[0 if family == 4 else 1]
        former = await find_former(family, settings) if state is None else []
        if former:
            text = f"{port} is {former[0].name}'s, which {device} takes the place of"
            found.append(Finding("UDP port", "ok", text, family))
        else:
            found.append(machine.check_port(family, port, device, state))
        active = state is not None or bool(former)
        found += await machine.check_routing(family, settings, active=active)
        if family == 4:
            found.append(machine.check_rp_filter(device))
        found.append(machine.check_mtu(family, settings, host))
    return found


# ---------------------------------------------------------------- the cluster


def check_cluster(facts: Facts, families: Iterable[Family]) -> list[Finding]:
    found = [each for family in families for each in _keys(facts.nodes, family)]
    return [*found, *_clear_hosts(facts)]


def _keys(nodes: Iterable[NodeEnd], family: Family) -> Iterator[Finding]:
    owners: dict[str, list[str]] = {}
    malformed = []
    for node in nodes:
        key = canonical_key(node.key_of(family))
        if key is None:
            malformed.append(node.node)
        elif key:
            owners.setdefault(key, []).append(node.node)
    shared = [names for names in owners.values() if len(names) > 1]
    for names in shared:
        yield Finding(
            "keys",
            "fail",
            f"{' and '.join(names)} publish one and the same: nobody sends to either",
            family,
            advice="remove the device of all but one of them; the agent makes it anew, with a key",
        )
    for name in malformed:
        advice = "see who else writes its Node's status"
        yield Finding("keys", "fail", f"what {name} publishes is no key", family, advice)
    if not shared and not malformed:
        yield Finding("keys", "ok", f"{len(owners)} published, all different", family)


def _clear_hosts(facts: Facts) -> Iterator[Finding]:
    if not (facts.settings.host_encryption and facts.datastore):
        return
    nets = [ip_network(text, strict=False) for text in facts.settings.clear_hosts]
    ours = {ip_address(a) for n in facts.nodes for a in (n.ipv4, n.ipv6) if a}
    missing = [
        f"{host} ({address})" if host != address else host
        for host in facts.datastore
        for address in _addresses(host)
        if ip_address(address) in ours and not any(ip_address(address) in net for net in nets)
    ]
    if missing:
        yield Finding(
            "clear hosts",
            "fail",
            f"etcd is on nodes that would be reached encrypted only: {', '.join(missing)}",
            advice="name them in WireguardClearHosts: a node without keys could not read any",
            holds=True,
        )
    else:
        yield Finding("clear hosts", "ok", "etcd is reached in clear from everywhere")


def _addresses(host: str) -> list[str]:
    """None for a name that is not known now: then nothing is reached by it, either way."""
    try:
        answers = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        return []
    return sorted({str(answer[4][0]).partition("%")[0] for answer in answers})


# ---------------------------------------------------------------- the other nodes


async def check_peers(facts: Facts, devices: Mapping[Family, DeviceState | None]) -> list[Finding]:
    found: list[Finding] = []
    host = await machine.local_mtu(facts.mtu_interfaces)
    for family, state in devices.items():
        size = machine.outer_size(family, facts.settings, host)
        port = facts.settings.ports[0 if family == 4 else 1]
        nodes = {node.node: node for node in facts.others(family)}
        targets = [Target(n, family, e.address(family), port, size) for n, e in nodes.items()]
        reached = await probes.probe_all(targets, facts.settings.mark)
        for target in targets:
            handshake = _handshake(nodes[target.node].key_of(family), state)
            found.append(reachability(target, reached[target.node], handshake, time.time()))
            found.append(path_mtu(target, reached[target.node]))
    return found


def _handshake(key: str, state: DeviceState | None) -> float:
    """UNIX time; 0.0: none that this device knows of."""
    if state is None:
        return 0.0
    told = canonical_key(key)
    return next((p.handshake for k, p in state.peers.items() if shown(k) == told), 0.0)


def reachability(target: Target, reached: Reached, handshake: float, now: float) -> Finding:
    """`handshake` as of DeviceState; `now` in UNIX time."""
    check, where = f"peer {target.node}", f"UDP {target.port} of {target.address}"
    if handshake:
        text = f"{where}: handshake {max(0.0, now - handshake):.0f} s ago"
        return Finding(check, "ok", text, target.family)
    if reached.error:
        advice = "see routes and firewalls on the way"
        return Finding(check, "fail", f"{where}: {reached.error}", target.family, advice)
    if reached.refused:
        text = f"{where}: reached, and nobody listens there yet"
        return Finding(check, "ok", text, target.family)
    text = (
        f"{where}: not proven; WireGuard there says nothing to strangers, or a firewall is silent"
    )
    return Finding(check, "warn", text, target.family, f"see that UDP {target.port} is let through")


def path_mtu(target: Target, reached: Reached) -> Finding:
    check = f"path MTU to {target.node}"
    if reached.mtu:
        overhead = target.size - reached.mtu
        text = (
            f"{reached.mtu}, and packets of up to {target.size} are to be sent: these go in pieces"
        )
        name = "WireguardMTUV6" if target.family == 6 else "WireguardMTU"
        return Finding(
            check, "warn", text, target.family, f"make {name} smaller by {overhead}, on all nodes"
        )
    if reached.proved:
        return Finding(check, "ok", f"{reached.proved} at least", target.family)
    return Finding(check, "warn", "not measured: nothing came back", target.family)
