"""What Prometheus is told: which change waits, what it would cut, and by which rule."""

from __future__ import annotations

from felixpy.lockout.ledger import Waiting
from felixpy.metrics import Figures, Metrics


def test_metrics() -> None:
    figures = Figures(lockout=(Waiting("Tier t", "ssh from 10.0.0.7", "tier t"),))
    metrics = Metrics(lambda: figures, "n1", runtime=False, process=False)
    metrics.lockouts.labels("held").inc()
    lines = metrics.page("").body.decode().splitlines()
    labels = 'cause="tier t",flow="ssh from 10.0.0.7",resource="Tier t"'
    assert f"felixpy_lockout_held_changes{{{labels}}} 1.0" in lines
    assert 'felixpy_lockout_changes_total{outcome="held"} 1.0' in lines
