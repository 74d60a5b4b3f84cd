"""Chains that depend on addresses rather than on endpoints: addresses in, one chain each out.
Empty ones are chains too.

    nat      outgoing addresses, floating addresses
    filter   packets to service addresses that nothing has translated
    mangle   the DSCP of what leaves the cluster
    raw      sources that may come from an interface they are not routed to

Source: projectcalico/calico felix/rules/nat.go, felix/dataplane/linux/floating_ip_mgr.go,
service_loop_mgr.go and endpoint_mgr.go; section 8 of the rules reference.
"""

from __future__ import annotations

from collections.abc import Iterable

from calc_graph.interfaces import safe_interface
from calc_graph.model import NatMapping
from dataplane.chains import Chain
from dataplane.families import Family, family_of
from dataplane.render import names, text
from dataplane.render.errors import RenderError
from dataplane.render.names import ipset_name
from dataplane.settings import RenderSettings

_LOOP_ACTION = {"Drop": "DROP", "Reject": "REJECT"}


def nat_outgoing_chain(family: Family, settings: RenderSettings, *, active: bool) -> Chain:
    """`active`: some pool of this family has natOutgoing.

    The configured address is used in its own family only, the other one is masqueraded; Felix
    writes it into both, and the tools refuse the table (defect D6).
    """
    if not active:
        return Chain(names.NAT_OUTGOING)
    match = _nat_outgoing_match(family, settings)
    device = settings.nat_outgoing_interface
    out = text.out_interface(device) if device else ""
    plain = text.body(match, out, _translate(family, settings, None))
    ports = settings.nat_port_range
    if ports is None:
        return Chain(names.NAT_OUTGOING, (plain,))
    bodies: list[str] = []
    for name in ("tcp", "udp"):
        one = text.body(match, text.protocol(name), out)
        bodies += [f"{one} {_translate(family, settings, ports)}", f"{one} {text.RETURN}"]
    return Chain(names.NAT_OUTGOING, (*bodies, plain))


def _nat_outgoing_match(family: Family, settings: RenderSettings) -> str:
    hosts = ""
    if settings.nat_outgoing_exclude_hosts:
        hosts = text.not_in_set(ipset_name(names.ALL_HOSTS_SET, family), "dst")
    return text.body(
        text.in_set(ipset_name(names.MASQUERADED_POOLS_SET, family), "src"),
        text.not_in_set(ipset_name(names.ALL_POOLS_SET, family), "dst"),
        hosts,
    )


def _translate(family: Family, settings: RenderSettings, ports: tuple[int, int] | None) -> str:
    address = settings.nat_outgoing_address
    random_fully = settings.random_fully
    if not address or family_of(address) != family:
        return text.masquerade(random_fully=random_fully, ports=ports)
    if ports is None:
        return text.snat(address, random_fully=random_fully)
    host = f"[{address}]" if family == 6 else address
    return text.snat(f"{host}:{ports[0]}-{ports[1]}", random_fully=random_fully)


def floating_ip_chains(
    mappings: Iterable[NatMapping], family: Family, settings: RenderSettings
) -> tuple[Chain, Chain]:
    """DNAT, SNAT.  Of several internal addresses of one external one the lowest as text wins, and
    the other way round.

    SNAT only concerns a workload that talks to its own floating address.
    """
    internal_of: dict[str, str] = {}
    external_of: dict[str, str] = {}
    ordered = sorted((m.external, m.internal) for m in mappings if family_of(m.external) == family)
    for external, internal in ordered:
        internal_of.setdefault(external, internal)
    for external, internal in internal_of.items():
        external_of.setdefault(internal, external)
    dnat = (
        f"{text.destination(external)} {text.dnat(internal)}"
        for external, internal in internal_of.items()
    )
    snat = (
        text.body(
            text.destination(internal),
            text.source(internal),
            text.snat(external, random_fully=settings.random_fully),
        )
        for internal, external in sorted(external_of.items())
    )
    return Chain(names.FLOATING_DNAT, tuple(dnat)), Chain(names.FLOATING_SNAT, tuple(snat))


def cidr_block_chain(cidrs: Iterable[str], family: Family, settings: RenderSettings) -> Chain:
    """Filter: `cidrs` are those of services, of either family."""
    if settings.service_loop_prevention == "Disabled":
        return Chain(names.CIDR_BLOCK)
    action = text.verdict(_LOOP_ACTION[settings.service_loop_prevention])
    mine = sorted({cidr for cidr in cidrs if family_of(cidr) == family})
    return Chain(names.CIDR_BLOCK, tuple(f"{text.destination(cidr)} {action}" for cidr in mine))


def egress_dscp_chain(values: Iterable[tuple[str, int]], family: Family) -> Chain:
    """Mangle: `values` are pairs of a source net and its DSCP, 0 to 63.

    One rule a net: Felix writes the nets of an endpoint as a list, which iptables splits into
    rules of one id (defect D5).
    """
    mine = sorted(value for value in values if family_of(value[0]) == family)
    bodies = (f"{text.source(net)} {text.set_dscp(dscp)}" for net, dscp in mine)
    return Chain(names.EGRESS_DSCP, tuple(bodies))


def rpf_skip_chain(sources: Iterable[tuple[str, str]], family: Family) -> Chain:
    """Raw: `sources` are pairs of an interface and a net that it may send from.  Sorted; Felix is
    not (defect D11).

    Raises RenderError for a name that is no interface's.
    """
    mine = sorted({pair for pair in sources if family_of(pair[1]) == family})
    for interface, _net in mine:
        if not safe_interface(interface):
            raise RenderError(interface, "not the name of an interface")
    bodies = (
        f"{text.in_interface(interface)} {text.source(net)} {text.ACCEPT}"
        for interface, net in mine
    )
    return Chain(names.RPF_SKIP, tuple(bodies))
