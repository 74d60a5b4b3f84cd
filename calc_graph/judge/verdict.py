"""The answer: what becomes of a packet, what decided that, and what was asked on the way."""

from __future__ import annotations

from enum import Enum
from typing import Literal, TypeAlias

from msgspec import Struct

from calc_graph.model import EndpointKey, PolicyKey
from calc_graph.updates import ActiveRule

Direction: TypeAlias = Literal["ingress", "egress"]  # of the endpoint that is asked
Outcome: TypeAlias = Literal["allow", "deny", "none"]  # none: it goes on as if not asked


class Hook(Enum):
    """Table and kernel chain in which a step is taken.

    At a host endpoint they tell its kinds of policy apart: raw has untracked, mangle PREROUTING
    pre-DNAT, filter FORWARD applyOnForward, the others normal policy.
    """

    RAW_PREROUTING = "raw PREROUTING"
    RAW_OUTPUT = "raw OUTPUT"
    MANGLE_PREROUTING = "mangle PREROUTING"
    MANGLE_POSTROUTING = "mangle POSTROUTING"
    INPUT = "filter INPUT"
    FORWARD = "filter FORWARD"
    OUTPUT = "filter OUTPUT"


class Reason(Enum):
    POLICY = "a rule of a policy"
    TIER_END = "no policy of the tier decides, and the tier's default action is Deny"
    PROFILE = "a rule of a profile"
    NO_PROFILE = "no policy or profile allows it"
    UNENFORCEABLE = "a policy or profile that cannot be rendered drops everything"
    UNDECIDED = "no policy decides, and this stage has no default"
    NO_FORWARD_POLICY = "no policy of the endpoint is about forwarded traffic in this direction"
    NOT_GOVERNED = "no endpoint governs it"
    TO_WORKLOAD = "what the host sends to its own workloads is not policed"
    ESTABLISHED = "part of a connection that was accepted before"
    FAILSAFE = "a failsafe port"
    BOOTSTRAP = "what a workload may always ask of its host"
    ENDPOINT_TO_HOST = "DefaultEndpointToHostAction"
    UNKNOWN_INTERFACE = "a workload interface without an endpoint"
    ADMIN_DOWN = "the endpoint is switched off"
    SPOOFED = "the source is not the workload's own"
    TUNNEL = "a workload may not encapsulate"
    SERVICE_LOOP = "a service address that nothing has translated"
    IN_CLEAR = "it must be encrypted, and is not where it comes in or leaves"


class Step(Struct, frozen=True):
    """One endpoint, or one fixed chain, that was asked.

    `tier` goes with POLICY, TIER_END and UNENFORCEABLE of a policy; of `policy` and `profile` one
    is there with a rule; `rule_index` counts from 0 within the ingress or egress rules, -1 for
    none.
    """

    hook: Hook
    interface: str  # whose chain it is: where the packet comes in or goes out
    direction: Direction
    outcome: Outcome
    reason: Reason
    endpoint: EndpointKey | None = None
    tier: str = ""
    policy: PolicyKey | None = None
    profile: str = ""
    rule_index: int = -1
    rule: ActiveRule | None = None


class Verdict(Struct, frozen=True):
    """`path` are all steps in order and never empty.

    `decision` is the one that denied; of those that allowed the last; else the last one asked.
    Not `final` means that our rules let the packet go on, and that rules after ours or the policy
    of the kernel's chain have the last word.

    `allowed` is what policy says, and to have to be encrypted is no denial.  `encrypted`: a policy
    that allowed it requires that its flow goes so.  Whether it does is a matter of routes: where
    the flow names an interface that does not encrypt, and no tunnel of IPsec takes it, the kernel
    drops it all the same, and `in_clear` is the step at which that was required.
    """

    allowed: bool
    final: bool
    decision: Step
    path: tuple[Step, ...]
    encrypted: bool = False
    in_clear: Step | None = None
