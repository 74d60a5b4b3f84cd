"""Policies of somebody else that the kernel asks before ours, for what ours are about: pure.

in   foreign policies, our wishes
out  what there is of the kind, in words

strongSwan's own priorities are far behind ours; those that people give by hand need not be.
Source: section 10.2 of the IPsec reference.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from ipaddress import ip_network

from dataplane.ipsec.kernel import KernelPolicy
from dataplane.ipsec.values import PolicyWish, Selector


def ahead_of(foreign: Iterable[KernelPolicy], wishes: Iterable[PolicyWish]) -> Iterator[str]:
    known = list(wishes)
    for policy in foreign:
        if any(_comes_before(policy, wish) for wish in known):
            selector = policy.selector
            yield f"policy {policy.direction} {selector.source} to {selector.destination}"


def _comes_before(policy: KernelPolicy, wish: PolicyWish) -> bool:
    """Of one with an interface of its own for IPsec, ours never hear."""
    return (
        policy.direction == wish.id.direction
        and policy.priority < wish.priority
        and not policy.if_id
        and _overlap(policy.selector, wish.id.selector)
    )


def _overlap(one: Selector, other: Selector) -> bool:
    pairs = ((one.source, other.source), (one.destination, other.destination))
    return all(ip_network(a, strict=False).overlaps(ip_network(b, strict=False)) for a, b in pairs)
