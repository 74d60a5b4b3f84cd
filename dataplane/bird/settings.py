"""What the configuration says to the part of the dataplane that is BIRD."""

from __future__ import annotations

from pathlib import Path

from msgspec import Struct


class BirdSettings(Struct, frozen=True):
    """`bfd` and `unguarded` are names of BGPPeers, "mesh" for the mesh; in `bfd` "*" means all.

    An unguarded session's BGPFilters may let pass what the guards against hijacking refuse.
    `router_id` is an IPv4 address, "hash" (made from the node's name) or "" (the node's address).
    """

    config_file: Path = Path("/etc/bird/felixpy.conf")
    control_socket: Path = Path("/run/bird/felixpy.ctl")
    group: str = "bird"  # may read the file; root's where there is no such group
    confirm_seconds: float = 60.0  # until sessions must be back after a change
    interface_prefixes: tuple[str, ...] = ("cali",)
    device_route_protocol: int = 80
    router_id: str = ""
    bfd: frozenset[str] = frozenset()
    unguarded: frozenset[str] = frozenset()
