"""Endless tasks: each is named, and its end is a failure."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any


class TaskEndedError(Exception):
    """A task that should go on for ever has come to its end."""


async def endless(work: Coroutine[Any, Any, None], name: str) -> None:
    """Raises TaskEndedError when `work` returns; whatever it raises goes through."""
    await work
    raise TaskEndedError(f"{name} ended")
