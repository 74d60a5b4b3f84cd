"""Ports that stay open whatever policy says: settings in, the two failsafe chains out.

Raw comes before connection tracking, so there each chain also lets the replies of the other one
through. Source: projectcalico/calico felix/rules/static.go; section 1.8 of the rules reference.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from dataplane.chains import Chain
from dataplane.families import Family
from dataplane.render import names, text
from dataplane.render.names import Table
from dataplane.settings import FailsafePort, RenderSettings


def failsafe_chains(table: Table, family: Family, settings: RenderSettings) -> tuple[Chain, Chain]:
    """Incoming, outgoing.  An entry with a net of the other family is left out: it names no peer
    here.
    """
    inbound, outbound = settings.failsafe_inbound, settings.failsafe_outbound
    bodies_in = _accept(inbound, family, text.source, text.destination_ports)
    bodies_out = _accept(outbound, family, text.destination, text.destination_ports)
    if table == "raw":
        bodies_in += _accept(outbound, family, text.source, text.source_ports)
        bodies_out += _accept(inbound, family, text.destination, text.source_ports)
    return Chain(names.FAILSAFE_IN, tuple(bodies_in)), Chain(names.FAILSAFE_OUT, tuple(bodies_out))


def _accept(
    entries: Iterable[FailsafePort],
    family: Family,
    peer: Callable[[str], str],
    ports: Callable[[str], str],
) -> list[str]:
    return [
        text.body(
            text.protocol(entry.protocol),
            ports(str(entry.port)),
            peer(entry.net) if entry.net else "",
            text.ACCEPT,
        )
        for entry in entries
        if not entry.net or (":" in entry.net) == (family == 6)
    ]
