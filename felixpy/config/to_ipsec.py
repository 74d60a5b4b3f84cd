"""The parameters in the words of the dataplane's IPsec, and what in them cannot be."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Final, Literal
from urllib.parse import urlsplit

from dataplane.families import Family
from dataplane.ipsec.values import MARK_MASK
from dataplane.settings import IpsecSettings
from felixpy.config.parameters import Config

# Routes have to be there first, and IKE of others must not be in the way of its own traffic.
_ALWAYS_CLEAR: Final[tuple[tuple[Literal["tcp", "udp"], int], ...]] = (
    ("tcp", 179),
    ("udp", 500),
    ("udp", 4500),
)


def to_ipsec(config: Config) -> IpsecSettings:
    return IpsecSettings(
        families=_families(config) - both_families(config),
        interface=config.ipsec_interface,
        layout=config.ipsec_state_layout,
        reqid=config.ipsec_req_id,
        allow_clear=config.ipsec_allow_clear,
        node_encryption=config.ipsec_node_encryption,
        clear_ports=_clear_ports(config),
        key_grace=config.ipsec_key_grace,
    )


def both_families(config: Config) -> frozenset[Family]:
    """Those that WireGuard encrypts already, as file or environment say: by both nothing is."""
    wireguard: set[Family] = set()
    if config.wireguard_enabled:
        wireguard.add(4)
    if config.wireguard_enabled_v6:
        wireguard.add(6)
    return _families(config) & wireguard


def _families(config: Config) -> frozenset[Family]:
    if not config.ipsec_enabled:
        return frozenset()
    return frozenset({4, 6}) if config.ipv6_support else frozenset({4})


def _clear_ports(config: Config) -> tuple[tuple[Literal["tcp", "udp"], int], ...]:
    """Sorted, each once; of no use where nodes do not encrypt what they say to each other."""
    if not config.ipsec_node_encryption:
        return ()
    found = {*config.ipsec_node_clear_ports, *_ALWAYS_CLEAR}
    if config.datastore_type != "file":
        ports = (urlsplit(endpoint).port for endpoint in config.etcd_endpoints)
        found |= {("tcp", port) for port in ports if port}
    return tuple(sorted(found))


def ipsec_claims(value: Callable[[str], Any]) -> Iterator[tuple[str, bool, str]]:
    """What other parameters must be, and why, unless this machine itself says otherwise.

    That IPsec is on is said by file or environment alone.  Whoever can write to the datastore must
    not be able to take that back: by WireGuard, whose keys the datastore vouches for, or by having
    IPv6 left alone, whose workloads would then go on in clear.
    """
    if not value("IPsecEnabled"):
        return
    reason = "of the datastore is not followed: IPsec encrypts IPv{} here"
    yield "Ipv6Support", True, f"{reason.format(6)}, which would be left alone, and in clear"
    yield "WireguardEnabled", False, reason.format(4)
    if value("Ipv6Support"):
        yield "WireguardEnabledV6", False, reason.format(6)


def ipsec_faults(value: Callable[[str], Any]) -> Iterator[tuple[str, str]]:
    """Parameter and reason for each thing that IPsec could not work with, while it is on.

    `value` gives that of a parameter.
    """
    if not value("IPsecEnabled"):
        return
    sources = [name for name in ("IPsecKeyFile", "IPsecKeySecret") if value(name)]
    if not sources:
        yield "IPsecKeyFile", "neither it nor IPsecKeySecret says where the keys are"
    elif len(sources) > 1:
        yield "IPsecKeySecret", "goes not together with IPsecKeyFile: which keys are meant?"
    if value("IptablesMarkMask") & MARK_MASK:
        reason = f"must not have bits of {MARK_MASK:#010x}, which are IPsec's, as Cilium has it"
        yield "IptablesMarkMask", reason
    interface = value("IPsecInterface")
    if interface.endswith("+") or interface.startswith(value("InterfacePrefix")):
        yield "IPsecInterface", "must be the name of one interface, and not like a workload's"


def ipsec_oddities(value: Callable[[str], Any]) -> Iterator[tuple[str, str]]:
    """As `ipsec_faults`, for what leaves IPsec without effect."""
    if not value("IPsecEnabled"):
        return
    for suffix, family in (("", 4), ("V6", 6)):
        if value(f"WireguardEnabled{suffix}") and (family == 4 or value("Ipv6Support")):
            yield (
                "IPsecEnabled",
                f"has no effect on IPv{family}: WireguardEnabled{suffix} is on, which encrypts it",
            )
