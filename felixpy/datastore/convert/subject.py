"""What a conversion is given, and how it says that something cannot be used."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TypeAlias

from msgspec import Struct

from calc_graph.model import Key, Value
from felixpy.datastore.errors import InvalidResourceError
from felixpy.datastore.resources import Body

Changes: TypeAlias = tuple[tuple[Key, Value], ...]


class Subject(Struct, frozen=True):
    """`namespace` is "" for global kinds; both names win over those in the body."""

    kind: str
    namespace: str
    name: str
    body: Body

    @property
    def spec(self) -> Any:
        return getattr(self.body, "spec", None)


@contextmanager
def at(*outer: str | int) -> Iterator[None]:
    """Errors that rise through this block happened at `outer`."""
    try:
        yield
    except InvalidResourceError as error:
        error.inside(*outer)
        raise
