"""Findings of a check, for people."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from felixpy.console import Palette
from felixpy.wireguard.finding import Finding


def finding_lines(found: Sequence[Finding], paint: Palette) -> Iterator[str]:
    """A line each, with what to do, and how many are not well."""
    colours = {"ok": paint.good, "warn": paint.warn, "fail": paint.bad}
    width = max(len(each.about) for each in found)
    for each in found:
        yield f"{colours[each.verdict](f'{each.verdict:<4}')}  {each.about:<{width}}  {each.text}"
        if each.advice and each.verdict != "ok":
            yield f"{'':<{width + 8}}{each.advice}"
    counts = {v: sum(each.verdict == v for each in found) for v in ("fail", "warn")}
    yield f"{counts['fail']} failed, {counts['warn']} not sure or not as it should be"
