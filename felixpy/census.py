"""Which resources have been worked in, by kind: for metrics, and for who guards against their loss.

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
        self._counts: Counter[type] = Counter(dict.fromkeys(COUNTED, 0))

    def note(self, key: Key, value: Value | None) -> None:
        if (value is not None) == (key in self._known):
            return
        if value is None:
            self._known.discard(key)
            self._counts[type(key)] -= 1
        else:
            self._known.add(key)
            self._counts[type(key)] += 1

    def __contains__(self, key: Key) -> bool:
        return key in self._known

    def number(self, *kinds: type) -> int:
        """How many keys of these classes there are."""
        return sum(self._counts[kind] for kind in kinds)

    def counts(self) -> dict[str, int]:
        """Felix's word for a kind -> number; may be asked by another thread."""
        return {word: self._counts[kind] for kind, word in COUNTED.items()}
