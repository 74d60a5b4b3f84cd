"""A chain as the renderers make it and the table drivers write it, and the ids that tell our rules from others'.

A rule is a body: the text that iptables-restore takes after "-A CHAIN" and the id comment, in exactly the long spelling that
Calico's Felix uses, because that text enters the id.  The same chain text is used for every table that needs the chain.
"""

from __future__ import annotations

import base64
import hashlib
import re

from msgspec import Struct

_TARGET = re.compile(r"(?:--jump|--goto|-j|-g) (cali-\S+)")


class Chain(Struct, frozen=True):
    """`rules` are bodies: comments, match, action, joined by single spaces; an empty tuple is an empty chain."""

    name: str
    rules: tuple[str, ...] = ()

    def targets(self) -> frozenset[str]:
        """The chains of ours that a rule of this one jumps or goes to."""
        return frozenset(t for rule in self.rules for t in _TARGET.findall(rule))


def rule_ids(chain_name: str, bodies: tuple[str, ...]) -> tuple[str, ...]:
    """The 16-character ids of a chain's rules, chained so that an id also pins the position.

    For rules at the end of a kernel chain the name is "CHAIN*appends*".
    Source: projectcalico/calico felix/generictables/rules.go; section 1.12 of the rules reference.
    """
    ids = []
    digest = hashlib.sha224(chain_name.encode()).digest()
    for body in bodies:
        text = f"-A {chain_name} HASH {body}" if body else f"-A {chain_name} HASH"
        digest = hashlib.sha224(digest + text.encode()).digest()
        ids.append(base64.urlsafe_b64encode(digest)[:16].decode())
    return tuple(ids)
