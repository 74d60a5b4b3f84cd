"""Hold a resource against the checks on its fields and the rules between them, first fault first.

    in   a decoded resource
    out  nothing, or InvalidResourceError with the path from the object that was handed in

What to look at is worked out once per type.  A field that has its default is unset, and costs one
comparison: most fields of most resources are.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from types import UnionType
from typing import Annotated, Any, NamedTuple, Union, get_args, get_origin

from msgspec import NODEFAULT, Struct
from msgspec.structs import FieldInfo, fields

from felixpy.datastore.errors import InvalidResourceError
from felixpy.datastore.resources.marks import Check
from felixpy.datastore.validation.between import BETWEEN_FIELDS


class _Look(NamedTuple):
    """How to look at one value: its checks, then what it consists of."""

    checks: tuple[Check, ...] = ()
    is_struct: bool = False
    element: _Look | None = None

    @property
    def blind(self) -> bool:
        return not (self.checks or self.is_struct or self.element)


class _Field(NamedTuple):
    attribute: str
    name: str
    default: Any  # what an unset field holds; NODEFAULT where it must be set
    look: _Look


class _Plan(NamedTuple):
    fields: tuple[_Field, ...]
    rules: tuple[Callable[[Any], None], ...]


def check(value: Struct, *, schema: bool) -> None:
    """With `schema`, all that the writing client would refuse; without, what any reader would."""
    field_plans, rules = _plan(type(value), schema)
    for attribute, name, default, look in field_plans:
        content = getattr(value, attribute)
        if content is None or content == default:
            continue
        try:
            _check_value(content, look, schema)
        except InvalidResourceError as error:
            error.inside(name)
            raise
    for rule in rules:
        rule(value)


def _check_value(content: Any, look: _Look, schema: bool) -> None:
    checks, is_struct, element = look
    for mark in checks:
        if not mark.accepts(content):
            raise InvalidResourceError(mark.complaint(content))
    if is_struct:
        check(content, schema=schema)
    elif element is not None:
        for index, item in enumerate(content):
            try:
                _check_value(item, element, schema)
            except InvalidResourceError as error:
                error.inside(index)
                raise


@cache
def _plan(kind: type[Struct], schema: bool) -> _Plan:
    found = (_field(info, schema) for info in fields(kind))
    rules = (rule for base in reversed(kind.__mro__) for rule in BETWEEN_FIELDS.get(base, ()))
    return _Plan(
        tuple(field for field in found if not field.look.blind),
        tuple(rule.examine for rule in rules if schema or not rule.schema),
    )


def _field(info: FieldInfo, schema: bool) -> _Field:
    default = info.default if info.default_factory is NODEFAULT else info.default_factory()
    return _Field(info.name, info.encode_name, default, _look(info.type, schema))


def _look(kind: Any, schema: bool) -> _Look:
    origin = get_origin(kind)
    if origin is Annotated:
        inner, *marks = get_args(kind)
        look = _look(inner, schema)
        checks = (mark for mark in marks if isinstance(mark, Check) and (schema or not mark.schema))
        return look._replace(checks=(*look.checks, *checks))
    if origin in (Union, UnionType):
        looks = (_look(part, schema) for part in get_args(kind))
        return next((look for look in looks if not look.blind), _Look())
    if origin is list:
        element = _look(get_args(kind)[0], schema)
        return _Look(element=None if element.blind else element)
    if isinstance(kind, type) and issubclass(kind, Struct):
        return _Look(is_struct=any(_plan(kind, schema)))
    return _Look()
