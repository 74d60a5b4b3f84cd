"""BGPFilters as functions of BIRD's filter language.

    in   BGPFilters by name; which of them a session asks for, in which direction
    out  calls that a session's filter makes, and the functions that are called

A function answers 0, no rule matched; 1, accept; 2, reject, with the reason's number in `why`.  It
neither accepts nor rejects by itself, for what comes after it is the session's to say.  A filter
with rules on the type of the peer has two functions, for internal and for external sessions.
Source: section 5 of the BGP reference; projectcalico/calico confd/pkg/resource/template.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from calc_graph.bgp.resources import (
    AddCommunity,
    BgpFilter,
    FilterOperation,
    FilterRule,
    PrependPath,
)
from dataplane.bird import reasons
from dataplane.bird.render import communities, texts
from dataplane.bird.render.guards import MAX_PRIORITY
from dataplane.bird.render.problems import Problems
from dataplane.bird.render.sets import seal
from dataplane.bird.render.texts import BITS, Family, NotFitError

Direction = Literal["import", "export"]

NEVER = "false"


class Filters:
    """`functions` are those that calls have been made to, by name."""

    def __init__(self, filters: Mapping[str, BgpFilter], problems: Problems) -> None:
        self._filters = filters
        self._problems = problems
        self._made: dict[str, str] = {}

    def functions(self) -> list[str]:
        return [text for _, text in sorted(self._made.items()) if text]

    def call(
        self, name: str, direction: Direction, family: Family, internal: bool, position: int
    ) -> str | int:
        """ "" where it has no rule for such a session; the reason's number where it has to be taken
        that it would refuse everything.
        """
        found = self._filters.get(name)
        if found is None:
            return reasons.UNKNOWN_FILTER
        rules = rules_of(found, direction, family)
        kind = ("i" if internal else "e") if any(rule.peer_type for rule in rules) else ""
        try:
            symbol = texts.quoted_symbol("bgp_", name, f"_{direction}V{family}{kind}")
            if symbol not in self._made:
                self._made[symbol] = self._function(symbol, name, rules, family, internal)
        except NotFitError as error:
            self._problems.add(f"BGPFilter {name}", str(error))
            return reasons.BAD_FILTER
        if not self._made[symbol]:
            return ""
        return f"{symbol}({reasons.FILTER + reasons.STEP * position})"

    def _function(
        self, symbol: str, name: str, rules: tuple[FilterRule, ...], family: Family, internal: bool
    ) -> str:
        """ "" where no rule could match."""
        lines = []
        for index, rule in enumerate(rules):
            condition = _condition(rule, family, internal)
            if condition == NEVER:
                if rule.lengths is not None and _lengths(rule) is None:
                    self._problems.add(
                        f"BGPFilter {name}", f"a rule of {rule.net} matches no length: left out"
                    )
                continue
            verdict = _verdict(rule, index)
            lines.append(f"  if {condition} then {verdict}" if condition else f"  {verdict}")
            if not condition:
                break  # nothing comes after what always matches
        else:
            lines.append("  return 0;")
        if lines == ["  return 0;"]:
            return ""
        sealed = f"  {seal(str(lines))};"
        return "\n".join([f"function {symbol}(int reason) {{", sealed, *lines, "}"])


def rules_of(value: BgpFilter, direction: Direction, family: Family) -> tuple[FilterRule, ...]:
    if direction == "import":
        return value.import_v4 if family == 4 else value.import_v6
    return value.export_v4 if family == 4 else value.export_v6


def _verdict(rule: FilterRule, index: int) -> str:
    if not rule.accept:
        return f"{{ why = reason + {min(index, reasons.STEP - 1)}; return 2; }}"
    operations = [text for operation in rule.operations for text in _operation(operation)]
    return f"{{ {' '.join(operations)} return 1; }}" if operations else "return 1;"


def _operation(operation: FilterOperation) -> list[str]:
    if isinstance(operation, AddCommunity):
        return [communities.add(operation.value)]
    if isinstance(operation, PrependPath):
        # Each goes to the front: the last one first.
        numbers = [texts.as_number(number) for number in operation.as_numbers]
        return [f"bgp_path.prepend({number});" for number in reversed(numbers)]
    return [f"bgp_local_pref = {_preference(operation.value)};"]


def _condition(rule: FilterRule, family: Family, internal: bool) -> str:
    """ "" matches everything, NEVER nothing."""
    if rule.peer_type is not None and internal != (rule.peer_type == "ibgp"):
        return NEVER
    if rule.lengths is not None and not rule.net:
        raise NotFitError("a rule has a prefixLength and no cidr")
    terms = [
        _net(rule, family) if rule.net else "",
        "source = RTS_BGP" if rule.remote_peers else "",
        _interface(rule.interface) if rule.interface else "",
        communities.has(rule.community) if rule.community else "",
        _path(rule.path_prefix) if rule.path_prefix else "",
        _priority(rule.priority) if rule.priority else "",
    ]
    return NEVER if NEVER in terms else " && ".join(term for term in terms if term)


def _net(rule: FilterRule, family: Family) -> str:
    net = texts.net(rule.net)
    if net.family != family:
        raise NotFitError(f"{net.text} is not a net of IPv{family}")
    if rule.lengths is None:
        sign = {"equal": "=", "not-equal": "!=", "in": "~", "not-in": "!~", None: "~"}
        return f"net {sign[rule.operator]} {net.text}"
    negated = rule.operator in ("not-equal", "not-in")
    lengths = _lengths(rule)
    if lengths is None:
        return "" if negated else NEVER
    matches = f"net ~ [ {net.text}{{{lengths[0]},{lengths[1]}}} ]"
    if rule.operator in ("equal", "not-equal"):
        # BIRD finds no net equal to a set; what is meant is the address, with such a length.
        base = net.text.partition("/")[0]
        matches = f"{matches} && net.ip = {base}"
    return f"!({matches})" if negated else matches


def _lengths(rule: FilterRule) -> tuple[int, int] | None:
    """None where they are empty.  Below the length of the net they would match what covers it."""
    net = texts.net(rule.net)
    least, most = rule.lengths or (net.length, BITS[net.family])
    least, most = max(net.length, least), min(BITS[net.family], most)
    return (least, most) if least <= most else None


def _interface(pattern: str) -> str:
    return f"defined(ifname) && ifname ~ {texts.interface_pattern(pattern)}"


def _path(numbers: tuple[int, ...]) -> str:
    return f"bgp_path ~ [= {' '.join(str(texts.as_number(n)) for n in numbers)} * =]"


def _priority(priority: int) -> str:
    return f"defined(bgp_local_pref) && bgp_local_pref = {_preference(priority)}"


def _preference(priority: int) -> int:
    if not 0 < priority < MAX_PRIORITY:
        raise NotFitError(f"{priority} is not a priority")
    return MAX_PRIORITY - priority
