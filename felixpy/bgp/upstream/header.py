"""The comment on top of a rendered policy, the same for the same policy: no time, no version."""

from __future__ import annotations

import hashlib
from typing import Final

from felixpy.bgp.upstream.model import Role, Upstream

_LINE: Final = 96  # characters of a comment; a name from the datastore may be any length

_EXACT: Final[dict[Role, tuple[str, ...]]] = {
    "tor": (
        "stops from a node: a default route; nets outside the pools; the pool and parts of it; the",
        "  blocks and addresses of other nodes; parts of its own; routes passed on from others",
        "render it again when a block moves: until then what is new is refused",
    ),
    "spine": (
        "stops from below: a default route; nets outside the pools; the pool and parts of it;",
        "  blocks and addresses that no node below has",
        "does not stop: a ToR that announces the block of another node below it",
        "render it again when a block moves: until then what is new is refused",
    ),
    "border": (
        "stops from below: a default route; nets outside the pools; the pool and parts of it;",
        "  blocks and addresses that no node has",
        "render it again when a block moves: until then what is new is refused",
    ),
}
_COARSE: Final[dict[Role, tuple[str, ...]]] = {
    "tor": (
        "stops from a node: a default route; nets outside the pools; the pool, and parts of it",
        "  that have not the length of a block; routes passed on from others",
        "does not stop: a node that announces another node's block, or one address of it (--exact)",
    ),
    "spine": (
        "stops from below: a default route; nets outside the pools; the pool, and parts of it",
        "  that have not the length of a block",
        "does not stop: a ToR that announces a block, or one address, of another rack (--exact)",
    ),
    "border": (
        "stops from below: a default route; nets outside the pools",
        "does not stop: a spine that announces the pool or any part of it (--exact)",
    ),
}
_ABOVE: Final[dict[Role, str]] = {
    "tor": "stops towards a node: the cluster's own nets, however large or small (reverse hijack)",
    "spine": "stops from the border: the cluster's own nets, however large or small",
    "border": "stops towards the spine: the cluster's own nets, however large or small",
}
_FABRIC: Final = "nodes have no mesh: each is told the blocks of the others, by this router alone"
_UNDERLAY: Final = "routes of your own (links, loopbacks) pass upwards only by terms that you add"


def header(upstream: Upstream, body: str, dialect: tuple[str, ...] = ()) -> list[str]:
    """Lines without the vendor's comment mark; `dialect` is what its paste has to heed."""
    mode = "exact" if upstream.exact else "coarse"
    lines = [
        f"felixpy bgp upstream --role {upstream.role} --{mode}",
        f"content sha256:{hashlib.sha256(body.encode()).hexdigest()[:16]}",
        *_folded("pools", upstream.pools),
        *_folded("services", upstream.services),
        *_folded("nodes", upstream.nodes),
        *(_EXACT if upstream.exact else _COARSE)[upstream.role],
        _ABOVE[upstream.role],
        *([_FABRIC] if upstream.fabric and upstream.role == "tor" else []),
        *([_UNDERLAY] if upstream.role != "border" else []),
        *dialect,
    ]
    return [safe_comment(line) for line in lines]


def safe_comment(text: str) -> str:
    """Names come from the datastore: none of them may end the comment it stands in."""
    shown = "".join(c if " " <= c <= "~" else "?" for c in text)
    return shown if len(shown) <= _LINE else f"{shown[: _LINE - 3]}..."


def _folded(title: str, words: tuple[str, ...]) -> list[str]:
    """As many lines as it takes, so that a long list is not cut."""
    lines, line = [], f"{title}:"
    for word in words or ("none",):
        if len(line) + 1 + len(word) > _LINE and line != f"{title}:":
            lines.append(line)
            line = " "
        line += f" {word}"
    return [*lines, line]
