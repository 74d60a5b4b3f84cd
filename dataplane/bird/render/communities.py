"""Communities by which announced routes are marked, and how BIRD writes a community.

in   (net, communities) of the BGPConfiguration
out  one function per family that marks a route, called before it is accepted for export
Source: section 2.8 of the BGP reference.
"""

from __future__ import annotations

from collections.abc import Iterable

from calc_graph.bgp.resources import PrefixCommunities
from dataplane.bird.render import texts
from dataplane.bird.render.problems import Problems
from dataplane.bird.render.texts import Family, Net, NotFitError


def add(community: str) -> str:
    """The statement that adds it; raises NotFitError."""
    attribute, value = _spelt(community)
    return f"{attribute}.add({value});"


def has(community: str) -> str:
    """The condition that a route has it; raises NotFitError."""
    attribute, value = _spelt(community)
    return f"{value} ~ {attribute}"


def _spelt(community: str) -> tuple[str, str]:
    parts = texts.community(community)
    attribute = "bgp_community" if len(parts) == 2 else "bgp_large_community"
    return attribute, f"({', '.join(map(str, parts))})"


def mark_function(family: Family, wanted: Iterable[PrefixCommunities], problems: Problems) -> str:
    marks: dict[Net, dict[str, None]] = {}
    for entry in wanted:
        try:
            net, adds = texts.net(entry.net), [add(community) for community in entry.communities]
        except NotFitError as error:
            problems.add("BGPConfiguration", str(error))
            continue
        if net.family == family:
            marks.setdefault(net, {}).update(dict.fromkeys(adds))
    lines = [
        f"  if net ~ {net.text} then {{ {' '.join(adds)} }}"
        for net, adds in sorted(marks.items())
        if adds
    ]
    return "\n".join([f"function mark{family}() {{", *lines, "}"])
