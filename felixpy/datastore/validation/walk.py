"""Hold a resource against the checks on its fields and the rules between them, first fault first.

    in   a decoded resource
    out  nothing, or InvalidResourceError with the path from the object that was handed in

What to look at is worked out once per type.  A field that has its default is unset and costs one comparison.
"""

from __future__ import annotations

from functools import cache
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin

from msgspec import NODEFAULT, Struct
from msgspec.structs import FieldInfo, fields

from felixpy.datastore.errors import InvalidResourceError
from felixpy.datastore.resources.marks import Check
from felixpy.datastore.validation.between import BETWEEN_FIELDS, Between


class _Look(Struct, frozen=True):
    """How to look at one value: its checks, then what it consists of."""

    checks: tuple[Check, ...] = ()
    struct: type[Struct] | None = None
    element: _Look | None = None

    @property
    def blind(self) -> bool:
        return not self.checks and self.struct is None and (not self.element or self.element.blind)


class _Field(Struct, frozen=True):
    attribute: str
    name: str
    required: bool
    default: Any
    look: _Look


def check(value: Struct, *, schema: bool) -> None:
    """With `schema`, everything that the writing client would refuse; without, what any reader would."""
    _check_struct(value, schema)


def _check_struct(value: Struct, schema: bool) -> None:
    for field in _plan(type(value)):
        content = getattr(value, field.attribute)
        if not field.required and (content is None or content == field.default):
            continue
        try:
            _check_value(content, field.look, schema)
        except InvalidResourceError as error:
            error.inside(field.name)
            raise
    for rule in _rules(type(value)):
        if schema or not rule.schema:
            rule.examine(value)


def _check_value(content: Any, look: _Look, schema: bool) -> None:
    for mark in look.checks:
        if (schema or not mark.schema) and not mark.accepts(content):
            raise InvalidResourceError(mark.complaint(content))
    if look.struct is not None:
        _check_struct(content, schema)
    elif look.element is not None:
        for index, item in enumerate(content):
            try:
                _check_value(item, look.element, schema)
            except InvalidResourceError as error:
                error.inside(index)
                raise


@cache
def _plan(kind: type[Struct]) -> tuple[_Field, ...]:
    found = (_field(info) for info in fields(kind))
    return tuple(field for field in found if not field.look.blind)


@cache
def _rules(kind: type[Struct]) -> tuple[Between, ...]:
    return tuple(rule for base in reversed(kind.__mro__) for rule in BETWEEN_FIELDS.get(base, ()))


def _field(info: FieldInfo) -> _Field:
    default = info.default if info.default_factory is NODEFAULT else info.default_factory()
    required = default is NODEFAULT
    return _Field(info.name, info.encode_name, required, default, _look(info.type))


def _look(kind: Any) -> _Look:
    origin = get_origin(kind)
    if origin is Annotated:
        inner, *marks = get_args(kind)
        look = _look(inner)
        checks = tuple(mark for mark in marks if isinstance(mark, Check))
        return _Look(look.checks + checks, look.struct, look.element)
    if origin in (Union, UnionType):
        looks = [_look(part) for part in get_args(kind)]
        return next((look for look in looks if not look.blind), _Look())
    if origin is list:
        return _Look(element=_look(get_args(kind)[0]))
    if isinstance(kind, type) and issubclass(kind, Struct):
        return _Look(struct=kind)
    return _Look()
