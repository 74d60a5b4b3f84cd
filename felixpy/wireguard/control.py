"""WireGuard over the control socket, by name:

wireguard key     -> {"keys": [...]}       felixpy.wireguard.publishing.PublishedKey
wireguard status  -> {"families": [...]}   dataplane.wireguard.status.FamilyStatus
wireguard facts   -> {"facts": {...}}      felixpy.wireguard.facts.Facts, or null: not known yet
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import msgspec

from dataplane.errors import DataplaneError
from dataplane.wireguard.status import FamilyStatus
from felixpy.control import Control, ControlError
from felixpy.control_client import ControlClientError, ask
from felixpy.wireguard.facts import Facts
from felixpy.wireguard.publishing import PublishedKey

_KEY, _STATUS, _FACTS = "wireguard key", "wireguard status", "wireguard facts"


def register(
    control: Control,
    keys: Callable[[], Iterable[PublishedKey]],
    statuses: Callable[[], Awaitable[tuple[FamilyStatus, ...]]],
    facts: Callable[[], Facts | None],
) -> None:
    """`statuses` may raise DataplaneError."""

    async def show_keys(_: Mapping[str, Any]) -> dict[str, Any]:
        return {"keys": [each._asdict() for each in keys()]}

    async def show_status(_: Mapping[str, Any]) -> dict[str, Any]:
        try:
            return {"families": msgspec.to_builtins(await statuses())}
        except DataplaneError as error:
            raise ControlError(str(error)) from None

    async def show_facts(_: Mapping[str, Any]) -> dict[str, Any]:
        return {"facts": msgspec.to_builtins(facts())}

    control.register(_KEY, show_keys)
    control.register(_STATUS, show_status)
    control.register(_FACTS, show_facts)


def ask_keys(directory: Path) -> list[PublishedKey]:
    """Of the running agent.  Raises ControlClientError."""
    answer = ask(directory, _KEY, {})
    try:
        found = msgspec.convert(answer.get("keys"), list[dict[str, Any]])
        return [msgspec.convert([*each.values()], PublishedKey) for each in found]
    except msgspec.ValidationError as error:
        raise _other_version(error) from None


def ask_status(directory: Path) -> tuple[FamilyStatus, ...]:
    """As `ask_keys`."""
    answer = ask(directory, _STATUS, {})
    try:
        return msgspec.convert(answer.get("families"), tuple[FamilyStatus, ...])
    except msgspec.ValidationError as error:
        raise _other_version(error) from None


def ask_facts(directory: Path) -> Facts | None:
    """As `ask_keys`; None: the agent does not know them yet."""
    answer = ask(directory, _FACTS, {})
    try:
        return msgspec.convert(answer.get("facts"), Facts | None)
    except msgspec.ValidationError as error:
        raise _other_version(error) from None


def _other_version(error: msgspec.ValidationError) -> ControlClientError:
    return ControlClientError(f"the agent is of another version: {error}")
