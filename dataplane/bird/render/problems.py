"""What could not be rendered, and why: gathered while the text is made."""

from __future__ import annotations

from collections.abc import Mapping


class Problems:
    """About what, and in words; several about one thing stand in one line, each once."""

    def __init__(self) -> None:
        self._about: dict[str, dict[str, None]] = {}

    def add(self, about: str, problem: str) -> None:
        self._about.setdefault(about, {})[problem] = None

    def found(self) -> Mapping[str, str]:
        return {about: "; ".join(sorted(texts)) for about, texts in sorted(self._about.items())}
