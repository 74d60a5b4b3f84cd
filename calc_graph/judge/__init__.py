"""The judge: what this node's kernel does with a packet, and which rule decides that.

    updates (calc_graph.updates) ──► known.py        policies, members of sets, endpoints
    settings, view (settings.py) ──► endpoints.py    which endpoint stands at which interface
                                          │
    Flow (flow.py) ────────────────► trial.py        the hooks in the kernel's order
                                          ├─ packets.py, failsafe.py   fixed rules
                                          └─ tiers.py ─ rules.py       policies, profiles
                                          │
    Verdict (verdict.py) ◄────────────────┘

It hears the same updates as the dataplane and follows the chains that the dataplane renders; a test
of the kernel lane asks both about random flows.

    judge = Judge(JudgeSettings())
    judge.update(graph.flush())
    judge.judge(flow, view).decision     what lets the packet through, or stops it
    other = judge.fork()                 what would be if: `other.update(...)` leaves `judge` alone

Not in it: translation of addresses (the flow names them as the filter sees them), packets that
connection tracking calls invalid, limits of rate and number, rules of others, tunnels of the
overlay networks, routes that are not ours.
"""

from __future__ import annotations

from calc_graph.judge.flow import Address, Flow
from calc_graph.judge.judge import Judge
from calc_graph.judge.settings import FailsafePort, HostInterface, HostView, JudgeSettings
from calc_graph.judge.verdict import Hook, Reason, Step, Verdict

__all__ = [
    "Address",
    "FailsafePort",
    "Flow",
    "Hook",
    "HostInterface",
    "HostView",
    "Judge",
    "JudgeSettings",
    "Reason",
    "Step",
    "Verdict",
]
