"""Every local workload asked about every target: what policy lets it reach, and why.

    in   the graph's updates, targets, the machine's interfaces
    out  Exposure of each workload; what is let through by design is none

A workload is asked by its own addresses, as a new flow from a port of no meaning.  Workloads that
share policies and profiles and that no rule tells apart get one answer, and so do targets.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from ipaddress import ip_address
from typing import NamedTuple, TypeAlias

from calc_graph.judge import Address, Flow, HostView, Judge, JudgeSettings, Reason, Step, Verdict
from calc_graph.model import WorkloadEndpointKey
from calc_graph.updates import Update, WorkloadEndpointUpdate
from felixpy.exposure.alike import Likeness, Likenesses
from felixpy.exposure.targets import SOURCE_PORT, Kind, Probe, Target
from felixpy.lockout.words import render_place


class Cause(NamedTuple):
    """What lets a flow through, in the order in which it was asked.

    Not `final`: rules of others come after ours, and have the last word.
    """

    places: tuple[str, ...]
    final: bool


_Opened: TypeAlias = tuple[tuple[Cause, tuple[Probe, ...]], ...]


class Exposure(NamedTuple):
    """Targets of one kind that are open alike: by cause, the ports that it opens."""

    kind: Kind
    targets: tuple[tuple[str, str], ...]  # name, "" for this host, and address
    opened: _Opened


class Exposed(NamedTuple):
    key: WorkloadEndpointKey
    interface: str
    exposures: tuple[Exposure, ...]


class _Asker(NamedTuple):
    """All of a workload and its address that a verdict can depend on.

    `stranger`: the address's route leads elsewhere, so that nobody is like it.
    """

    endpoint: object
    family: int
    likeness: Likeness
    stranger: str


class Survey:
    def __init__(
        self,
        settings: JudgeSettings,
        updates: Sequence[Update],
        targets: Sequence[Target],
        view: HostView,
        leaving: Callable[[Target], str | None],
    ) -> None:
        """`leaving` tells by which interface packets to a target leave; None: they end here."""
        self._judge = Judge(settings)
        self._judge.update(updates)
        self._view = view
        self._to_host = settings.endpoint_to_host_action
        self._metadata = settings.metadata_addr if settings.openstack else ""
        self._workloads = [u for u in updates if isinstance(u, WorkloadEndpointUpdate)]
        self._targets = [(target, leaving(target)) for target in targets]
        addresses = {target.address for target in targets}
        addresses |= {target.original[0] for target in targets if target.original}
        addresses |= {each for update in self._workloads for each in _addresses(update)}
        self._likenesses = Likenesses(updates, addresses)
        self._known: dict[object, Cause | None] = {}

    @property
    def workloads(self) -> int:
        return len(self._workloads)

    def exposed(self) -> list[Exposed]:
        """Workloads that may reach anything, by name."""
        found = []
        for update in sorted(self._workloads, key=lambda update: update.key):
            exposures = self._exposures(update)
            if exposures:
                found.append(Exposed(update.key, update.endpoint.interface, exposures))
        return found

    def _exposures(self, update: WorkloadEndpointUpdate) -> tuple[Exposure, ...]:
        alike: dict[tuple[Kind, _Opened], list[tuple[str, str]]] = {}
        for source in _addresses(update):
            asker = self._asker(update, source)
            for target, leaving in self._targets:
                if target.address.version != source.version:
                    continue
                if target.only_from not in ("", update.endpoint.interface):
                    continue
                found: dict[Cause, list[Probe]] = {}
                for probe in target.probes:
                    cause = self._cause(update, source, asker, target, leaving, probe)
                    if cause is not None:
                        found.setdefault(cause, []).append(probe)
                if found:
                    opened = tuple((cause, tuple(probes)) for cause, probes in found.items())
                    named = (target.name, str(target.address))
                    alike.setdefault((target.kind, opened), []).append(named)
        return tuple(
            Exposure(kind, tuple(dict.fromkeys(names)), opened)
            for (kind, opened), names in alike.items()
        )

    def _asker(self, update: WorkloadEndpointUpdate, source: Address) -> _Asker:
        endpoint = update.endpoint
        at_home = self._judge.workload_interface(source, self._view) == endpoint.interface
        stranger = "" if at_home else f"{endpoint.interface} {source}"
        asked = (update.tiers, endpoint.profiles, endpoint.admin_up)
        return _Asker(asked, source.version, self._likenesses.of(source), stranger)

    def _cause(
        self,
        update: WorkloadEndpointUpdate,
        source: Address,
        asker: _Asker,
        target: Target,
        leaving: str | None,
        probe: Probe,
    ) -> Cause | None:
        """None: policy does not let it, or nothing could keep it from there."""
        likeness = self._likenesses.of(target.address)
        special = str(target.address) == self._metadata or target.original is not None
        asked = (asker, likeness, target.address if special else leaving, probe[:2])
        if asked not in self._known:
            original = target.original
            flow = Flow(
                source,
                target.address,
                probe.protocol,
                SOURCE_PORT,
                probe.port,
                in_interface=update.endpoint.interface,
                out_interface=leaving,
                original_destination=original[0] if original else None,
                original_port=original[1] if original else None,
            )
            self._known[asked] = self._answer(self._judge.judge(flow, self._view))
        return self._known[asked]

    def _answer(self, verdict: Verdict) -> Cause | None:
        if not verdict.allowed or verdict.decision.reason is Reason.BOOTSTRAP:
            return None
        steps = [step for step in verdict.path if step.outcome == "allow"] or [verdict.decision]
        return Cause(tuple(map(self._place, steps)), verdict.final)

    def _place(self, step: Step) -> str:
        text = render_place(step)
        if step.reason is Reason.ENDPOINT_TO_HOST:
            text += f" = {self._to_host.capitalize()}"
        return text


def _addresses(update: WorkloadEndpointUpdate) -> Iterable[Address]:
    return [ip_address(net.partition("/")[0]) for net in update.endpoint.nets]
