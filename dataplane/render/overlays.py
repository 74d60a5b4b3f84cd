"""What tunnels add to the fixed chains: the overlays of one address family in, rules out.  All
are off by default.

    filter INPUT, OUTPUT   encapsulated packets from and to hosts of the cluster, nobody else's
    raw                    no tracking of VXLAN; a mark for what WireGuard has not decrypted
    nat POSTROUTING        packets of the host's own that leave by a tunnel take its address

Source: projectcalico/calico felix/rules/static.go; sections 1.2 to 1.5 of the rules reference.
"""

from __future__ import annotations

from msgspec import Struct

from dataplane.chains import Chain
from dataplane.families import Family
from dataplane.render import names, text
from dataplane.render.actions import deny_action, spoken
from dataplane.render.names import ipset_name
from dataplane.settings import WIREGUARD_DEVICES, RenderSettings

_IPIP = 4  # protocol numbers, as Felix writes them here
_UDP = 17
_FIRST_FREE_PORT = 1024
_LAST_PORT = 65535


class Overlays(Struct, frozen=True):
    """The tunnels of one address family; a device of "" is a tunnel that is off.

    `…_addressed` says that the device's own address is known.  `wireguard_mark` is 0 unless
    traffic between hosts is encrypted too; `wireguard_devices` are those of both families, IPv4
    first, on or off.
    """

    ipip_device: str = ""  # IPv4 only
    ipip_addressed: bool = False
    vxlan_device: str = ""
    vxlan_addressed: bool = False
    wireguard_device: str = ""
    wireguard_port: int = 51820
    wireguard_mark: int = 0
    wireguard_devices: tuple[str, str] = WIREGUARD_DEVICES

    def wireguard_device_of(self, family: Family) -> str:
        """On or off."""
        return self.wireguard_devices[0 if family == 4 else 1]


NO_OVERLAYS = Overlays()


def input_rules(family: Family, settings: RenderSettings, overlays: Overlays) -> tuple[str, ...]:
    """At the start of filter INPUT."""
    return (
        *(_ipip_input(settings) if overlays.ipip_device and family == 4 else ()),
        *(_vxlan_input(family, settings) if overlays.vxlan_device else ()),
        *_wireguard("incoming", text.TO_LOCAL, family, settings, overlays),
    )


def output_rules(family: Family, settings: RenderSettings, overlays: Overlays) -> tuple[str, ...]:
    """In filter OUTPUT, after what goes to workloads has left."""
    allow = text.verdict(settings.filter_allow_action)
    bodies: list[str] = []
    if overlays.ipip_device and family == 4:
        title = text.comment("Allow IPIP packets to other Calico hosts")
        hosts = text.in_set(ipset_name(names.ALL_HOSTS_SET, family), "dst")
        bodies.append(text.body(title, text.protocol(_IPIP), hosts, text.FROM_LOCAL, allow))
    if overlays.vxlan_device:
        title = text.comment(f"Allow IPv{family} VXLAN packets to other allowed hosts")
        hosts = text.in_set(ipset_name(names.ALL_VXLAN_SET, family), "dst")
        bodies.append(text.body(title, _vxlan(settings), text.FROM_LOCAL, hosts, allow))
    return *bodies, *_wireguard("outgoing", text.FROM_LOCAL, family, settings, overlays)


def untracked_rules(settings: RenderSettings, overlays: Overlays) -> tuple[str, ...]:
    """In raw: tracking encapsulated packets costs and tells nothing."""
    if not overlays.vxlan_device:
        return ()
    return (f"-p udp --dport {settings.vxlan_port} {text.NOTRACK}",)


def incoming_mark_rules(overlays: Overlays) -> tuple[str, ...]:
    """In raw PREROUTING, first thing after the marks are wiped."""
    return (text.jump(names.WIREGUARD_INCOMING_MARK),) if overlays.wireguard_mark else ()


