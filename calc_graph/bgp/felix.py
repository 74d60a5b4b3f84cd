"""What Felix's parameters say of the two things that BGPConfiguration has to agree with."""

from __future__ import annotations

from msgspec import Struct

from calc_graph.bgp.resources import ProgramRoutes


class FelixSettings(Struct, frozen=True):
    """As they hold on this node, wherever they come from.  The priorities are kernel metrics.

    `named_peers`: (parameter, name) for each BGPPeer that a parameter is about.
    """

    program_routes: ProgramRoutes = "EnabledIPIPOnly"
    priority_v4: int = 1024
    priority_v6: int = 1024
    named_peers: frozenset[tuple[str, str]] = frozenset()
