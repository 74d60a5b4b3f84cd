"""What waits for a step, and what comes while it writes."""

from __future__ import annotations

from dataplane.chains import Chain
from dataplane.desired.unwritten import ChainsOf, Unwritten, routes_step, tables_step
from dataplane.render.endpoints import EndpointChains


def jumping(*targets: str) -> ChainsOf:
    chain = Chain("cali-tw-x", tuple(f"--jump {target}" for target in targets))
    return {"filter": EndpointChains((chain,))}


def test_what_is_written_is_told_once() -> None:
    unwritten = Unwritten((4, 6))
    unwritten.chains("a", jumping())
    unwritten.route(4, "a")
    for step in (tables_step(4), tables_step(6), routes_step(4)):
        assert unwritten.has("a")
        unwritten.end(step, unwritten.begin(step))
        assert unwritten.take_written() == {"a"}
        assert unwritten.take_written() == set()
    assert not unwritten.has("a")


def test_what_comes_during_a_step_waits_for_the_next() -> None:
    for failed in (False, True):
        unwritten = Unwritten((4,))
        unwritten.route(4, "a")
        begun = unwritten.begin(routes_step(4))
        unwritten.route(4, "b")
        unwritten.end(routes_step(4), begun, begun.keys() if failed else ())
        assert unwritten.has("b")
        assert unwritten.has("a") == failed


def test_of_refused_chains_the_newest_decide() -> None:
    step, refused = tables_step(4), {("filter", "cali-pi-p"): "why"}
    unwritten = Unwritten((4,))
    unwritten.chains("a", jumping("cali-pi-p"))
    unwritten.chains("b", jumping("cali-pi-q"))
    unwritten.end_refused(step, unwritten.begin(step), refused)
    assert unwritten.take_written() == {"b"}
    unwritten.chains("a", jumping("cali-pi-q"))
    unwritten.end_refused(step, unwritten.begin(step), refused)
    assert unwritten.take_written() == {"a"}
