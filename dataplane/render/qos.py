"""The limits of a workload: QosControls in, rules at the start of its chains out.

Only new connections are counted; packets are counted before anything else looks at them.  Scratch
bit 0 says that a packet is within the rate.  Source: projectcalico/calico
felix/rules/endpoints.go; section 1.7 of the rules reference.
"""

from __future__ import annotations

from calc_graph.model import QosControls
from dataplane.render import text
from dataplane.render.errors import RenderError
from dataplane.render.names import Direction
from dataplane.settings import MarkBits

_LIMIT_MAX = 10_000  # of the kernel's limit match, for rate a second and for burst (defect D21)


def packet_rate_limit(
    interface: str, qos: QosControls | None, direction: Direction, marks: MarkBits
) -> tuple[str, ...]:
    """Raises RenderError for a rate or burst that the kernel does not take."""
    if qos is None:
        return ()
    rate, burst = (
        (qos.ingress_packet_rate, qos.ingress_packet_burst)
        if direction == "ingress"
        else (qos.egress_packet_rate, qos.egress_packet_burst)
    )
    if rate == 0:
        return ()
    if not (0 < rate <= _LIMIT_MAX and 0 <= burst <= _LIMIT_MAX):
        raise RenderError(interface, f"{direction} packet rate {rate}/s, burst {burst}")
    flag = marks.scratch0
    kind = f"{direction} packet rate limit"
    clear = f"{text.comment(f'Clear {kind} mark')} {text.clear_mark(flag)}"
    within = text.body(
        text.comment(f"Mark packets within {kind}"),
        text.limit(f"{rate}/sec", burst),
        text.set_mark(flag),
    )
    over = text.body(text.comment(f"Drop packets over {kind}"), text.mark_not_set(flag), text.DROP)
    return clear, within, over, clear


def connection_limit(qos: QosControls | None, direction: Direction) -> tuple[str, ...]:
    if qos is None:
        return ()
    ingress = direction == "ingress"
    limit = qos.ingress_max_connections if ingress else qos.egress_max_connections
    if limit == 0:
        return ()
    title = text.comment(f"Reject connections over {direction} connection limit")
    return (text.body(title, text.new_connections_above(limit), text.REJECT_WITH_RESET),)
