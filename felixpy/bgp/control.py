"""BGP over the control socket: bgp -> {"bgp": {...}}, as felixpy.bgp.report.Details has it, or null
where it is switched off.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import msgspec

from felixpy.bgp.report import Details
from felixpy.control import Control
from felixpy.control_client import ControlClientError, ask

_COMMAND = "bgp"


def register(control: Control, details: Callable[[], Details | None]) -> None:
    async def show(_: Mapping[str, Any]) -> dict[str, Any]:
        return {"bgp": msgspec.to_builtins(details())}

    control.register(_COMMAND, show)


def ask_details(directory: Path) -> Details | None:
    """Of the running agent; None where BGP is switched off.  Raises ControlClientError."""
    answer = ask(directory, _COMMAND, {})
    try:
        return msgspec.convert(answer.get("bgp"), Details | None)
    except msgspec.ValidationError as error:
        raise ControlClientError(f"the agent is of another version: {error}") from None
