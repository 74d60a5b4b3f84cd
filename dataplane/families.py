"""The two address families, told by number as the tools have them."""

from __future__ import annotations

from typing import Literal, TypeAlias

Family: TypeAlias = Literal[4, 6]


def family_of(member: str) -> Family:
    """The family of a net, an address or an "address,protocol:port"."""
    return 6 if ":" in member and ":" in member.partition(",")[0] else 4
