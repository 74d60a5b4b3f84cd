"""What is held back, over the control socket.

holds               -> {"holds": [...]}  all that is held, as felixpy.holds.Hold has it
confirm  ids: [...] -> {"holds": [...]}  of these, what was held and now goes on
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
import structlog

from felixpy.control import Control, ControlError
from felixpy.holds import Holds

log = structlog.get_logger(__name__)


def register(control: Control, holds: Holds) -> None:
    async def show(_: Mapping[str, Any]) -> dict[str, Any]:
        return {"holds": msgspec.to_builtins(holds.current())}

    async def confirm(arguments: Mapping[str, Any]) -> dict[str, Any]:
        try:
            ids = msgspec.convert(arguments.get("ids"), list[str])
        except msgspec.ValidationError as error:
            raise ControlError(f"ids: {error}") from None
        found = holds.confirm(ids)
        log.info("change.confirmed", ids=[hold.id for hold in found])
        return {"holds": msgspec.to_builtins(found)}

    control.register("holds", show)
    control.register("confirm", confirm)
