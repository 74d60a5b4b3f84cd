"""The chains of one endpoint: an endpoint and the tiers that apply to it in, its chains and group
chains out.

    workload   filter        cali-tw- ingress, cali-fw- egress
    host       filter        cali-th- egress, cali-fh- ingress; cali-thfw-, cali-fhfw- in passing
               mangle        cali-th- egress of what was translated, cali-fh- before translation
               raw           cali-th-, cali-fh- for untracked policies

The text is the same in both address families.  Which part stands in which chain is the table of
section 1.7 of the rules reference.  Source: projectcalico/calico felix/rules/endpoints.go.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Literal

from msgspec import Struct

from calc_graph.model import HostEndpoint, WorkloadEndpoint
from calc_graph.updates import TierPolicies
from dataplane.chains import Chain
from dataplane.render import names, text
from dataplane.render.actions import deny_action, spoken
from dataplane.render.groups import SelectorOf
from dataplane.render.names import Direction
from dataplane.render.qos import connection_limit, packet_rate_limit
from dataplane.render.tiers import TierRules, tier_rules
from dataplane.settings import MarkBits, RenderSettings

_UDP = 17
_IPIP = 4
_FAILSAFE: dict[Direction, str] = {"ingress": names.FAILSAFE_IN, "egress": names.FAILSAFE_OUT}


class EndpointChains(Struct, frozen=True):
    """`groups` may be shared with other endpoints, and are the same for whoever shares them."""

    chains: tuple[Chain, ...]
    groups: tuple[Chain, ...] = ()


def workload_chains(
    interface: str,
    endpoint: WorkloadEndpoint,
    tiers: Sequence[TierPolicies],
    selector_of: SelectorOf,
    settings: RenderSettings,
) -> EndpointChains:
    """Filter: the chain to the workload and the chain from it.

    `interface` must have passed `safe_interface`.  Raises RenderError for limits that the
    kernel does not take.
    """
    to_name, from_name = names.to_workload(interface), names.from_workload(interface)
    deny = deny_action(settings, "filter")
    if not endpoint.admin_up:
        down = (f"{text.comment('Endpoint admin disabled')} {text.verdict(deny)}",)
        return EndpointChains((Chain(to_name, down), Chain(from_name, down)))

    def bodies(direction: Direction, extra: tuple[str, ...], walk: TierRules) -> tuple[str, ...]:
        return (
            *packet_rate_limit(interface, endpoint.qos, direction, settings.marks),
            *_tracked(settings, settings.filter_allow_action, deny),
            *connection_limit(endpoint.qos, direction),
            _clear_verdict(settings.marks),
            *extra,
            *walk.bodies,
            *_profiles(endpoint.profiles, direction, settings.marks, deny),
        )

    to = tier_rules(tiers, "ingress", selector_of, settings.marks, deny=deny)
    from_ = tier_rules(tiers, "egress", selector_of, settings.marks, deny=deny)
    return EndpointChains(
        (
            Chain(to_name, bodies("ingress", (), to)),
            Chain(from_name, bodies("egress", _no_tunnels(settings, deny), from_)),
        ),
        _distinct(to, from_),
    )


def host_filter_chains(
    interface: str,
    endpoint: HostEndpoint,
    tiers: Sequence[TierPolicies],
    forward: Sequence[TierPolicies],
    selector_of: SelectorOf,
    settings: RenderSettings,
) -> EndpointChains:
    """Filter: to and from the host, then to and from what it forwards.

    `interface` is a safe one or `names.ANY_INTERFACE`.  A forward chain in whose direction no
    policy is enforced lets everything through; Felix decides nothing there if the other direction
    has policies (defect D12).
    """
    deny = deny_action(settings, "filter")
    marks = settings.marks
    start = _tracked(settings, settings.filter_allow_action, deny)

    def own(name: str, direction: Direction, walk: TierRules) -> Chain:
        profiles = _profiles(endpoint.profiles, direction, marks, deny)
        return Chain(name, (*start, *_into_tiers(direction, marks), *walk.bodies, *profiles))

    def passing(name: str, walk: TierRules) -> Chain:
        default = () if walk.enforced else _forward_default(marks)
        return Chain(name, (*start, _clear_verdict(marks), *walk.bodies, *default))

    to = tier_rules(tiers, "egress", selector_of, marks, deny=deny)
    from_ = tier_rules(tiers, "ingress", selector_of, marks, deny=deny)
    to_forward = tier_rules(forward, "egress", selector_of, marks, deny=deny)
    from_forward = tier_rules(forward, "ingress", selector_of, marks, deny=deny)
    return EndpointChains(
        (
            own(names.to_host(interface), "egress", to),
            own(names.from_host(interface), "ingress", from_),
            passing(names.to_host_forward(interface), to_forward),
            passing(names.from_host_forward(interface), from_forward),
        ),
        _distinct(to, from_, to_forward, from_forward),
    )


def host_mangle_chains(
    interface: str,
    endpoint: HostEndpoint,
    tiers: Sequence[TierPolicies],
    pre_dnat: Sequence[TierPolicies],
    selector_of: SelectorOf,
    settings: RenderSettings,
) -> EndpointChains:
    """Mangle: egress of the host's translated traffic; with pre-DNAT tiers also what comes before
    translation.
    """
    deny = deny_action(settings, "mangle")
    marks = settings.marks
    to = tier_rules(tiers, "egress", selector_of, marks, deny=deny)
    to_bodies = (
        *_tracked(settings, "RETURN", deny),
        *_into_tiers("egress", marks),
        *to.bodies,
        *_profiles(endpoint.profiles, "egress", marks, deny),
    )
    chains = [Chain(names.to_host(interface), to_bodies)]
    from_ = tier_rules(pre_dnat, "ingress", selector_of, marks, deny=None)
    if pre_dnat:
        from_bodies = (
            *_tracked(settings, settings.mangle_allow_action, deny),
            *_into_tiers("ingress", marks),
            *from_.bodies,
        )
        chains.append(Chain(names.from_host(interface), from_bodies))
    return EndpointChains(tuple(chains), _distinct(to, from_))


def host_raw_chains(
    interface: str,
    untracked: Sequence[TierPolicies],
    selector_of: SelectorOf,
    settings: RenderSettings,
) -> EndpointChains:
    """Raw: nothing without untracked tiers."""
    if not untracked:
        return EndpointChains(())
    marks = settings.marks
    to = tier_rules(untracked, "egress", selector_of, marks, deny=None, untracked=True)
    from_ = tier_rules(untracked, "ingress", selector_of, marks, deny=None, untracked=True)
    return EndpointChains(
        (
            Chain(names.to_host(interface), (*_into_tiers("egress", marks), *to.bodies)),
            Chain(names.from_host(interface), (*_into_tiers("ingress", marks), *from_.bodies)),
        ),
        _distinct(to, from_),
    )


# ---------------------------------------------------------------- parts of a chain


def _tracked(
    settings: RenderSettings,
    allow: Literal["ACCEPT", "RETURN"],
    deny: Literal["DROP", "REJECT"],
) -> tuple[str, ...]:
    """Connections that policy has already accepted, and packets of no connection."""
    accept = text.set_mark(settings.marks.accept)
    # RETURN alone would leave the packet unaccepted for the caller.
    mark = () if allow == "ACCEPT" else (f"{text.ESTABLISHED} {accept}",)
    invalid = f"{text.INVALID} {text.verdict(deny)}"
    return (
        *mark,
        f"{text.ESTABLISHED} {text.verdict(allow)}",
        *((invalid,) if settings.conntrack_invalid_check else ()),
    )


def _clear_verdict(marks: MarkBits) -> str:
    return text.clear_mark(marks.accept | marks.passed)


def _into_tiers(direction: Direction, marks: MarkBits) -> tuple[str, str]:
    return text.jump(_FAILSAFE[direction]), _clear_verdict(marks)


def _no_tunnels(settings: RenderSettings, deny: Literal["DROP", "REJECT"]) -> tuple[str, ...]:
    """A workload that could encapsulate would have the host decapsulate, past the policy of
    whoever it pretends to be.
    """
    end = "encapped packets originating in workloads"
    vxlan = text.body(
        text.comment(f"{spoken(deny)} VXLAN {end}"),
        text.protocol(_UDP),
        text.destination_ports(str(settings.vxlan_port)),
        text.verdict(deny),
    )
    ipip = text.body(
        text.comment(f"{spoken(deny)} IPinIP {end}"), text.protocol(_IPIP), text.verdict(deny)
    )
    return (
        *(() if settings.allow_vxlan_from_workloads else (vxlan,)),
        *(() if settings.allow_ipip_from_workloads else (ipip,)),
    )


def _profiles(
    profiles: Iterable[str],
    direction: Direction,
    marks: MarkBits,
    deny: Literal["DROP", "REJECT"],
) -> tuple[str, ...]:
    title = text.comment("Return if profile accepted")
    accepted = f"{title} {text.mark_set(marks.accept)} {text.RETURN}"
    bodies: list[str] = []
    for profile in profiles:
        bodies += [text.jump(names.profile_chain(profile, direction)), accepted]
    end = text.comment(f"{spoken(deny)} if no profiles matched")
    return (*bodies, f"{end} {text.verdict(deny)}")


def _forward_default(marks: MarkBits) -> tuple[str, str]:
    allow = text.comment("Allow forwarded traffic by default")
    done = text.comment("Return for accepted forward traffic")
    return f"{allow} {text.set_mark(marks.accept)}", f"{done} {text.RETURN}"


def _distinct(*walks: TierRules) -> tuple[Chain, ...]:
    return tuple({chain.name: chain for walk in walks for chain in walk.groups}.values())
