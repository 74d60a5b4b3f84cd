"""What a reporter cannot write, said once when it begins and once when it is over."""

from __future__ import annotations

from collections.abc import Container

import structlog

log = structlog.get_logger(__name__)


class Troubles:
    """`what` is the reporter's name in the log; each trouble is about one key or file.

    A place that is full or away fails for everything at once; so the log hears of the first
    trouble and of the end of the last, and of nothing in between.
    """

    def __init__(self, what: str) -> None:
        self._what = what
        self._known: dict[str, str] = {}

    @property
    def text(self) -> str:
        """The oldest, and how many there are besides; "" when all is well."""
        if not self._known:
            return ""
        more = len(self._known) - 1
        return next(iter(self._known.values())) + (f" (and {more} more)" if more else "")

    def add(self, about: str, text: str) -> None:
        if not self._known:
            log.warning(f"{self._what}.unwritten", about=about, reason=text)
        self._known[about] = text

    def clear(self, about: str) -> None:
        self._forget({about})

    def keep(self, pending: Container[str]) -> None:
        """Forget what is about anything else."""
        self._forget({about for about in self._known if about not in pending})

    def _forget(self, over: set[str]) -> None:
        before = bool(self._known)
        self._known = {about: text for about, text in self._known.items() if about not in over}
        if before and not self._known:
            log.info(f"{self._what}.recovered")
