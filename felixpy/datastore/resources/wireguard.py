"""WireGuard's public keys, as text."""

from __future__ import annotations

from calc_graph.wireguard import canonical_key


def is_wireguard_key(text: str) -> bool:
    """The key of zeros among them, which stands for none."""
    return bool(text) and canonical_key(text) is not None
