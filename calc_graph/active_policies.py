"""Which policies and profiles matter on this node.

    in   labels and profiles of local endpoints, policies, profiles
    out  Activity            policies and profiles that are, or no longer are, to be programmed
         started(), stopped()   a policy began, ceased to match a local endpoint

A policy matters while it matches a local endpoint or says that it is needed everywhere; a profile,
while a local endpoint names it.  One that is named but missing denies everything.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from msgspec import Struct

from calc_graph.label_index import LabelIndex
from calc_graph.model import (
    EndpointKey,
    Labels,
    Policy,
    PolicyKey,
    Profile,
    ProfileKey,
    Rule,
)
from calc_graph.multimap import Multimap
from calc_graph.selector import parse

MatchListener: TypeAlias = Callable[[PolicyKey, EndpointKey], None]

DENY_ALL = Profile(ingress=(Rule("deny"),), egress=(Rule("deny"),))


class Activated(Struct, frozen=True):
    """Came into use, or is in use and may have changed."""

    key: PolicyKey | ProfileKey
    rules: Policy | Profile


class Deactivated(Struct, frozen=True):
    """Not in use; perhaps it never was."""

    key: PolicyKey | ProfileKey


Activity: TypeAlias = Activated | Deactivated


class ActivePolicies:
    def __init__(self, started: MatchListener, stopped: MatchListener) -> None:
        self._started = started
        self._stopped = stopped
        self._policies: dict[PolicyKey, Policy] = {}
        self._profiles: dict[str, Profile] = {}
        self._endpoint_profiles: dict[EndpointKey, tuple[str, ...]] = {}
        self._endpoints_of: Multimap[str, EndpointKey] = Multimap()  # by profile
        self._index: LabelIndex[PolicyKey, EndpointKey] = LabelIndex(
            self._match_started, self._match_stopped
        )
        self._active: set[PolicyKey | ProfileKey] = set()  # as last flushed
        # To look at again: True if it may say something else, False if only its use may differ.
        self._dirty: dict[PolicyKey | ProfileKey, bool] = {}

    # ------------------------------------------------------------ endpoints

    def put_endpoint(self, key: EndpointKey, labels: Labels, profiles: tuple[str, ...]) -> None:
        old = self._endpoint_profiles.get(key, ())
        self._endpoint_profiles[key] = profiles
        self._rename_profiles(key, old, profiles)
        self._index.put(key, labels, profiles)

    def discard_endpoint(self, key: EndpointKey) -> None:
        self._rename_profiles(key, self._endpoint_profiles.pop(key, ()), ())
        self._index.discard(key)

    def _rename_profiles(
        self, key: EndpointKey, old: tuple[str, ...], new: tuple[str, ...]
    ) -> None:
        if old == new:
            return
        for name in old:
            self._endpoints_of.discard(name, key)
            self._dirty.setdefault(ProfileKey(name), False)
        for name in new:
            self._endpoints_of.add(name, key)
            self._dirty.setdefault(ProfileKey(name), False)

    # ------------------------------------------------------------ policies and profiles

    def put_policy(self, key: PolicyKey, policy: Policy) -> None:
        """Its selector must parse."""
        old = self._policies.get(key)
        self._policies[key] = policy
        self._dirty[key] = True
        if old is not None:
            if old.selector == policy.selector:
                return
            self._remove_selector(key)
        for endpoint in self._index.add_selector(key, parse(policy.selector)):
            self._started(key, endpoint)

    def discard_policy(self, key: PolicyKey) -> None:
        if self._policies.pop(key, None) is not None:
            self._dirty[key] = True
            self._remove_selector(key)

    def _remove_selector(self, key: PolicyKey) -> None:
        for endpoint in self._index.remove_selector(key):
            self._stopped(key, endpoint)

    def put_profile(self, name: str, profile: Profile) -> None:
        self._profiles[name] = profile
        self._dirty[ProfileKey(name)] = True
        self._index.put_profile(name, profile.labels)

    def discard_profile(self, name: str) -> None:
        if self._profiles.pop(name, None) is not None:
            self._dirty[ProfileKey(name)] = True
            self._index.put_profile(name, {})

    # ------------------------------------------------------------ out

    def flush(self) -> list[Activity]:
        found: list[Activity] = []
        for key, changed in self._dirty.items():
            rules = self._rules(key)
            if not changed and (rules is not None) == (key in self._active):
                continue
            if rules is None:
                self._active.discard(key)
                found.append(Deactivated(key))
            else:
                self._active.add(key)
                found.append(Activated(key, rules))
        self._dirty = {}
        return found

    def _rules(self, key: PolicyKey | ProfileKey) -> Policy | Profile | None:
        """None for what does not matter on this node."""
        if isinstance(key, ProfileKey):
            in_use = key.name in self._endpoints_of
            return self._profiles.get(key.name, DENY_ALL) if in_use else None
        policy = self._policies.get(key)
        if policy is not None and (policy.needed_everywhere or self._index.any_item(key)):
            return policy
        return None

    def _match_started(self, key: PolicyKey, endpoint: EndpointKey) -> None:
        self._dirty.setdefault(key, False)
        self._started(key, endpoint)

    def _match_stopped(self, key: PolicyKey, endpoint: EndpointKey) -> None:
        self._dirty.setdefault(key, False)
        self._stopped(key, endpoint)
