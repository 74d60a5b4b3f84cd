"""Policies and profiles as chains.

    in   PolicyUpdate, PolicyRemove, ProfileUpdate, ProfileRemove
    out  two chains for each and each family, offered to every table that may refer to them; the
    tables write what is used

A staged policy decides nothing and so has no chain.  A policy or profile that cannot be rendered is
one that drops everything: it must never let through what its author wanted stopped.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import assert_never

import structlog

from calc_graph.model import PolicyKey, ProfileKey
from calc_graph.updates import (
    ActivePolicy,
    ActiveProfile,
    PolicyRemove,
    PolicyUpdate,
    ProfileRemove,
    ProfileUpdate,
)
from dataplane.chains import Chain
from dataplane.desired.sinks import Sinks
from dataplane.families import Family
from dataplane.render.errors import RenderError
from dataplane.render.names import Direction, Table, policy_chain, profile_chain
from dataplane.render.rules import policy_chains, profile_chains
from dataplane.settings import RenderSettings

log = structlog.get_logger(__name__)

DIRECTIONS: tuple[Direction, ...] = ("ingress", "egress")
POLICY_TABLES: tuple[Table, ...] = ("raw", "mangle", "filter")
PROFILE_TABLES: tuple[Table, ...] = ("mangle", "filter")
TABLES_OF_PROFILE: dict[Direction, tuple[Table, ...]] = {
    "ingress": ("filter",),
    "egress": ("mangle", "filter"),
}
DROP_ALL = ('-m comment --comment "This policy cannot be rendered" --jump DROP',)
DROP_ALL_OF_PROFILE = ('-m comment --comment "This profile cannot be rendered" --jump DROP',)


class Policies:
    def __init__(self, sinks: Sinks, settings: RenderSettings) -> None:
        self._sinks = sinks
        self._settings = settings
        self.selectors: dict[PolicyKey, str] = {}
        self.problems: dict[PolicyKey | ProfileKey, str] = {}

    def update(self, event: PolicyUpdate | PolicyRemove | ProfileUpdate | ProfileRemove) -> bool:
        """Whether endpoints with this policy may have to be rendered anew: its selector is another
        one.
        """
        match event:
            case PolicyUpdate(key, policy):
                regroup = self.selectors.get(key) != policy.selector
                self.selectors[key] = policy.selector
                if not key.staged:
                    self._offer_policy(key, policy)
                return regroup
            case PolicyRemove(key):
                del self.selectors[key]
                self.problems.pop(key, None)
                for table in POLICY_TABLES:
                    self._drop(table, [policy_chain(key, d) for d in DIRECTIONS])
            case ProfileUpdate(name, profile):
                self._offer_profile(name, profile)
            case ProfileRemove(name):
                self.problems.pop(ProfileKey(name), None)
                for direction in DIRECTIONS:
                    for table in TABLES_OF_PROFILE[direction]:
                        self._drop(table, [profile_chain(name, direction)])
            case _:
                assert_never(event)
        return False

    def _offer_policy(self, key: PolicyKey, policy: ActivePolicy) -> None:
        self.problems.pop(key, None)
        for family, tables in self._sinks.tables.items():
            for some in self._alike(POLICY_TABLES):
                for chain in self._policy_chains(key, policy, family, some[0]):
                    for table in some:
                        forced = policy.needed_everywhere and table == "filter"
                        tables.desire_chain(table, chain, forced=forced)

    def _offer_profile(self, name: str, profile: ActiveProfile) -> None:
        self.problems.pop(ProfileKey(name), None)
        for family, tables in self._sinks.tables.items():
            for some in self._alike(PROFILE_TABLES):
                chains = self._profile_chains(name, profile, family, some[0])
                for direction, chain in zip(DIRECTIONS, chains, strict=True):
                    for table in some:
                        if table in TABLES_OF_PROFILE[direction]:
                            tables.desire_chain(table, chain)

    def _alike(self, tables: tuple[Table, ...]) -> Sequence[tuple[Table, ...]]:
        """Tables in groups whose chains have the same text: REJECT exists in filter only."""
        if self._settings.filter_deny_action == "DROP":
            return (tables,)
        return (tuple(table for table in tables if table != "filter"), ("filter",))

    def _policy_chains(
        self, key: PolicyKey, policy: ActivePolicy, family: Family, table: Table
    ) -> tuple[Chain, Chain]:
        try:
            return policy_chains(key, policy, family, self._settings, table)
        except RenderError as error:
            self._note_problem(key, f"{key.kind} {key.name}", error)
            return _closed(lambda direction: policy_chain(key, direction), DROP_ALL)

    def _profile_chains(
        self, name: str, profile: ActiveProfile, family: Family, table: Table
    ) -> tuple[Chain, Chain]:
        try:
            return profile_chains(name, profile, family, self._settings, table)
        except RenderError as error:
            self._note_problem(ProfileKey(name), f"Profile {name}", error)
            return _closed(lambda direction: profile_chain(name, direction), DROP_ALL_OF_PROFILE)

    def _note_problem(self, key: PolicyKey | ProfileKey, title: str, error: RenderError) -> None:
        if key not in self.problems:
            log.error("policy.not_rendered", policy=title, reason=error.reason)
        self.problems[key] = f"{title}: {error.reason}; it drops everything"

    def _drop(self, table: str, names: list[str]) -> None:
        for tables in self._sinks.tables.values():
            for name in names:
                tables.drop_chain(table, name)


def _closed(name_of: Callable[[Direction], str], bodies: tuple[str, ...]) -> tuple[Chain, Chain]:
    return Chain(name_of("ingress"), bodies), Chain(name_of("egress"), bodies)
