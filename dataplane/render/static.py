"""The fixed chains of each table, and what stands in the kernel's chains: table, family and
settings in, chains out.

    raw      PREROUTING           workload or not? spoofed, there or in the fabric? untracked policy
             OUTPUT               untracked policy
    mangle   PREROUTING           what must be encrypted; pre-DNAT policy
             POSTROUTING          the same; policy of the host's translated traffic
    nat      PREROUTING, OUTPUT   floating addresses
             POSTROUTING          outgoing addresses
    filter   see static_filter

A chain is offered whether anything refers to it or not; the table driver writes only what is
referred to.
Source: projectcalico/calico felix/rules/static.go; sections 1.1 to 1.4 of the rules reference.
"""

from __future__ import annotations

from msgspec import Struct

from dataplane.chains import Chain
from dataplane.families import Family
from dataplane.render import names, overlays, text
from dataplane.render.actions import deny_action
from dataplane.render.encryption import NO_GUARDS, Guards, arriving_rules, leaving_rules
from dataplane.render.fabric import fabric_chains, fabric_rules
from dataplane.render.failsafe import failsafe_chains
from dataplane.render.names import Table as Table
from dataplane.render.names import ipset_name
from dataplane.render.overlays import NO_OVERLAYS, Overlays
from dataplane.render.static_filter import filter_chains
from dataplane.settings import RenderSettings

_METADATA_SERVICE = "169.254.169.254/32"


class Hook(Struct, frozen=True):
    """Bodies for a kernel chain: `inserts` in front (or, with ChainInsertMode append, behind),
    `appends` always behind.
    """

    kernel_chain: str
    inserts: tuple[str, ...] = ()
    appends: tuple[str, ...] = ()


def static_chains(
    table: Table,
    family: Family,
    settings: RenderSettings,
    overlays: Overlays = NO_OVERLAYS,
    guards: Guards = NO_GUARDS,
) -> tuple[Chain, ...]:
    match table:
        case "raw":
            return _raw_chains(family, settings, overlays)
        case "mangle":
            return _mangle_chains(family, settings, overlays, guards)
        case "nat":
            return _nat_chains(family, settings, overlays)
        case "filter":
            return filter_chains(family, settings, overlays)


def hooks(table: Table, family: Family, settings: RenderSettings) -> tuple[Hook, ...]:
    """The same in both families.

    nat POSTROUTING comes last, so that kube-proxy has cleared its masquerade mark.  The tail of
    FORWARD accepts what policy accepted, and marks the rest so that mangle POSTROUTING leaves it
    alone.
    """
    del family
    marks = settings.marks
    match table:
        case "raw":
            return _jump("PREROUTING"), _jump("OUTPUT")
        case "mangle":
            return _jump("PREROUTING"), _jump("POSTROUTING")
        case "nat":
            last = Hook("POSTROUTING", appends=(text.jump(names.POSTROUTING),))
            return _jump("PREROUTING"), _jump("OUTPUT"), last
        case "filter":
            accepted = text.body(
                text.comment("Policy explicitly accepted packet."),
                text.mark_set(marks.accept),
                text.verdict(settings.filter_allow_action),
            )
            tail = (accepted, text.set_mark(marks.accept))
            forward = Hook("FORWARD", (text.jump(names.FORWARD),), tail)
            return _jump("INPUT"), forward, _jump("OUTPUT")


def _jump(kernel_chain: str) -> Hook:
    return Hook(kernel_chain, inserts=(text.jump(f"cali-{kernel_chain}"),))


