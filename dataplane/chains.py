"""A chain as the renderers make it and the table drivers write it, and the ids that tell our
rules from others'.

A rule is a body: the text that iptables-restore takes after "-A CHAIN" and the id comment, in
exactly the long spelling that Calico's Felix uses, because that text enters the id.  The same
chain text is used for every table that needs the chain, unless denied packets are rejected: that
is possible in the filter table only.
"""

from __future__ import annotations

import base64
import hashlib

from msgspec import Struct

_JUMPS = frozenset({"--jump", "--goto", "-j", "-g"})


class Chain(Struct, frozen=True):
    """`rules` are bodies: comments, match, action, joined by single spaces; an empty tuple is an
    empty chain.
    """

    name: str
    rules: tuple[str, ...] = ()

    def targets(self) -> frozenset[str]:
        """The chains of ours that a rule of this one jumps or goes to."""
        return frozenset(target for rule in self.rules if (target := _target(rule)))


def _target(body: str) -> str:
    """ "" if there is none.  Only the end of a body counts: a comment may say "--jump" too."""
    words = body.rsplit(" ", 2)
    if len(words) < 2 or words[-2] not in _JUMPS or not words[-1].startswith("cali-"):
        return ""
    return "" if words[-1].endswith('"') else words[-1]


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
