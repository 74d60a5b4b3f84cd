"""The judge's words for what the agent knows: its settings, and the machine's interfaces.

    in   dataplane.settings.Settings, dataplane.interfaces.Interface
    out  JudgeSettings, HostView

Both judge and dataplane are made from one configuration, so that they say the same.
"""

from __future__ import annotations

from collections.abc import Iterable

from calc_graph.judge import FailsafePort, HostInterface, HostView, JudgeSettings
from dataplane.interfaces import Interface
from dataplane.settings import FailsafePort as RenderedPort
from dataplane.settings import Settings


def judge_settings(settings: Settings) -> JudgeSettings:
    """Settings, not Config: to make them may take the time of looking up a name."""
    render = settings.render
    return JudgeSettings(
        ipv6=settings.ipv6,
        interface_prefixes=render.interface_prefixes,
        filter_allow_action=render.filter_allow_action,
        endpoint_to_host_action=render.endpoint_to_host_action,
        failsafe_inbound=_ports(render.failsafe_inbound),
        failsafe_outbound=_ports(render.failsafe_outbound),
        service_loop_prevention=render.service_loop_prevention != "Disabled",
        allow_vxlan_from_workloads=render.allow_vxlan_from_workloads,
        allow_ipip_from_workloads=render.allow_ipip_from_workloads,
        vxlan_port=render.vxlan_port,
        wireguard_devices=settings.wireguard.devices,
        ipsec=frozenset() if settings.ipsec.allow_clear else settings.ipsec.families,
        openstack=render.openstack,
        metadata_addr=render.metadata_addr,
        metadata_port=render.metadata_port,
        floating_ips=settings.floating_ips,
        source_spoofing=settings.source_spoofing,
        route_sync=settings.route_sync,
    )


def host_view(interfaces: Iterable[Interface]) -> HostView:
    """A new object each time; the judge works out who governs what once for each of them."""
    return HostView({each.name: HostInterface(each.index, each.addresses) for each in interfaces})


def _ports(listed: Iterable[RenderedPort]) -> tuple[FailsafePort, ...]:
    return tuple(FailsafePort(port.protocol, port.port, port.net) for port in listed)
