"""How a rule says that it is broken."""

from __future__ import annotations

from typing import NoReturn

from felixpy.datastore.errors import InvalidResourceError


def refuse(message: str, *path: str | int) -> NoReturn:
    raise InvalidResourceError(message, path)
