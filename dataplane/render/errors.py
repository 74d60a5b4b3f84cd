"""What can be wrong with a value that should become a rule."""

from __future__ import annotations

from calc_graph.model import PolicyKey, ProfileKey


class UnrenderableError(ValueError):
    """Part of a rule that no text stands for; the owner is not known at this depth."""


class RenderError(Exception):
    """A policy, profile or endpoint (named by its interface) that must not be rendered at all.

    Validation refuses such resources earlier; this is the second line.  Leaving out just the part
    that is not understood would widen the rule, and writing it would make the kernel refuse the
    whole table.
    """

    def __init__(self, owner: PolicyKey | ProfileKey | str, reason: str) -> None:
        self.owner = owner
        self.reason = reason
        super().__init__(f"{owner}: {reason}")
