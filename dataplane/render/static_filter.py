"""The fixed chains of the filter table.

    FORWARD      host endpoints' forward policy, workloads by interface, forward policy again,
                 looping service addresses
    INPUT        tunnels, workloads to wl-to-host, host endpoints
    wl-to-host   what a workload may always ask its host (within its limit, if there is one: see
                 workload_limit), its egress policy, DefaultEndpointToHostAction
    OUTPUT       nothing for local workloads, tunnels, host endpoints

The accept mark survives into FORWARD, because raw and mangle may have accepted already. Source:
projectcalico/calico felix/rules/static.go; section 1.5 of the rules reference.
"""

from __future__ import annotations

from dataplane.chains import Chain
from dataplane.families import Family
from dataplane.render import names, overlays, text
from dataplane.render.failsafe import failsafe_chains
from dataplane.render.overlays import Overlays
from dataplane.settings import RenderSettings

_ICMPV6 = 58
_NEIGHBOUR_TYPES = (
    130,  # multicast listener query
    131,  # multicast listener report
    132,  # multicast listener done
    133,  # router solicitation; an advertisement (134) is not for a workload to send
    135,  # neighbour solicitation
    136,  # neighbour advertisement
)
_DHCP_PORTS = {4: ("68", "67"), 6: ("546", "547")}  # client, server


def filter_chains(family: Family, settings: RenderSettings, overlay: Overlays) -> tuple[Chain, ...]:
    failsafe_in, failsafe_out = failsafe_chains("filter", family, settings)
    return (
        Chain(names.FORWARD, _forward(settings)),
        Chain(names.INPUT, _input(family, settings, overlay)),
        Chain(names.WORKLOAD_TO_HOST, _workload_to_host(family, settings)),
        failsafe_in,
        Chain(names.OUTPUT, _output(family, settings, overlay)),
        failsafe_out,
    )


def _forward(settings: RenderSettings) -> tuple[str, ...]:
    marks = settings.marks
    dispatch: list[str] = []
    for prefix in settings.interface_prefixes:
        from_, to = text.in_interface(f"{prefix}+"), text.out_interface(f"{prefix}+")
        dispatch.append(f"{from_} {text.jump(names.FROM_WORKLOAD_DISPATCH)}")
        dispatch.append(f"{to} {text.jump(names.TO_WORKLOAD_DISPATCH)}")
    return (
        text.clear_mark(marks.wiped & ~marks.accept),
        f"{text.mark_clear(marks.accept)} {text.jump(names.FROM_HOST_FORWARD_DISPATCH)}",
        *dispatch,
        text.jump(names.TO_HOST_FORWARD_DISPATCH),
        text.jump(names.CIDR_BLOCK),
    )


def _input(family: Family, settings: RenderSettings, overlay: Overlays) -> tuple[str, ...]:
    marks = settings.marks
    return (
        *overlays.input_rules(family, settings, overlay),
        *(
            f"{text.in_interface(f'{prefix}+')} {text.goto(names.WORKLOAD_TO_HOST)}"
            for prefix in settings.interface_prefixes
        ),
        _accepted(settings),
        text.clear_mark(marks.wiped),
        text.jump(names.FROM_HOST_DISPATCH),
        _accepted_by_host_policy(settings),
    )


def _workload_to_host(family: Family, settings: RenderSettings) -> tuple[str, ...]:
    limited = settings.workload_to_host_rate > 0
    accept = text.verdict(settings.filter_allow_action)
    allow = text.goto(names.WORKLOAD_LIMIT_DISPATCH) if limited else accept
    neighbours = (
        f"{text.protocol(_ICMPV6)} -m icmp6 --icmpv6-type {kind} {allow}"
        for kind in _NEIGHBOUR_TYPES
        if family == 6
    )
    action = text.verdict(settings.endpoint_to_host_action)
    return (
        *neighbours,
        *(_openstack_services(family, settings, allow) if settings.openstack else ()),
        text.jump(names.FROM_WORKLOAD_DISPATCH),
        f"{text.comment('Configured DefaultEndpointToHostAction')} {action}",
    )


def _openstack_services(family: Family, settings: RenderSettings, allow: str) -> tuple[str, ...]:
    """Metadata, DHCP and DNS, which OpenStack serves from the host."""
    udp = text.protocol("udp")
    client, server = _DHCP_PORTS[family]
    dhcp = text.body(udp, text.source_ports(client), text.destination_ports(server), allow)
    dns = text.body(udp, text.destination_ports("53"), allow)
    if family == 6 or not settings.metadata_addr:
        return dhcp, dns
    metadata = text.body(
        text.protocol("tcp"),
        text.destination(settings.metadata_addr),
        text.destination_ports(str(settings.metadata_port)),
        allow,
    )
    return metadata, dhcp, dns


def _output(family: Family, settings: RenderSettings, overlay: Overlays) -> tuple[str, ...]:
    return (
        _accepted(settings),
        *(
            f"{text.out_interface(f'{prefix}+')} {text.RETURN}"
            for prefix in settings.interface_prefixes
        ),
        *overlays.output_rules(family, settings, overlay),
        text.clear_mark(settings.marks.wiped),
        f"{text.NOT_DNATED} {text.jump(names.TO_HOST_DISPATCH)}",
        _accepted_by_host_policy(settings),
    )


def _accepted(settings: RenderSettings) -> str:
    """By untracked or pre-DNAT policy."""
    return f"{text.mark_set(settings.marks.accept)} {text.verdict(settings.filter_allow_action)}"


def _accepted_by_host_policy(settings: RenderSettings) -> str:
    return f"{text.comment('Host endpoint policy accepted packet.')} {_accepted(settings)}"
