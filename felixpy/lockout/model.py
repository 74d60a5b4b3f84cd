"""What would become of a flow at this node's host endpoints.

    in   the updates of one flush; everything that the graph has told, where that is not enough
    out  HostModel, another one for another state; the step that cuts a flow

A judge that is told only what host endpoints rest on: their policies and profiles, and the IP sets
that those ask.  The sets of a node's workloads, thousands of members, so cost it nothing.  Where
one of those policies requires encryption, and IPsec is on, what IPsec leads through tunnels, too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import chain
from typing import TypeAlias

from calc_graph.judge import Flow, HostView, Judge, JudgeSettings, Step
from calc_graph.model import HostEndpointKey, PolicyKey, ProfileKey
from calc_graph.updates import (
    ActivePolicy,
    ActiveProfile,
    HostEndpointRemove,
    HostEndpointUpdate,
    IpsetDelta,
    IpsetRemove,
    IpsetUpdate,
    PolicyRemove,
    PolicyUpdate,
    ProfileRemove,
    ProfileUpdate,
    RouteRemove,
    RouteUpdate,
    Update,
)

BookKey: TypeAlias = PolicyKey | ProfileKey
Part: TypeAlias = BookKey | str  # a book of rules, or the id of an IP set
Endpoints: TypeAlias = Mapping[HostEndpointKey, HostEndpointUpdate]
SetsOf: TypeAlias = Mapping[BookKey, frozenset[str]]


class HostModel:
    """Made by `build`; it does not change."""

    def __init__(
        self, settings: JudgeSettings, judge: Judge, endpoints: Endpoints, sets_of: SetsOf
    ) -> None:
        self.settings = settings
        self._judge = judge
        self._endpoints = endpoints
        self._sets_of = sets_of  # of every book that endpoints rest on
        self._routed = False  # where other nodes' workloads are matters
        self._parts: frozenset[Part] = frozenset(chain(sets_of, *sets_of.values()))

    @classmethod
    def build(cls, settings: JudgeSettings, everything: Iterable[Update]) -> HostModel:
        updates = list(everything)
        endpoints = {u.key: u for u in updates if isinstance(u, HostEndpointUpdate)}
        sets_of = _rules_of(_books(endpoints), {}, updates)
        model = cls(settings, Judge(settings), endpoints, sets_of)
        model._routed = model._must_be_encrypted(updates)
        model._take(updates)
        return model

    def after(
        self, updates: Iterable[Update], everything: Callable[[], Iterable[Update]]
    ) -> HostModel:
        """As it is after a flush; itself, if that has nothing to do with host endpoints.

        `everything` tells the state after the flush; it is asked only if an endpoint comes to rest
        on what others have used so far.
        """
        updates = list(updates)
        if not any(self._concerns(update) for update in updates):
            return self
        endpoints = dict(self._endpoints)
        for update in updates:
            if isinstance(update, HostEndpointUpdate):
                endpoints[update.key] = update
            elif isinstance(update, HostEndpointRemove):
                endpoints.pop(update.key, None)
        books = _books(endpoints)
        sets_of = _rules_of(books, self._sets_of, updates)
        judge = self._judge.fork()
        model = HostModel(self.settings, judge, endpoints, sets_of)
        model._routed = self._routed or model._must_be_encrypted(updates)
        known = self._parts | {_part(update) for update in updates if _is_whole(update)}
        if model._routed != self._routed or not (books | model._parts) <= known:
            return HostModel.build(self.settings, everything())
        model._take(updates)
        return model

    def cut(self, flow: Flow, view: HostView) -> Step | None:
        """The step at a host endpoint that stops it; None: at those it gets through.

        What policy allows and requires to be encrypted is stopped where it is not.
        """
        verdict = self._judge.judge(flow, view)
        step = verdict.in_clear if verdict.allowed else verdict.decision
        return step if step and isinstance(step.endpoint, HostEndpointKey) else None

    def _take(self, updates: Iterable[Update]) -> None:
        self._judge.update(update for update in updates if self._concerns(update))

    def _concerns(self, update: Update) -> bool:
        match update:
            case HostEndpointUpdate() | HostEndpointRemove():
                return True
            case RouteUpdate() | RouteRemove():
                return self._routed
        return _part(update) in self._parts

    def _must_be_encrypted(self, updates: Iterable[Update]) -> bool:
        """Whether a policy that has come asks for it, and IPsec may give it."""
        return bool(self.settings.ipsec) and any(
            isinstance(update, PolicyUpdate) and update.policy.encrypted and self._concerns(update)
            for update in updates
        )


def _part(update: Update) -> Part | None:
    match update:
        case IpsetUpdate() | IpsetDelta() | IpsetRemove():
            return update.id
        case PolicyUpdate() | PolicyRemove():
            return update.key
        case ProfileUpdate() | ProfileRemove():
            return ProfileKey(update.name)
        case _:
            return None


def _is_whole(update: Update) -> bool:
    return isinstance(update, IpsetUpdate | PolicyUpdate | ProfileUpdate)


def _books(endpoints: Endpoints) -> frozenset[BookKey]:
    found: set[BookKey] = set()
    for endpoint in endpoints.values():
        found.update(map(ProfileKey, endpoint.endpoint.profiles))
        for tier in (
            *endpoint.tiers,
            *endpoint.forward,
            *endpoint.pre_dnat,
            *endpoint.untracked,
        ):
            found.update(tier.ingress, tier.egress)
    return frozenset(found)


def _rules_of(
    books: frozenset[BookKey], known: SetsOf, updates: Iterable[Update]
) -> dict[BookKey, frozenset[str]]:
    """Which sets each book asks; one that is nowhere asks none."""
    found = {key: known.get(key, frozenset()) for key in books}
    for update in updates:
        key = _part(update)
        if isinstance(update, PolicyUpdate) and key in found:
            found[update.key] = _sets(update.policy)
        elif isinstance(update, ProfileUpdate) and key in found:
            found[ProfileKey(update.name)] = _sets(update.profile)
    return found


def _sets(book: ActivePolicy | ActiveProfile) -> frozenset[str]:
    def of_rules() -> Iterator[str]:
        for rule in (*book.ingress, *book.egress):
            for side in (rule.source, rule.destination):
                yield from side.ipsets
                yield from side.named_port_ipsets
                yield from side.ip_port_ipsets
                yield from side.not_ipsets
                yield from side.not_named_port_ipsets

    return frozenset(of_rules())
