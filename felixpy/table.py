"""Columns for people: as wide as what stands in them, two spaces between."""

from __future__ import annotations

from collections.abc import Sequence


def render_table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """One line each; the last column is as long as it is."""
    everything = [heads, *rows]
    widths = [max(len(row[column]) for row in everything) for column in range(len(heads))]
    return "\n".join(
        "  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in everything
    )
