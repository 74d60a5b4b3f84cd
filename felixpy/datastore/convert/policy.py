"""Policies, profiles and tiers."""

from __future__ import annotations

import math

from calc_graph.model import Policy, PolicyKey, Profile, ProfileKey, Tier, TierKey
from felixpy.datastore.convert.encryption import is_encrypted
from felixpy.datastore.convert.rules import (
    NAMESPACE,
    NAMESPACE_PREFIX,
    SERVICE_ACCOUNT,
    SERVICE_ACCOUNT_PREFIX,
    convert_rules,
)
from felixpy.datastore.convert.subject import Changes, Subject
from felixpy.datastore.convert.values import prefixed, to_selector
from felixpy.datastore.errors import InvalidResourceError
from felixpy.datastore.resources.names import is_stored_name
from felixpy.datastore.resources.policy import (
    GlobalNetworkPolicySpec,
    NetworkPolicySpec,
    ProfileSpec,
    TierSpec,
)

DEFAULT_TIER = "default"
NEEDED_EVERYWHERE = "AssumeNeededOnEveryNode"


def convert_policy(subject: Subject) -> Changes:
    """A staged deletion is the absence of a policy; other staged actions make no difference."""
    spec: NetworkPolicySpec = subject.spec
    if getattr(spec, "staged_action", "") == "Delete":
        return ()
    key = PolicyKey(subject.kind, subject.namespace, subject.name)
    value = policy_value(spec, subject.namespace, encrypted=is_encrypted(subject))
    return ((key, value),)


def policy_value(spec: NetworkPolicySpec, namespace: str, *, encrypted: bool) -> Policy:
    """`namespace` is "" for a global policy.  An empty list of types means both."""
    whole = spec if isinstance(spec, GlobalNetworkPolicySpec) else None
    types = {kind.lower() for kind in spec.types}
    if not types <= {"ingress", "egress"}:
        raise InvalidResourceError("must be Ingress or Egress", ("spec", "types"))
    hints = spec.performance_hints
    if len(set(hints)) != len(hints) or not set(hints) <= {NEEDED_EVERYWHERE}:
        raise InvalidResourceError(
            f"must be {NEEDED_EVERYWHERE}, once", ("spec", "performanceHints")
        )
    tier = spec.tier or DEFAULT_TIER
    if not is_stored_name(tier):
        raise InvalidResourceError(f"{tier!r} is no tier's name", ("spec", "tier"))
    return Policy(
        tier=tier,
        selector=_policy_selector(spec, namespace),
        order=checked_order(spec.order),
        ingress=convert_rules(spec.ingress, namespace, "ingress"),
        egress=convert_rules(spec.egress, namespace, "egress"),
        applies_ingress=not types or "ingress" in types,
        applies_egress=not types or "egress" in types,
        do_not_track=whole.do_not_track if whole else False,
        pre_dnat=whole.pre_dnat if whole else False,
        apply_on_forward=whole.apply_on_forward if whole else False,
        needed_everywhere=bool(hints),
        encrypted=encrypted,
    )


def checked_order(order: float | None) -> float | None:
    if order is not None and not math.isfinite(order):
        raise InvalidResourceError("must be a finite number", ("spec", "order"))
    return order


def _policy_selector(spec: NetworkPolicySpec, namespace: str) -> str:
    selector = to_selector(spec.selector, "spec", "selector")
    if namespace:
        selector = _both(selector, f"{NAMESPACE} == '{namespace}'")
    over_namespaces = getattr(spec, "namespace_selector", "")
    if over_namespaces:
        text = prefixed(over_namespaces, NAMESPACE_PREFIX, "spec", "namespaceSelector")
        selector = _both(selector, text).replace("all()", f"has({NAMESPACE})")
    if spec.service_account_selector:
        text = prefixed(
            spec.service_account_selector, SERVICE_ACCOUNT_PREFIX, "spec", "serviceAccountSelector"
        )
        selector = _both(selector, text)
        if not namespace:
            selector = selector.replace("all()", f"has({SERVICE_ACCOUNT})")
    return to_selector(
        selector, "spec", "selector"
    )  # the parts may be fine, and the whole too deep


def _both(selector: str, other: str) -> str:
    return f"({selector}) && {other}" if selector else other


def convert_profile(subject: Subject) -> Changes:
    spec: ProfileSpec = subject.spec
    value = Profile(
        ingress=convert_rules(spec.ingress, "", "ingress"),
        egress=convert_rules(spec.egress, "", "egress"),
        labels=spec.labels_to_apply,
    )
    return ((ProfileKey(subject.name), value),)


def convert_tier(subject: Subject) -> Changes:
    spec: TierSpec = subject.spec
    action = spec.default_action or "Deny"
    value = Tier(checked_order(spec.order), "Pass" if action == "Pass" else "Deny")
    return ((TierKey(subject.name), value),)
