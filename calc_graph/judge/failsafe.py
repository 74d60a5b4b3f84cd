"""Ports that stay open whatever policy says.

Raw comes before connection tracking, so there each direction also lets the replies of the other one
through.  An entry with a net of the other family is not there.
Source: projectcalico/calico felix/rules/static.go; section 1.8 of the rules reference.
"""

from __future__ import annotations

from typing import NamedTuple

from calc_graph.judge.flow import TCP, UDP, Family
from calc_graph.judge.members import family_of
from calc_graph.judge.rules import Facts, mask_and_value
from calc_graph.judge.settings import FailsafePort, JudgeSettings
from calc_graph.judge.verdict import Direction

_NUMBERS = {"tcp": TCP, "udp": UDP}
_ANYBODY = (0, 0)


class _Entry(NamedTuple):
    protocol: int
    port: int
    mask: int
    value: int


class Failsafes:
    def __init__(self, settings: JudgeSettings) -> None:
        families: tuple[Family, ...] = (4, 6)
        self._inbound = {f: _entries(settings.failsafe_inbound, f) for f in families}
        self._outbound = {f: _entries(settings.failsafe_outbound, f) for f in families}

    def let(self, direction: Direction, facts: Facts, *, raw: bool = False) -> bool:
        """`direction` is "ingress" for what comes to the host."""
        inbound, outbound = self._inbound[facts.family], self._outbound[facts.family]
        if direction == "ingress":
            own, other, peer = inbound, outbound, facts.source
        else:
            own, other, peer = outbound, inbound, facts.destination
        if _listed(own, facts.protocol, facts.destination_port, peer):
            return True
        return raw and _listed(other, facts.protocol, facts.source_port, peer)


def _entries(ports: tuple[FailsafePort, ...], family: Family) -> tuple[_Entry, ...]:
    return tuple(
        _Entry(_NUMBERS[p.protocol], p.port, *(mask_and_value(p.net) if p.net else _ANYBODY))
        for p in ports
        if not p.net or family_of(p.net) == family
    )


def _listed(entries: tuple[_Entry, ...], protocol: int, port: int, peer: int) -> bool:
    return any(
        entry.port == port and entry.protocol == protocol and peer & entry.mask == entry.value
        for entry in entries
    )
