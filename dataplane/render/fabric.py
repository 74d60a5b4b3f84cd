"""Forged sources on interfaces towards the fabric: settings in, rules of raw PREROUTING out.

    cali-PREROUTING    not from a workload                            -> cali-fabric-spoof
    cali-fabric-spoof  by loopback or by a tunnel device of ours      back
                       from an address of a local workload            forged
                       from a pool that is always tunnelled to a pool  forged
                       from a cross-subnet pool to a pool, and the
                       route back leads elsewhere                     forged

Forged is dropped, or (Warn) logged within a rate; either way the rule has counted it.  It comes
before connection tracking, so that a forged packet is part of no flow.

Where an address of a workload can live:
- A local one on its own interface alone.  What a load balancer in the fabric sends back to the node
  it came from has another source, because the answer of a workload to its neighbour would never
  pass the load balancer again: who does such a thing translates sources too.  So does natOutgoing
  here.  Packets of a routing loop do come back as they went; nothing is lost with them.
- A remote one in an IPIP or VXLAN pool behind the tunnel, if it sends to a workload.  To addresses
  that are in no pool (hosts, services, floating ones) nodes send without a tunnel, and where the
  pool is not masqueraded with the workload as the source; so only packets to pools are judged.
- A remote one in a cross-subnet pool behind the interface of its route: the tunnel, or the one
  towards the subnet we share.
- A remote one in another pool behind any interface: in a fabric of several ways the one that a
  packet takes is not for us to know.

Not judged are tunnel devices, whose peers INPUT has checked by the outer address; addresses of
hosts; and floating addresses, which are never the source of what a workload sends to others.  An
address that moves to another node is refused from there as long as the datastore still has it here.
"""

from __future__ import annotations

from collections.abc import Iterable

from dataplane.chains import Chain
from dataplane.families import Family
from dataplane.render import names, text
from dataplane.render.names import ipset_name
from dataplane.render.rules import log_prefix
from dataplane.settings import IPIP_DEVICE, VXLAN_DEVICES, RenderSettings

FORGED = "Forged source: "  # and then, why
_LOCAL = "address of a local workload"
_TUNNELLED = "pool that arrives by a tunnel only"
_CROSS_SUBNET = "its route leads elsewhere"
_OWN_DEVICES: dict[Family, tuple[str, ...]] = {
    4: ("lo", IPIP_DEVICE, VXLAN_DEVICES[4]),
    6: ("lo", VXLAN_DEVICES[6]),
}
_LOG_RATE, _LOG_SUFFIX = "10/minute", " forged"
_NO_POLICY = {"%t": "", "%k": "", "%n": "", "%p": ""}


def fabric_rules(settings: RenderSettings) -> tuple[str, ...]:
    """In raw PREROUTING, after workloads' packets were marked."""
    if settings.fabric_spoof_protection == "Off":
        return ()
    return (f"{text.mark_clear(settings.marks.scratch0)} {text.jump(names.FABRIC_SPOOF)}",)


def fabric_chains(
    family: Family, settings: RenderSettings, wireguard_device: str
) -> tuple[Chain, ...]:
    """None when it is off; the chain that logs is there in Warn alone."""
    if settings.fabric_spoof_protection == "Off":
        return ()
    warn = settings.fabric_spoof_protection == "Warn"
    # a goto: what was logged once is not judged again
    action = text.goto(names.FABRIC_SPOOF_LOG) if warn else text.DROP
    devices = (*_OWN_DEVICES[family], wireguard_device)
    own = (f"{text.in_interface(device)} {text.RETURN}" for device in devices)
    judged = (
        text.body(text.comment(f"{FORGED}{why}"), *matches, action)
        for why, matches in _forged(family)
    )
    spoof = Chain(names.FABRIC_SPOOF, (*own, *judged))
    return (spoof, Chain(names.FABRIC_SPOOF_LOG, (_log(settings),))) if warn else (spoof,)


def _forged(family: Family) -> Iterable[tuple[str, tuple[str, ...]]]:
    """Why, and by which matches."""

    def in_set(set_id: str, side: str) -> str:
        return text.in_set(ipset_name(set_id, family), side)

    to_pools = in_set(names.ALL_POOLS_SET, "dst")
    cross_subnet = in_set(names.CROSS_SUBNET_POOLS_SET, "src")
    return (
        (_LOCAL, (in_set(names.LOCAL_WORKLOADS_SET, "src"),)),
        (_TUNNELLED, (in_set(names.TUNNELLED_POOLS_SET, "src"), to_pools)),
        (_CROSS_SUBNET, (cross_subnet, to_pools, text.REVERSE_PATH_FAILED)),
    )


def _log(settings: RenderSettings) -> str:
    """Never unlimited: here others decide how many there are."""
    limit = text.limit(settings.log_rate_limit or _LOG_RATE, settings.log_rate_limit_burst)
    start = log_prefix(settings, _NO_POLICY)[: text.LOG_PREFIX_ROOM - len(_LOG_SUFFIX)]
    return text.body(limit, text.log(start + _LOG_SUFFIX))
