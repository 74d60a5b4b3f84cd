"""BGP: whether this agent writes BIRD's configuration, and what the datastore cannot say of it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from ipaddress import IPv4Address

from felixpy.config.parameter import param
from felixpy.config.types import BOOL, FILE, Type, integer, list_of

_RESOURCE_NAME = re.compile(r"[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?", re.ASCII)
_LONGEST_CONFIRMATION = 3600  # seconds


def _parse_peer(text: str) -> str:
    if not _RESOURCE_NAME.fullmatch(text):
        raise ValueError(f"{text!r} is not the name of a BGPPeer")
    return text


def _parse_peer_or_all(text: str) -> str:
    return text if text == "*" else _parse_peer(text)


def _parse_router_id(text: str) -> str:
    if text.lower() == "hash":
        return "hash"
    address = IPv4Address(text)
    if not int(address):
        raise ValueError("0.0.0.0 identifies no router")
    return str(address)


_PEERS: Type[tuple[str, ...]] = list_of(_parse_peer, str, "names of BGPPeers, with commas between")
_PEERS_OR_ALL: Type[tuple[str, ...]] = list_of(
    _parse_peer_or_all, str, "names of BGPPeers, mesh, or *, with commas between"
)
_ROUTER_ID: Type[str] = Type("hash or an IPv4 address", "", _parse_router_id, str)


@dataclass(frozen=True)
class Bgp:
    """BGP"""

    # Flag D on what a mistake in would take sessions down for: where BGPEnabled fell back to its
    # default, the agent would take BIRD's routes for what an earlier run has left.
    bgp_enabled: bool = param(
        "BGPEnabled",
        BOOL,
        False,
        "Write BIRD's configuration and keep the daemon in step with the datastore.",
        flags="LD",
        live=True,
    )
    bird_config_file: str = param(
        "BirdConfigFile",
        FILE,
        "/etc/bird/felixpy.conf",
        "The configuration that is written for BIRD; it holds passwords, and is for root and BIRD.",
        flags="LDZ",
        live=True,
    )
    bird_control_socket: str = param(
        "BirdControlSocket",
        FILE,
        "/run/bird/felixpy.ctl",
        "Socket on which BIRD takes orders.",
        flags="LDZ",
        live=True,
    )
    secrets_path: str = param(
        "SecretsPath",
        FILE,
        "/etc/felixpy/secrets",
        "Directory whose manifests are the Secrets with BGP's passwords; for root alone.",
        flags="LD",
        live=True,
    )
    bird_confirm_timeout_secs: int = param(
        "BirdConfirmTimeoutSecs",
        integer(1, _LONGEST_CONFIRMATION),
        60,
        "How long sessions have after a change to be back as they were, before it is undone.",
        flags="LZ",
        unit="s",
        live=True,
    )
    bgp_router_id: str = param(
        "BGPRouterID",
        _ROUTER_ID,
        "",
        "BGP's identifier of this node, or hash: made from its name; unset: its IPv4 address.",
        flags="LD",
        live=True,
    )
    bgp_bfd_peers: tuple[str, ...] = param(
        "BGPBfdPeers",
        _PEERS_OR_ALL,
        (),
        "BGPPeers whose sessions BFD watches, at the price of graceful restart; mesh; *: all.",
        flags="L",
        live=True,
    )
    bgp_unguarded_peers: tuple[str, ...] = param(
        "BGPUnguardedPeers",
        _PEERS,
        (),
        "BGPPeers whose BGPFilters may accept what the guards against hijacked routes refuse.",
        flags="L",
        live=True,
    )
