"""How many resources of each kind the datastore holds, for metrics.

Felix counts hosts by their Node resources, and policies with the staged ones among them.
"""

from __future__ import annotations

from collections import Counter

from calc_graph.model import (
    HostEndpointKey,
    Key,
    NodeKey,
    PolicyKey,
    ProfileKey,
    TierKey,
    Value,
    WorkloadEndpointKey,
)

COUNTED: dict[type, str] = {
    NodeKey: "hosts",
    WorkloadEndpointKey: "workload_endpoints",
    HostEndpointKey: "host_endpoints",
    PolicyKey: "policies",
    ProfileKey: "profiles",
    TierKey: "tiers",
}


class Census:
    """Keeps keys, which the graph keeps anyway, and no values."""

    def __init__(self) -> None:
        self._known: set[Key] = set()
        self._counts: Counter[str] = Counter(dict.fromkeys(COUNTED.values(), 0))

    def note(self, key: Key, value: Value | None) -> None:
        kind = COUNTED.get(type(key))
        if kind is None or (value is not None) == (key in self._known):
            return
        if value is None:
            self._known.discard(key)
            self._counts[kind] -= 1
        else:
            self._known.add(key)
            self._counts[kind] += 1

    def counts(self) -> dict[str, int]:
        """Kind -> number; may be asked by another thread."""
        return dict(self._counts)
