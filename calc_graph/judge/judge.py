"""The judge itself: told of every update, asked about any number of flows."""

from __future__ import annotations

from collections.abc import Iterable

from calc_graph.judge.failsafe import Failsafes
from calc_graph.judge.flow import Address, Flow
from calc_graph.judge.known import Known
from calc_graph.judge.settings import HostView, JudgeSettings
from calc_graph.judge.trial import Trial
from calc_graph.judge.verdict import Verdict
from calc_graph.updates import Update


class Judge:
    def __init__(self, settings: JudgeSettings) -> None:
        self._settings = settings
        self._failsafes = Failsafes(settings)
        self._known = Known(settings)

    def update(self, updates: Iterable[Update]) -> None:
        """Take up what the graph says, in its order; the cost is that of the updates."""
        for update in updates:
            self._known.update(update)

    def fork(self) -> Judge:
        """One that knows the same, and from now on is told on its own."""
        other = Judge(self._settings)
        other._known = self._known.copy()
        return other

    def workload_interface(self, address: Address, view: HostView) -> str | None:
        """Where the route to a local workload's address leads; None: it is nobody's here."""
        family = 4 if address.version == 4 else 6
        return self._known.workloads.interface_of(family, int(address), view)

    def judge(self, flow: Flow, view: HostView) -> Verdict:
        """What becomes of a packet on a machine with these interfaces.

        Give the same view for as long as nothing has changed: who governs which interface is
        worked out once for each.
        """
        return Trial(self._known, self._settings, self._failsafes, view, flow).verdict()
