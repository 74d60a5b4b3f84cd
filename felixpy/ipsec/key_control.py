"""Keys over the control socket, by name:

ipsec key drop    {"id": 3} -> {}     that key is not waited for any more
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any, Final

from felixpy.control import Control, ControlError
from felixpy.control_client import ask

_DROP: Final = "ipsec key drop"


def register(
    control: Control,
    ring: Callable[[], Collection[int]],
    alive: Callable[[], Collection[int]],
    drop: Callable[[int], None],
) -> None:
    """`ring` are the IDs of the key file, `alive` all that are still received with."""

    async def drop_key(arguments: Mapping[str, Any]) -> dict[str, Any]:
        key_id = arguments.get("id")
        if not isinstance(key_id, int):
            raise ControlError("the request names no key")
        if key_id in ring():
            raise ControlError(f"key {key_id} is in the key file: it has to go from there first")
        if key_id not in alive():
            there = ", ".join(map(str, sorted(alive()))) or "none"
            raise ControlError(f"there is no key {key_id}; those that are in use: {there}")
        drop(key_id)
        return {}

    control.register(_DROP, drop_key)


def ask_drop(directory: Path, key_id: int) -> None:
    """Of the running agent.  Raises ControlClientError."""
    ask(directory, _DROP, {"id": key_id})
