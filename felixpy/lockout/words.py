"""Which flow, which policy, which rule: for people, in one line."""

from __future__ import annotations

from collections.abc import Iterator

from calc_graph.judge import Reason, Step
from calc_graph.model import HostEndpointKey
from calc_graph.updates import ActiveRule, PeerMatch
from felixpy.lockout.resources import GuardedKey, kind_and_name
from felixpy.lockout.search import Cut


def render_key(key: GuardedKey) -> str:
    kind, name = kind_and_name(key)
    return f"{kind} {name}"


def render_place(step: Step) -> str:
    """Where in the datastore the decision is written."""
    if step.policy is not None:
        text = f"{render_key(step.policy)} of tier {step.tier}"
    elif step.profile:
        text = f"Profile {step.profile}"
    elif step.reason is Reason.TIER_END:
        return f"tier {step.tier}, where no policy decides and the default action is Deny"
    else:
        return str(step.reason.value)
    if step.rule is None:
        return f"{text}: {step.reason.value}"
    said = f"{text}, {render_index(step)}: {render_rule(step.rule)}"
    return f"{said}; {step.reason.value}" if step.reason is Reason.IN_CLEAR else said


def render_index(step: Step) -> str:
    """As in the manifest: "spec.ingress[0]"; "" where no rule decided."""
    return f"spec.{step.direction}[{step.rule_index}]" if step.rule is not None else ""


def render_endpoint(step: Step) -> str:
    name = step.endpoint.name if isinstance(step.endpoint, HostEndpointKey) else ""
    return f"HostEndpoint {name} at {step.interface}, {step.hook.value}"


def render_rule(rule: ActiveRule) -> str:
    """What it asks of a packet; selectors by the sets that stand for them."""
    parts: list[str] = [rule.action]
    if rule.ip_version is not None:
        parts.append(f"IPv{rule.ip_version}")
    if rule.protocol is not None:
        parts.append(str(rule.protocol))
    if rule.not_protocol is not None:
        parts.append(f"not {rule.not_protocol}")
    for icmp, word in ((rule.icmp, ""), (rule.not_icmp, "not ")):
        if icmp is not None:
            parts.append(f"{word}type {icmp.type}")
            parts += [] if icmp.code is None else [f"code {icmp.code}"]
    for side, word in ((rule.source, "from"), (rule.destination, "to")):
        asked = list(_side(side))
        parts += [word, *asked] if asked else []
    return " ".join(parts)


def _side(side: PeerMatch) -> Iterator[str]:
    for nets, word in ((side.nets, ""), (side.not_nets, "not ")):
        if nets:
            yield word + ",".join(nets)
    for sets, word in (
        ((*side.ipsets, *side.ip_port_ipsets), "set "),
        (side.named_port_ipsets, "named ports "),
        (side.not_ipsets, "not set "),
        (side.not_named_port_ipsets, "not named ports "),
    ):
        if sets:
            yield word + ",".join(sets)
    for ports, word in ((side.ports, "ports "), (side.not_ports, "not ports ")):
        if ports:
            yield word + ",".join(
                str(p.first) if p.first == p.last else f"{p.first}-{p.last}" for p in ports
            )


def render_cut(cut: Cut) -> str:
    """What cuts, and where."""
    return f"{render_place(cut.step)} ({render_endpoint(cut.step)})"


def render_loss(cut: Cut) -> str:
    return f"it would cut off {cut.essential.text}: {render_cut(cut)}"


def render_standing(cut: Cut) -> str:
    return f"{cut.essential.text} cannot come about any more: {render_cut(cut)}"
