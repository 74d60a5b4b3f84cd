"""IPsec over the control socket, by name:

ipsec status      -> {"details": {...}}     felixpy.ipsec.details.Details
ipsec key drop    see felixpy.ipsec.key_control
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import msgspec

from dataplane.errors import DataplaneError
from felixpy.control import Control, ControlError
from felixpy.control_client import ControlClientError, ask
from felixpy.ipsec import key_control
from felixpy.ipsec.details import Details
from felixpy.ipsec.part import IpsecPart

_STATUS: Final = "ipsec status"


def register(control: Control, part: Callable[[], IpsecPart | None]) -> None:
    """`part`: None as long as there is none."""

    async def show_status(_: Mapping[str, Any]) -> dict[str, Any]:
        return {"details": msgspec.to_builtins(await _details(part()), str_keys=True)}

    control.register(_STATUS, show_status)
    key_control.register(
        control,
        lambda: () if (it := part()) is None else it.ring(),
        lambda: () if (it := part()) is None else it.alive(),
        lambda key: None if (it := part()) is None else it.drop(key),
    )


async def _details(part: IpsecPart | None) -> Details:
    """Raises ControlError."""
    if part is None:
        raise ControlError("the agent has only begun, and knows nothing yet")
    try:
        return await part.details()
    except DataplaneError as error:
        raise ControlError(str(error)) from None


def ask_status(directory: Path) -> Details:
    """Of the running agent.  Raises ControlClientError."""
    answer = ask(directory, _STATUS, {})
    try:
        return msgspec.convert(answer.get("details"), Details, str_keys=True)
    except msgspec.ValidationError as error:
        raise ControlClientError(f"the agent is of another version: {error}") from None
