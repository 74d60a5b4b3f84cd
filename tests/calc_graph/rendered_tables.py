"""A small interpreter of a node's whole tables: a flow in, what the rendered rules do with it out.

It knows the matches and targets that the dataplane renders and stops at anything else.  Nothing of
the judge but its Flow is used.
"""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from ipaddress import ip_network

from calc_graph.judge import Flow
from calc_graph.updates import IpsetType
from tests.fakes.node import FakeNode

_NUMBERS = {"icmp": 1, "tcp": 6, "udp": 17, "icmpv6": 58, "sctp": 132, "udplite": 136}
_SILENT = frozenset(
    ("comment", "set", "multiport", "mark", "icmp", "icmp6", "limit", "conntrack", "tcp",
     "rpfilter", "connlimit", "--validmark")
)  # fmt: skip
_ENDS = ("ACCEPT", "DROP", "REJECT")


@dataclass(frozen=True)
class _Seen:
    """The packet in one hook."""

    flow: Flow
    entering: str
    leaving: str


def outcome(node: FakeNode, flow: Flow) -> tuple[bool, bool]:
    """Whether the packet gets through, and whether all filter hooks it met accepted it for good."""
    return _Walk(node, flow).run()


class _Walk:
    def __init__(self, node: FakeNode, flow: Flow) -> None:
        self._node = node
        self._tables = node.tables.get(flow.family)
        self._flow = flow
        self._mark = 0
        self._tracked = True
        self._final = True

    def run(self) -> tuple[bool, bool]:
        if self._tables is None:
            return True, False
        flow = self._flow
        arriving = replace_destination(flow)
        entering, leaving = flow.in_interface or "", flow.out_interface or ""
        hooks: list[tuple[str, str, _Seen]] = []
        if not entering:
            leaving = leaving or "lo"
            before = flow.original_out_interface or leaving
            hooks += [
                ("raw", "OUTPUT", _Seen(arriving, "", before)),
                ("filter", "OUTPUT", _Seen(flow, "", leaving)),
                ("mangle", "POSTROUTING", _Seen(flow, "", leaving)),
            ]
            if flow.out_interface is None:
                entering, leaving, arriving = "lo", "", flow
        if entering:
            hooks += [
                ("raw", "PREROUTING", _Seen(arriving, entering, "")),
                ("mangle", "PREROUTING", _Seen(arriving, entering, "")),
            ]
            if not leaving:
                hooks.append(("filter", "INPUT", _Seen(flow, entering, "")))
            else:
                hooks.append(("filter", "FORWARD", _Seen(flow, entering, leaving)))
                hooks.append(("mangle", "POSTROUTING", _Seen(flow, "", leaving)))
        allowed = all(self._hook(*hook) for hook in hooks)
        return allowed, self._final

    def _hook(self, table: str, chain: str, seen: _Seen) -> bool:
        assert self._tables is not None
        bodies = self._tables.hooks.get((table, chain), ())
        end = self._chain(table, bodies, seen)
        if table == "filter":
            self._final &= end == "ACCEPT"
        return end not in ("DROP", "REJECT")

    def _chain(self, table: str, bodies: tuple[str, ...], seen: _Seen) -> str:
        """What ended it: a verdict, or "" at its end or with RETURN."""
        for body in bodies:
            words = shlex.split(body)[::-1]
            if not self._matches(words, seen):
                continue
            action = words.pop() if words else "--none"
            if action == "--none":
                continue
            target = words.pop()
            end = self._target(table, action, target, words, seen)
            if end is not None:
                return end
        return ""

    def _target(
        self, table: str, action: str, target: str, words: list[str], seen: _Seen
    ) -> str | None:
        """None: go on with the next rule."""
        assert self._tables is not None
        match target:
            case "MARK":
                assert words.pop() == "--set-mark"
                value, mask = (int(part, 0) for part in words.pop().split("/"))
                self._mark = (self._mark & ~mask) ^ value
                return None
            case "NOTRACK":
                self._tracked = False
                return None
            case "LOG" | "DSCP":
                return None
            case "RETURN":
                return ""
        if target in _ENDS:
            return target
        end = self._chain(table, self._tables.chains[table][target].rules, seen)
        return end if end or action == "--goto" else None

    def _matches(self, words: list[str], seen: _Seen) -> bool:
        """Takes words from the end of the reversed list, up to the action."""
        matched = True
        negated = False
        while words and words[-1] not in ("--jump", "--goto", "-j"):
            word = words.pop()
            if word == "-m":
                continue
            if word == "!":
                negated = True
                continue
            if word in _SILENT:
                continue
            if word == "--comment":
                words.pop()
                continue
            matched &= self._holds(word, words, seen) != negated
            negated = False
        return matched

    def _holds(self, option: str, words: list[str], seen: _Seen) -> bool:
        flow = seen.flow
        if option == "--invert":  # of the reverse path
            return self._source_route() != seen.entering
        value = words.pop()
        match option:
            case "-p":
                return flow.protocol == int(_NUMBERS.get(value, value))
            case "--in-interface" | "--out-interface":
                entering = option == "--in-interface"
                return _is_interface(seen.entering if entering else seen.leaving, value)
            case "--source" | "--destination":
                address = flow.source if option == "--source" else flow.destination
                return address in ip_network(value)
            case "--source-ports" | "--destination-ports":
                source = option == "--source-ports"
                return _in_ports(flow.source_port if source else flow.destination_port, value)
            case "--match-set":
                return self._in_set(value, words.pop(), flow)
            case "--mark":
                wanted, mask = (int(part, 0) for part in value.split("/"))
                return self._mark & mask == wanted
            case "--ctstate":
                return self._state(value, flow)
            case "--icmp-type" | "--icmpv6-type":
                kind, _, code = value.partition("/")
                return flow.icmp_type == int(kind) and (not code or flow.icmp_code == int(code))
        return self._holds_limit(option, words)

    def _holds_limit(self, option: str, words: list[str]) -> bool:
        """Nothing is ever beyond a limit."""
        match option:
            case "--tcp-flags":
                words.pop()
                return True
            case "--limit" | "--limit-burst" | "--connlimit-mask":
                return True
            case "--connlimit-above":
                return False
        raise AssertionError(f"unknown option {option}")

    def _state(self, states: str, flow: Flow) -> bool:
        match states:
            case "RELATED,ESTABLISHED":
                return flow.established and self._tracked
            case "INVALID":
                return False
            case "DNAT":
                return flow.translated and self._tracked
        raise AssertionError(f"unknown state {states}")

    def _source_route(self) -> str:
        length = 32 if self._flow.family == 4 else 128
        route = self._node.routes[self._flow.family].routes.get(f"{self._flow.source}/{length}")
        return route.interface if route else ""

    def _in_set(self, name: str, dimensions: str, flow: Flow) -> bool:
        kind, members = self._node.ipsets[flow.family].sets[name]
        address, port = (
            (flow.source, flow.source_port)
            if dimensions.startswith("src")
            else (flow.destination, flow.destination_port)
        )
        if kind is IpsetType.IP_PORT:
            protocol = {6: "tcp", 17: "udp", 132: "sctp"}.get(flow.protocol)
            return f"{address},{protocol}:{port}" in members
        return any(address in ip_network(member) for member in members)


def replace_destination(flow: Flow) -> Flow:
    """As it arrives, before translation."""
    seen = {name: getattr(flow, name) for name in flow.__struct_fields__}
    seen["destination"] = flow.original_destination or flow.destination
    if flow.original_port is not None:
        seen["destination_port"] = flow.original_port
    return Flow(**seen)


def _is_interface(name: str, pattern: str) -> bool:
    return name.startswith(pattern[:-1]) if pattern.endswith("+") else name == pattern


def _in_ports(port: int | None, ports: str) -> bool:
    groups = [group.split(":") for group in ports.split(",")]
    return port is not None and any(int(g[0]) <= port <= int(g[-1]) for g in groups)
