"""What a conversion is given, and how it says that something cannot be used."""

from __future__ import annotations

from types import TracebackType
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


class at:  # noqa: N801 - reads as a word: with at("spec", "ports", 3)
    """Errors that rise through this block happened at `outer`."""

    __slots__ = ("_outer",)

    def __init__(self, *outer: str | int) -> None:
        self._outer = outer

    def __enter__(self) -> None:
        pass

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        error: BaseException | None,
        _traceback: TracebackType | None,
    ) -> None:
        if isinstance(error, InvalidResourceError):
            error.inside(*self._outer)
