"""What is let through on sessions that name it: BGPFilter.

    in   BGPFilter
    out  a BgpFilter, its rules in the order of the resource

A rule of which a part cannot be read is refused with the whole filter: with one condition less it
would match more.  Sources: section 5 of the BGP reference; projectcalico/calico
confd/pkg/resource/template/template_funcs.go.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from calc_graph.bgp.resources import (
    AddCommunity,
    BgpFilter,
    BgpFilterKey,
    FilterOperation,
    FilterRule,
    NetOperator,
    PeerType,
    PrependPath,
    SetPriority,
)
from felixpy.datastore.convert.bgp_values import choose, to_as_number, to_community
from felixpy.datastore.convert.subject import Changes, Subject, at
from felixpy.datastore.convert.values import to_net
from felixpy.datastore.errors import InvalidResourceError
from felixpy.datastore.resources import bgp
from felixpy.datastore.resources.names import is_interface_pattern
from felixpy.datastore.validation import bgp_rules

_ACTIONS: Final = {"Accept": True, "Reject": False}
_OPERATORS: Final[dict[str, NetOperator]] = {
    "Equal": "equal",
    "NotEqual": "not-equal",
    "In": "in",
    "NotIn": "not-in",
}
_SOURCES: Final = {"": False, "RemotePeers": True}
_PEER_TYPES: Final[dict[str, PeerType | None]] = {"": None, "eBGP": "ebgp", "iBGP": "ibgp"}
_BITS: Final = {4: 32, 6: 128}
_MOST_OPERATIONS: Final = 10
_MOST_PREPENDED: Final = 10
_MOST_PRIORITY: Final = 2**31 - 2

_Rule = bgp.FilterRuleV4 | bgp.FilterRuleV6


def convert_bgp_filter(subject: Subject) -> Changes:
    spec: bgp.BgpFilterSpec = subject.spec
    with at("spec"):
        value = BgpFilter(
            import_v4=_rules(spec.import_v4, 4, "importV4"),
            export_v4=_rules(spec.export_v4, 4, "exportV4"),
            import_v6=_rules(spec.import_v6, 6, "importV6"),
            export_v6=_rules(spec.export_v6, 6, "exportV6"),
        )
    return ((BgpFilterKey(subject.name), value),)


def _rules(rules: Iterable[_Rule], family: int, name: str) -> tuple[FilterRule, ...]:
    found = []
    for index, rule in enumerate(rules):
        with at(name, index):
            bgp_rules.check_filter_rule(rule)
            found.append(_rule(rule, family))
    return tuple(found)


def _rule(rule: _Rule, family: int) -> FilterRule:
    net = _net(rule.cidr, family)
    return FilterRule(
        accept=choose(_ACTIONS, rule.action, "action"),
        net=net,
        operator=choose(_OPERATORS, rule.match_operator, "matchOperator") if net else None,
        lengths=_lengths(rule.prefix_length, net, family),
        remote_peers=choose(_SOURCES, rule.source, "source"),
        interface=_interface(rule.interface),
        peer_type=choose(_PEER_TYPES, rule.peer_type, "peerType"),
        community=_community(rule.communities),
        path_prefix=tuple(
            to_as_number(number, "asPathPrefix", index)
            for index, number in enumerate(rule.as_path_prefix)
        ),
        priority=0 if rule.priority is None else _priority(rule.priority, "priority"),
        operations=_operations(rule.operations),
    )


def _net(text: str, family: int) -> str:
    net = to_net(text, "cidr") if text else ""
    if net and (":" in net) != (family == 6):
        raise InvalidResourceError(f"must be an IPv{family} CIDR, not {text!r}", ("cidr",))
    return net


def _lengths(
    given: bgp.PrefixLengthV4 | bgp.PrefixLengthV6 | None, net: str, family: int
) -> tuple[int, int] | None:
    """Without a bound: from the length of the net itself, or up to single addresses."""
    if given is None:
        return None
    longest = _BITS[family]
    for name, length in (("min", given.min), ("max", given.max)):
        if length is not None and not 0 <= length <= longest:
            raise InvalidResourceError(
                f"must be a number from 0 to {longest}, not {length}", ("prefixLength", name)
            )
    low = int(net.partition("/")[2]) if given.min is None else given.min
    return low, longest if given.max is None else given.max


def _interface(text: str) -> str:
    if text and not is_interface_pattern(text):
        raise InvalidResourceError(
            f"must be an interface name or pattern, not {text!r}", ("interface",)
        )
    return text


def _community(match: bgp.CommunityMatch | None) -> str:
    if match is None:
        return ""
    if len(match.values) != 1:
        raise InvalidResourceError("must be a list of 1", ("communities", "values"))
    return to_community(match.values[0], "communities", "values", 0)


def _priority(number: int, *path: str | int) -> int:
    if not 1 <= number <= _MOST_PRIORITY:
        raise InvalidResourceError(
            f"must be a number from 1 to {_MOST_PRIORITY}, not {number}", path
        )
    return number


def _operations(given: list[bgp.FilterOperation]) -> tuple[FilterOperation, ...]:
    if len(given) > _MOST_OPERATIONS:
        raise InvalidResourceError(f"must be at most {_MOST_OPERATIONS}", ("operations",))
    found = []
    for index, operation in enumerate(given):
        with at("operations", index):
            bgp_rules.check_operation(operation)
            found.append(_operation(operation))
    return tuple(found)


def _operation(operation: bgp.FilterOperation) -> FilterOperation:
    if operation.add_community is not None:
        return AddCommunity(to_community(operation.add_community.value, "addCommunity", "value"))
    if operation.set_priority is not None:
        return SetPriority(_priority(operation.set_priority.value, "setPriority", "value"))
    numbers = operation.prepend_as_path.prefix if operation.prepend_as_path else []
    path = ("prependASPath", "prefix")
    if not 1 <= len(numbers) <= _MOST_PREPENDED:
        raise InvalidResourceError(f"must be a list of 1 to {_MOST_PREPENDED}", path)
    return PrependPath(
        tuple(to_as_number(number, *path, index) for index, number in enumerate(numbers))
    )