def incoming_mark_chain(settings: RenderSettings, overlays: Overlays) -> Chain:
    """Only referred to where traffic between hosts is encrypted."""
    known = (
        "lo",
        *overlays.wireguard_devices,
        *(f"{prefix}+" for prefix in settings.interface_prefixes),
    )
    returns = (f"{text.in_interface(name)} {text.RETURN}" for name in known)
    mark = text.set_mark(overlays.wireguard_mark)
    return Chain(names.WIREGUARD_INCOMING_MARK, (*returns, mark))


def masquerade_rules(settings: RenderSettings, overlays: Overlays) -> tuple[str, ...]:
    """In nat POSTROUTING: a packet with an address of this host, but not of the device it leaves
    by.
    """
    devices = (
        overlays.ipip_device if overlays.ipip_addressed else "",
        overlays.vxlan_device if overlays.vxlan_addressed else "",
        overlays.wireguard_device,
    )
    random_fully = settings.random_fully
    bodies: list[str] = []
    for device in filter(None, devices):
        match = text.body(text.out_interface(device), text.NOT_FROM_OUT_INTERFACE, text.FROM_LOCAL)
        if overlays.vxlan_device:
            # A reply to the VXLAN port would end in the tunnel's socket, not in the connection.
            ports = _ports_beside(settings.vxlan_port)
            action = text.masquerade(random_fully=random_fully, ports=ports)
            bodies.append(text.body(text.protocol(_UDP), match, action))
        bodies.append(text.body(match, text.masquerade(random_fully=random_fully)))
    return tuple(bodies)


def _ipip_input(settings: RenderSettings) -> tuple[str, str]:
    deny = deny_action(settings, "filter")
    ipip = text.protocol(_IPIP)
    allowed = text.body(
        text.comment("Allow IPIP packets from Calico hosts"),
        ipip,
        text.in_set(ipset_name(names.ALL_HOSTS_SET, 4), "src"),
        text.TO_LOCAL,
        text.verdict(settings.filter_allow_action),
    )
    title = text.comment(f"{spoken(deny)} IPIP packets from non-Calico hosts")
    return allowed, text.body(title, ipip, text.verdict(deny))


def _vxlan_input(family: Family, settings: RenderSettings) -> tuple[str, str]:
    # Felix drops in IPv4 whatever the deny action is, and denies in IPv6; the ids must agree.
    deny = "DROP" if family == 4 else deny_action(settings, "filter")
    vxlan = _vxlan(settings)
    allowed = text.body(
        text.comment(f"Allow IPv{family} VXLAN packets from allowed hosts"),
        vxlan,
        text.in_set(ipset_name(names.ALL_VXLAN_SET, family), "src"),
        text.TO_LOCAL,
        text.verdict(settings.filter_allow_action),
    )
    title = text.comment(f"{spoken(deny)} IPv{family} VXLAN packets from non-allowed hosts")
    return allowed, text.body(title, vxlan, text.TO_LOCAL, text.verdict(deny))


def _vxlan(settings: RenderSettings) -> str:
    return f"{text.protocol(_UDP)} {text.destination_ports(str(settings.vxlan_port))}"


def _wireguard(
    way: str, local: str, family: Family, settings: RenderSettings, overlays: Overlays
) -> tuple[str, ...]:
    if not overlays.wireguard_device:
        return ()
    return (
        text.body(
            text.comment(f"Allow {way} IPv{family} Wireguard packets"),
            text.protocol(_UDP),
            text.destination_ports(str(overlays.wireguard_port)),
            local,
            text.verdict(settings.filter_allow_action),
        ),
    )


def _ports_beside(port: int) -> tuple[int, int]:
    """The wider of the two ranges beside a port, without the privileged ones."""
    below = (_FIRST_FREE_PORT, port - 1)
    above = (max(port + 1, _FIRST_FREE_PORT), _LAST_PORT)
    return below if below[1] - below[0] > above[1] - above[0] else above
