"""What IPsec leads through tunnels, and so never in clear: the nets of other nodes' workloads.

    in   RouteUpdate, RouteRemove; the families in which IPsec keeps the way to such nets closed
         until it is encrypted
    out  whether an address is in one of them

What nodes say to each other is left out: which of it is encrypted depends on both ends' records,
and on ports.
"""

from __future__ import annotations

from calc_graph.judge.flow import Family
from calc_graph.judge.members import family_of
from calc_graph.judge.rules import mask_and_value
from calc_graph.updates import RouteRemove, RouteType, RouteUpdate

_THEIRS = RouteType.REMOTE_WORKLOAD | RouteType.REMOTE_TUNNEL


class Tunnelled:
    def __init__(self, families: frozenset[Family]) -> None:
        self._families = families
        self._nets: dict[Family, dict[int, set[int]]] = {family: {} for family in families}

    def copy(self) -> Tunnelled:
        other = Tunnelled(self._families)
        other._nets = {
            family: {mask: set(values) for mask, values in nets.items()}
            for family, nets in self._nets.items()
        }
        return other

    def update(self, update: RouteUpdate | RouteRemove) -> None:
        nets = self._nets.get(family_of(update.cidr))
        if nets is None:
            return
        mask, value = mask_and_value(update.cidr)
        values = nets.setdefault(mask, set())
        if isinstance(update, RouteUpdate) and _is_theirs(update):
            values.add(value)
        else:
            values.discard(value)

    def holds(self, family: Family, address: int) -> bool:
        nets = self._nets.get(family, {})
        return any(address & mask in values for mask, values in nets.items())


def _is_theirs(update: RouteUpdate) -> bool:
    """A node's own address is where the tunnels run."""
    if update.local_workload or RouteType.REMOTE_HOST in update.types:
        return False
    return bool(update.types & _THEIRS)