def _raw_chains(family: Family, settings: RenderSettings, overlay: Overlays) -> tuple[Chain, ...]:
    marks = settings.marks
    accept = f"{text.mark_set(marks.accept)} {text.ACCEPT}"
    wipe = text.clear_mark(marks.wiped)
    untracked = overlays.untracked_rules(settings, overlay)
    from_workload = text.mark_set(marks.scratch0)
    deny = text.verdict(deny_action(settings, "raw"))
    prerouting = (
        wipe,
        *overlays.incoming_mark_rules(overlay),
        *untracked,
        *(
            f"{text.in_interface(f'{prefix}+')} {text.set_mark(marks.scratch0)}"
            for prefix in settings.interface_prefixes
        ),
        f"{from_workload} {text.jump(names.RPF_SKIP)}",
        *(_dhcp_request() if settings.openstack and family == 4 else ()),
        f"{from_workload} {text.REVERSE_PATH_FAILED} {deny}",
        *fabric_rules(settings),
        f"{text.mark_clear(marks.scratch0)} {text.jump(names.FROM_HOST_DISPATCH)}",
        accept,
    )
    output = (wipe, text.jump(names.TO_HOST_DISPATCH), *untracked, accept)
    return (
        *failsafe_chains("raw", family, settings),
        Chain(names.PREROUTING, prerouting),
        *fabric_chains(family, settings, overlay.wireguard_device_of(family)),
        overlays.incoming_mark_chain(settings, overlay),
        Chain(names.OUTPUT, output),
    )


def _dhcp_request() -> tuple[str, ...]:
    """It comes from no address, so the reverse path would refuse it."""
    return (
        text.body(
            text.protocol("udp"),
            text.source("0.0.0.0"),  # noqa: S104  # nothing is bound
            text.source_ports("68"),
            text.destination_ports("67"),
            text.ACCEPT,
        ),
    )


def _mangle_chains(
    family: Family, settings: RenderSettings, overlay: Overlays, guards: Guards
) -> tuple[Chain, ...]:
    marks = settings.marks
    accepted = text.mark_set(marks.accept)
    allow = text.verdict(settings.mangle_allow_action)
    by_host_policy = f"{text.comment('Host endpoint policy accepted packet.')} {accepted}"
    prerouting = (
        *arriving_rules(family, settings, guards),
        f"{text.ESTABLISHED} {allow}",
        f"{accepted} {allow}",
        text.jump(names.FROM_HOST_DISPATCH),
        f"{by_host_policy} {allow}",
    )
    leaving = text.body(
        text.comment("set dscp for traffic leaving cluster."),
        text.in_set(ipset_name(names.DSCP_SOURCES_SET, family), "src"),
        text.not_in_set(ipset_name(names.ALL_POOLS_SET, family), "dst"),
        text.not_in_set(ipset_name(names.THIS_HOST_SET, family), "dst"),
        text.jump(names.EGRESS_DSCP),
    )
    postrouting = (
        *leaving_rules(family, settings, guards, overlay.wireguard_device_of(family)),
        leaving,
        f"{accepted} {text.RETURN}",
        text.clear_mark(marks.wiped),
        f"{text.DNATED} {text.jump(names.TO_HOST_DISPATCH)}",
        f"{by_host_policy} {text.RETURN}",
    )
    return (
        *failsafe_chains("mangle", family, settings),
        Chain(names.PREROUTING, prerouting),
        Chain(names.POSTROUTING, postrouting),
    )


def _nat_chains(family: Family, settings: RenderSettings, overlay: Overlays) -> tuple[Chain, ...]:
    floating = text.jump(names.FLOATING_DNAT)
    metadata: tuple[str, ...] = ()
    if settings.openstack and settings.metadata_addr and family == 4:
        target = f"{settings.metadata_addr}:{settings.metadata_port}"
        metadata = (
            text.body(
                text.protocol("tcp"),
                text.destination_ports("80"),
                text.destination(_METADATA_SERVICE),
                text.dnat(target),
            ),
        )
    postrouting = (
        text.jump(names.FLOATING_SNAT),
        text.jump(names.NAT_OUTGOING),
        *overlays.masquerade_rules(settings, overlay),
    )
    return (
        Chain(names.PREROUTING, (floating, *metadata)),
        Chain(names.POSTROUTING, postrouting),
        Chain(names.OUTPUT, (floating,)),
    )
