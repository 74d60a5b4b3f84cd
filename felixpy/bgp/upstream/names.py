"""Names of sets and policies that every vendor takes and that no two nodes share.

A node's name stays readable where it can.  Where it is changed or cut, a hash of the whole name
stands behind it, so a name never depends on which other nodes there are.  The longest name with
its family and direction has 31 characters, the least that any of the vendors is said to allow.
"""

from __future__ import annotations

import hashlib
import re
from typing import Final

from felixpy.bgp.upstream.model import Family

PREFIX: Final = "CALICO-"
_ROOM: Final = 31 - len(PREFIX) - len("-V6-OUT")
_HASH: Final = 8
_UNSAFE: Final = re.compile(r"[^A-Za-z0-9-]")
# what the sets, policies and groups that belong to no node are called
_TAKEN: Final = re.compile(r"(?i)(cluster|announced|blocks|all|own|below|above|nodes|not-.*)")


def node_name(node: str) -> str:
    """What stands for a node between the prefix and the family."""
    safe = _UNSAFE.sub("-", node)
    if safe == node and len(node) <= _ROOM and not _TAKEN.fullmatch(node):
        return safe
    digest = hashlib.sha256(node.encode()).hexdigest()[:_HASH]
    return f"{safe[: _ROOM - _HASH - 1].rstrip('-')}-{digest}"


def set_name(what: str, family: Family) -> str:
    return f"{PREFIX}{what}-V{family}"


def policy_name(what: str, family: Family, direction: str) -> str:
    """`direction` as the router sees it: "IN" or "OUT"."""
    return f"{PREFIX}{what}-V{family}-{direction}"


def path_name(origin: int) -> str:
    return f"{PREFIX}AS{origin or '-NONE'}"


def negated(name: str) -> str:
    """The list of everything that is not in a set, for dialects that need one of its own."""
    return f"{PREFIX}NOT-{name.removeprefix(PREFIX)}"
