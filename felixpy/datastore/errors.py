"""What is said about a resource that cannot be used."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


class InvalidResourceError(ValueError):
    """A resource that means nothing certain, so it counts as absent.

    `path` leads to the offending field of the document: ("spec", "ingress", 0, "action").
    """

    def __init__(self, message: str, path: tuple[str | int, ...] = ()) -> None:
        super().__init__(message)
        self.message = message
        self.path = path

    def inside(self, *outer: str | int) -> None:
        """Put `outer` before the path, as the error rises through the document."""
        self.path = (*outer, *self.path)

    def __str__(self) -> str:
        where = render_path(self.path)
        return f"{where}: {self.message}" if where else self.message


def render_path(path: tuple[str | int, ...]) -> str:
    """("spec", "ingress", 0, "action") -> "spec.ingress[0].action"."""
    return "".join(_render_step(step) for step in path).removeprefix(".")


def _render_step(step: str | int) -> str:
    return f".{step}" if isinstance(step, str) and step.isprintable() else f"[{step!r}]"


def suggestion(wrong: str, known: Iterable[str]) -> str:
    """For example ", did you mean 'ingress'?"; "" when nothing known looks like `wrong`."""
    by_folded = {name.lower(): name for name in known}
    close = get_close_matches(wrong.lower(), by_folded, n=1, cutoff=0.6)
    return f", did you mean {by_folded[close[0]]!r}?" if close else ""
