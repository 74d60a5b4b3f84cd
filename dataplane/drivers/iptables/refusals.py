"""What stays as it is while some chains cannot be written, so that nothing gets more open.

The policy, in the order of its steps, for chains that were refused:
  1. A refused chain keeps its old rules.
  2. A chain that jumps to one that is kept is kept too, and so on up: its rules decide together.
     A chain that *goes* to it (dispatch to endpoints) decides nothing more about those packets, so
     it may change, as long as the name it goes to exists.
  3. A kept chain that exists nowhere yet, and is gone to, is written as a single DROP: a new
     endpoint whose policy cannot be written is closed, and all the others get their dispatch.
  4. Nothing is deleted from a table in which something is kept.
Chains that are not kept are written, also those that a kept chain leads to: others need them.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

from msgspec import Struct

from dataplane.drivers.iptables.graph import ChainGraph
from dataplane.drivers.iptables.hooks import Hook

_GOTO = frozenset({"--goto", "-g"})


class Held(Struct, frozen=True):
    kept: frozenset[str] = frozenset()  # chains and kernel chains that are not touched
    closed: frozenset[str] = frozenset()  # chains written as a single DROP


def hold_back(
    graph: ChainGraph,
    hooks: Mapping[str, Hook],
    actual: Collection[str],
    refused: Collection[str],
    table: str,
) -> Held:
    """Walks over all programmed chains, which only happens while something is refused."""
    if not refused:
        return Held()
    jumps, gotos = _referrers(graph, hooks)
    can_close = table != "nat"  # the kernel allows no DROP there
    kept: set[str] = set()
    closed: set[str] = set()
    pending = list(refused)
    while pending:
        name = pending.pop()
        if name in kept:
            continue
        kept.add(name)
        pending.extend(jumps.get(name, ()))
        if name in actual or name not in gotos:
            continue
        if can_close and name not in jumps:
            closed.add(name)
        else:
            pending.extend(gotos[name])
    return Held(frozenset(kept - closed), frozenset(closed))


def _referrers(
    graph: ChainGraph, hooks: Mapping[str, Hook]
) -> tuple[dict[str, list[str]], dict[str, list[str]]]:
    """Per chain, who jumps and who goes to it."""
    jumps: dict[str, list[str]] = {}
    gotos: dict[str, list[str]] = {}
    for name in graph.programmed():
        if chain := graph.desired.get(name):
            for body in chain.rules:
                _, option, target = ("", "", *body.rsplit(" ", 2))[-3:]
                if target in graph.targets(name):
                    edges = gotos if option in _GOTO else jumps
                    edges.setdefault(target, []).append(name)
    for name, hook in hooks.items():
        for target in hook.targets():
            jumps.setdefault(target, []).append(name)
    return jumps, gotos
