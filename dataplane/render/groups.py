"""Policies of a tier into groups: keys in order in, the chains to jump to out.

Consecutive policies with the same selector apply to the same endpoints, so they share a chain of
jumps that is rendered once and jumped to from each endpoint.  Where at most one of them is
enforced the endpoint jumps to it directly. Source: projectcalico/calico felix/rules/endpoints.go;
section 1.9 of the rules reference.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import groupby
from typing import NamedTuple, TypeAlias

from calc_graph.model import PolicyKey
from dataplane.chains import Chain
from dataplane.render import names, text
from dataplane.render.names import Direction
from dataplane.settings import MarkBits

# The canonical selector of a policy; `mapping.__getitem__` is one.
SelectorOf: TypeAlias = Callable[[PolicyKey], str]

_RUN = 5  # jumps between two looks at whether a verdict has fallen


class PolicyGroup(NamedTuple):
    """`policies` is not empty and may hold staged ones, which are never jumped to but are part of
    the group's name.
    """

    selector: str
    direction: Direction
    policies: tuple[PolicyKey, ...]

    @property
    def enforced(self) -> tuple[PolicyKey, ...]:
        return tuple(key for key in self.policies if not key.staged)

    def jump_targets(self) -> tuple[str, ...]:
        """The chains an endpoint jumps to: the group's own, or the only enforced policy's, or
        none.
        """
        enforced = self.enforced
        if len(enforced) > 1:
            return (names.group_chain(self.selector, self.direction, self.policies),)
        return tuple(names.policy_chain(key, self.direction) for key in enforced)

    def chain(self, marks: MarkBits) -> Chain | None:
        """None where endpoints jump to the policy directly."""
        enforced = self.enforced
        if len(enforced) < 2:
            return None
        name = names.group_chain(self.selector, self.direction, self.policies)
        verdict = marks.accept | marks.passed
        bodies: list[str] = []
        for index, key in enumerate(enforced):
            jump = text.jump(names.policy_chain(key, self.direction))
            if index % _RUN:
                bodies.append(f"{text.mark_clear(verdict)} {jump}")
                continue
            if index:
                title = text.comment("Return on verdict")
                bodies.append(text.body(title, text.mark_not_clear(verdict), text.RETURN))
            bodies.append(jump)
        return Chain(name, tuple(bodies))


def group_policies(
    policies: tuple[PolicyKey, ...], direction: Direction, selector_of: SelectorOf
) -> list[PolicyGroup]:
    """`policies` are those of one tier and direction, in order."""
    return [
        PolicyGroup(selector, direction, tuple(keys))
        for selector, keys in groupby(policies, key=selector_of)
    ]
