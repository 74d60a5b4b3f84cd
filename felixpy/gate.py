"""The ready gate: while ClusterInformation says that the datastore is not ready, as during a
migration, its changes wait.

    in   changes, by key
    out  changes to work in now: all that has waited, as soon as the gate is open

Without a ClusterInformation a directory of manifests is ready, and an etcd is not: there somebody
has to set a cluster up.
Source: section 6.5 of the data model reference; Felix restarts where this waits.
"""

from __future__ import annotations

from collections.abc import Mapping

from calc_graph.model import ClusterInformation, ClusterInformationKey, Key, Value

_KEY = ClusterInformationKey("default")


class ReadyGate:
    def __init__(self, *, open_without: bool) -> None:
        """`open_without`: a datastore that has no ClusterInformation is ready."""
        self._open_without = open_without
        self.open = open_without
        self._waiting: dict[Key, Value | None] = {}

    def pass_on(self, changes: Mapping[Key, Value | None]) -> dict[Key, Value | None]:
        """The newest value of each key that may be worked in; empty while the gate is closed."""
        self._waiting.update(changes)
        if _KEY in changes:
            cluster = changes[_KEY]
            if isinstance(cluster, ClusterInformation):
                self.open = cluster.ready
            else:
                self.open = self._open_without
        if not self.open:
            return {}
        passed, self._waiting = self._waiting, {}
        return passed
