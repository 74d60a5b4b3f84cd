"""What is not a session: devices, static routes, the two kernel protocols, BFD.

    in   the speaker, the sets of each family, routes by which peers are reached, settings
    out  a text for each protocol

A block of this node is a blackhole in BIRD's table, for BIRD announces what is there.  It is one in
the kernel too where the pool's routes are BIRD's (`kernel_out` keeps the others back): where they
are the route driver's, that one writes the blackhole, under its own protocol number, and BIRD
neither writes over it nor learns it, because only what leads to a workload's interface is learned.
Source: sections 2.4, 2.6, 2.9, 2.10, 3.1 and 6.2 of the BGP reference.
"""

from __future__ import annotations

from collections.abc import Iterable

from calc_graph.bgp.updates import BgpSession, BgpSpeaker
from dataplane.bird import reasons
from dataplane.bird.render import texts
from dataplane.bird.render.problems import Problems
from dataplane.bird.render.sets import Sets
from dataplane.bird.render.texts import Family, NotFitError
from dataplane.bird.settings import BirdSettings


def devices(speaker: BgpSpeaker, settings: BirdSettings, problems: Problems) -> list[str]:
    """The routes of devices make next hops resolvable.  Of workloads' interfaces the route driver
    tells; kube-ipvs0 has every service's address.
    """
    patterns = [
        *_patterns(speaker.ignored_interfaces, "", "BGPConfiguration", problems),
        *_patterns(settings.interface_prefixes, "*", "InterfacePrefix", problems),
        '"kube-ipvs*"',
    ]
    excluded = ", ".join(f"-{pattern}" for pattern in dict.fromkeys(patterns))
    return [
        "protocol device {\n  scan time 2;\n}",
        f'protocol direct {{\n  ipv4;\n  ipv6;\n  interface {excluded}, "*";\n}}',
    ]


def _patterns(given: Iterable[str], suffix: str, about: str, problems: Problems) -> list[str]:
    found = []
    for text in given:
        try:
            found.append(texts.interface_pattern(f"{text}{suffix}"))
        except NotFitError as error:
            problems.add(about, str(error))
    return found


def static(sets: Sets, reachable: dict[str, str]) -> str:
    """`reachable` is the gateway of each peer that is not on a network of this node."""
    family = sets.family
    blocks = {net for net in (*sets.own, *sets.retiring, *sets.withheld) if not net.single}
    blackholes = sorted(blocks | set(sets.advertised))
    width = texts.BITS[family]
    routes = [f"route {net.text} blackhole;" for net in blackholes]
    routes += [f"route {peer}/{width} via {via};" for peer, via in sorted(reachable.items())]
    lines = "".join(f"  {line}\n" for line in [f"ipv{family};", *routes])
    return f"protocol static static{family} {{\n{lines}}}"


def gateways(sessions: Iterable[BgpSession], problems: Problems) -> dict[Family, dict[str, str]]:
    """By family and peer.  Of two gateways to one peer that of the first session by name counts."""
    found: dict[Family, dict[str, str]] = {family: {} for family in texts.FAMILIES}
    for session in sessions:
        if not session.reachable_by:
            continue
        about = f"session {session.name}"
        try:
            via = texts.address(session.reachable_by, session.family)
        except NotFitError as error:
            problems.add(about, f"reachableBy: {error}")
            continue
        peer = texts.address(session.address, session.family)
        first = found[session.family].setdefault(peer, via)
        if first != via:
            problems.add(about, f"reachableBy: {peer} is reached by {first} already")
    return found


def kernel(sets: Sets, speaker: BgpSpeaker, settings: BirdSettings, problems: Problems) -> str:
    """`metric 0` lets filters set the metric; `persist` keeps routes while BIRD is away.

    Routes to nodes with WireGuard are not for the kernel either where we run it: a set of next hops
    that `kernel_out` would be given as well.
    """
    family = sets.family
    sealed = sets.seal(*(sets.name(of) for of in ("CLUSTER", "SERVICES", "AGENT")))
    normal = speaker.priority_v4 if family == 4 else speaker.priority_v6
    prefixes = _patterns(settings.interface_prefixes, "*", "InterfacePrefix", problems)
    ours = " || ".join(f"ifname ~ {pattern}" for pattern in prefixes) or "false"
    refused = f"refuse({reasons.KERNEL_IMPORT})"
    return f"""\
protocol kernel kernel{family} {{
  learn;
  persist;
  scan time 2;
  metric 0;
  merge paths on;
  graceful restart;
  ipv{family} {{
    import keep filtered on;
    import filter {{
      {sealed};
      if !defined(ifname) || krt_source != {int(settings.device_route_protocol)} then {refused};
      if !({ours}) then {refused};
      kernel_in(CLUSTER{family}, {normal});
    }};
    export filter {{
      {sealed};
      kernel_out(CLUSTER{family}, SERVICES{family}, AGENT{family}, {normal});
    }};
  }};
}}"""


BFD = "protocol bfd {\n}"
