"""WireGuard's place in the pipeline: what is known of it, what it is switched on for, what is told.

    note, in_sync             what the datastore says
    admit, review             the settings of a dataplane, once the pre-flight has seen them; and
                              whether one has to be built anew because of that
    attach, turn              the dataplane that there is; it has been written
    status, problems          for the status file
    keys, details, facts      for commands
    figures                   for metrics

Switched off it is used alike: what is left of it goes, and its keys are withdrawn.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from calc_graph.model import Key, Value
from dataplane.dataplane import Dataplane
from dataplane.settings import Settings
from dataplane.wireguard.status import FamilyStatus
from felixpy.config import Config
from felixpy.holds import Holds
from felixpy.status import WireguardStatus
from felixpy.statusrep.store import StatusStore
from felixpy.wireguard.conditions import conditions_of
from felixpy.wireguard.facts import Facts, Nodes, facts_of
from felixpy.wireguard.figures import read_figures, wanted
from felixpy.wireguard.publishing import Conditions, NodePublisher, PublishedKey
from felixpy.wireguard.switch import Switch


class WireguardPart:
    """`config` is asked for the configuration of the moment; `store` takes what this node tells of
    itself; `directory` is the agent's own.
    """

    def __init__(
        self, config: Callable[[], Config], store: StatusStore, holds: Holds, directory: Path
    ) -> None:
        self._config = config
        self._publisher = NodePublisher(store, config().felix_hostname)
        self._nodes = Nodes()
        self._switch = Switch(self._facts, holds, directory, time.monotonic)
        self._in_sync = False
        self._dataplane: Dataplane | None = None
        self._known: tuple[FamilyStatus, ...] = ()  # as of the last apply
        self._conditions: Conditions = {}  # likewise
        self.status: tuple[WireguardStatus, ...] = ()

    # ---------------------------------------------------------------- told

    def note(self, key: Key, value: Value | None) -> None:
        """None: gone, or never valid."""
        self._publisher.note(key, value)
        self._nodes.note(key, value)

    def in_sync(self) -> None:
        """The datastore has said all that it knows."""
        self._in_sync = True

    def attach(self, dataplane: Dataplane | None) -> None:
        """None: there is none any more."""
        self._dataplane = dataplane

    def turn(self, *, applied: bool) -> None:
        """After each turn of the dataplane: the devices, which have the keys, are its own."""
        self._publisher.check()
        if self._dataplane is None:
            return
        if applied:
            self._known = self._dataplane.wireguard.known()
            self._conditions = conditions_of(self._known, self._switch.reasons)
            self.status = tuple(_told(each) for each in wanted(self._known))
        self._publisher.offer(self._dataplane.wireguard.keys(), self._conditions)

    # ---------------------------------------------------------------- the switch

    async def admit(self, settings: Settings) -> Settings:
        """With the families held that must wait."""
        return await self._switch.admit(settings)

    async def review(self) -> bool:
        """Whether what is held is other than it was when the settings were admitted."""
        return await self._switch.review()

    def seconds_to_next(self) -> float:
        """Until `review` has something to look at; perhaps infinite."""
        return self._switch.seconds_to_next()

    # ---------------------------------------------------------------- asked

    @property
    def problems(self) -> dict[str, str]:
        return self._publisher.problems

    def keys(self) -> tuple[PublishedKey, ...]:
        """Those that there are."""
        return self._publisher.keys()

    async def details(self) -> tuple[FamilyStatus, ...]:
        """As the kernel has it now.  Raises DataplaneError."""
        dataplane = self._dataplane
        if dataplane is None:
            return ()
        return await dataplane.wireguard.status(await dataplane.clear_packets())

    def facts(self) -> Facts | None:
        """None before the datastore has said all that it knows."""
        return self._facts() if self._in_sync else None

    def _facts(self) -> Facts:
        return facts_of(self._config(), self._nodes)

    def figures(self) -> tuple[FamilyStatus, ...]:
        """To be asked by another thread than the event loop's, which it does not keep waiting."""
        dataplane = self._dataplane
        if dataplane is None or not self._config().prometheus_wireguard_metrics_enabled:
            return ()
        return read_figures(self._known, dataplane.clear_packets)

    async def close(self) -> None:
        """What is published stays: the rules do, too."""
        await self._switch.close()
        await self._publisher.close()


def _told(status: FamilyStatus) -> WireguardStatus:
    stages = Counter(peer.stage for peer in status.peers)
    return WireguardStatus(status.family, dict(sorted(stages.items())), status.reason)
