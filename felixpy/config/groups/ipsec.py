"""IPsec between nodes: where its keys come from, and what it may leave in clear."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from felixpy.config.network_types import INTERFACE
from felixpy.config.parameter import param
from felixpy.config.types import BOOL, FILE, SECONDS, Type, integer, list_of, one_of

Port = tuple[Literal["tcp", "udp"], int]
_PORT = re.compile(r"(?:(tcp|udp):)?(\d{1,5})", re.ASCII | re.IGNORECASE)
_NAME = r"[a-z0-9](?:[-a-z0-9.]{0,251}[a-z0-9])?"
_SECRET = re.compile(rf"(?:{_NAME}/)?{_NAME}", re.ASCII)
# What nodes offer each other, by FailsafeInboundHostPorts' default.
_FAILSAFE: tuple[Port, ...] = (
    ("tcp", 22),
    ("udp", 68),
    ("tcp", 179),
    ("tcp", 2379),
    ("tcp", 2380),
    ("tcp", 5473),
    ("tcp", 6443),
    ("tcp", 6666),
    ("tcp", 6667),
)


def _parse_port(text: str) -> Port:
    found = _PORT.fullmatch(text)
    if not found or not 1 <= int(found[2]) <= 65535:
        raise ValueError(f"{text!r} is not of the form protocol:port")
    return ("udp" if (found[1] or "").lower() == "udp" else "tcp", int(found[2]))


def _render_port(port: Port) -> str:
    return f"{port[0]}:{port[1]}"


def _parse_secret(text: str) -> str:
    if not _SECRET.fullmatch(text):
        raise ValueError("not the name of a Secret")
    return text


_PORTS: Type[tuple[Port, ...]] = list_of(
    _parse_port, _render_port, "tcp:port or udp:port with commas between them; a port alone is tcp"
)
_SECRET_NAME: Type[str] = Type("namespace/name of a Secret", "", _parse_secret, str)


@dataclass(frozen=True)
class Ipsec:
    """IPsec"""

    # Flag D on all that a mistake in would open, or cut off; flag L, as a cluster whose datastore
    # could switch encryption off would be as safe as its datastore.
    ipsec_enabled: bool = param(
        "IPsecEnabled",
        BOOL,
        False,
        "Encrypt traffic between workloads of different nodes with IPsec, of both families.",
        flags="LD",
    )
    ipsec_key_file: str = param(
        "IPsecKeyFile",
        FILE,
        "",
        "File with the keys, watched: one to a line, ID ALGORITHM KEY ICV-BITS, "
        "or ID AUTH-ALGORITHM AUTH-KEY ALGORITHM KEY; IDs go from 1 to 15, and 1 comes after 15.",
        flags="LD",
        live=True,
    )
    ipsec_key_secret: str = param(
        "IPsecKeySecret",
        _SECRET_NAME,
        "",
        "Instead of a file, a Secret below SecretsPath, or a credential of systemd named "
        "<name>.keys: its entry keys is such a file.",
        flags="LD",
        live=True,
    )
    ipsec_interface: str = param(
        "IPsecInterface",
        INTERFACE,
        "",
        "The network-facing interface; unset: that of the default route.",
        flags="LD",
    )
    ipsec_node_encryption: bool = param(
        "IPsecNodeEncryption",
        BOOL,
        False,
        "Encrypt what nodes say to each other too, where both of them ask for it.",
        flags="LD",
    )
    ipsec_node_clear_ports: tuple[Port, ...] = param(
        "IPsecNodeClearPorts",
        _PORTS,
        _FAILSAFE,
        "Ports of nodes that are reached in clear with IPsecNodeEncryption too, besides those of "
        "the datastore, BGP and IKE; the same on all nodes.",
        flags="LD",
    )
    ipsec_state_layout: Literal["pair", "shared"] = param(
        "IPsecStateLayout",
        one_of("pair", "shared", none="pair"),
        "pair",
        "States of IPsec for each pair of nodes, with derived keys and protection against replay, "
        "or those that all share, as Cilium has them; the same on all nodes.",
        flags="LDZ",
    )
    ipsec_allow_clear: bool = param(
        "IPsecAllowClear",
        BOOL,
        False,
        "Let traffic pass in clear while keys are missing: for the time of switching IPsec on.",
        flags="LD",
    )
    ipsec_key_grace: float = param(
        "IPsecKeyGrace",
        SECONDS,
        300.0,
        "How long a key that has left the file is still taken from nodes that send with it.",
        flags="LD",
    )
    ipsec_key_max_age: float = param(
        "IPsecKeyMaxAge",
        SECONDS,
        7776000.0,
        "Age from which on a key is to be replaced, as status says then; 0: never.",
        flags="L",
        live=True,
    )
    ipsec_req_id: int = param(
        "IPsecReqID",
        integer(1, 0xFFFFFFFF),
        1,
        "What ties states of IPsec to policies of ours; another one beside other IPsec software.",
        flags="LDZ",
    )
