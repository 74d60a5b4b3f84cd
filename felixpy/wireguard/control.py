"""This node's public keys over the control socket: wireguard key -> {"keys": [...]}, each as
felixpy.wireguard.publishing.PublishedKey has it, by name.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import msgspec

from felixpy.control import Control
from felixpy.control_client import ControlClientError, ask
from felixpy.wireguard.publishing import PublishedKey

_COMMAND = "wireguard key"


def register(control: Control, keys: Callable[[], Iterable[PublishedKey]]) -> None:
    async def show(_: Mapping[str, Any]) -> dict[str, Any]:
        return {"keys": [each._asdict() for each in keys()]}

    control.register(_COMMAND, show)


def ask_keys(directory: Path) -> list[PublishedKey]:
    """Of the running agent.  Raises ControlClientError."""
    answer = ask(directory, _COMMAND, {})
    try:
        found = msgspec.convert(answer.get("keys"), list[dict[str, Any]])
        return [msgspec.convert([*each.values()], PublishedKey) for each in found]
    except msgspec.ValidationError as error:
        raise ControlClientError(f"the agent is of another version: {error}") from None
