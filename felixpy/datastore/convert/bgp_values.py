"""Values that BGP's resources have in common, canonical or refused.

What comes out of here ends as text in BIRD's configuration, so nothing goes in that BIRD 2.0.12
would not take, and no name that could be more than a name.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final, TypeVar

from calc_graph.bgp.resources import SecretRef
from felixpy.datastore.errors import InvalidResourceError
from felixpy.datastore.resources.bgp import BgpPassword, is_community
from felixpy.datastore.resources.names import is_name
from felixpy.datastore.resources.numbers import NumberOrText, parse_as_number, parse_duration

T = TypeVar("T")

_SECOND: Final = 10**9  # nanoseconds
LONGEST_RESTART: Final = 4095  # seconds: the capability carries twelve bits (RFC 4724)
# BIRD wants 1 to 65535, and a hold time of three times as much has to fit into sixteen bits.
_LONGEST_KEEPALIVE: Final = 65535 // 3
_SECRET_KEY: Final = re.compile(r"[-._a-zA-Z0-9]{1,253}")  # as Kubernetes has them


def to_community(text: str, *path: str | int) -> str:
    """Without leading zeros, so that equal communities are equal texts."""
    if not is_community(text):
        raise InvalidResourceError(
            f"must be a community: 16-bit aa:nn or 32-bit aa:nn:mm, not {text!r}", path
        )
    return ":".join(str(int(part)) for part in text.split(":"))


def to_as_number(value: NumberOrText | None, *path: str | int) -> int:
    """0 where none is given."""
    number = 0 if value is None else parse_as_number(value)
    if number is None:
        raise InvalidResourceError(f"must be an AS number, not {value!r}", path)
    return number


def to_restart_seconds(text: str | None, *path: str | int) -> int | None:
    """Rounded as Calico does; at most what can be told to the peer."""
    seconds = _to_seconds(text, *path)
    return None if seconds is None else min(seconds, LONGEST_RESTART)


def to_keepalive_seconds(text: str | None, *path: str | int) -> int | None:
    seconds = _to_seconds(text, *path)
    if seconds is not None and not 1 <= seconds <= _LONGEST_KEEPALIVE:
        raise InvalidResourceError(f"must be from 1s to {_LONGEST_KEEPALIVE}s, not {text}", path)
    return seconds


def _to_seconds(text: str | None, *path: str | int) -> int | None:
    if text is None:
        return None
    nanoseconds = parse_duration(text)
    if nanoseconds is None or nanoseconds < 0:
        raise InvalidResourceError(
            f"must be a duration such as 90s, 1m30s or 500ms, not {text!r}", path
        )
    return (nanoseconds + _SECOND // 2) // _SECOND  # a half goes up, as in Go's math.Round


def to_secret(password: BgpPassword | None, *path: str | int) -> SecretRef | None:
    """A password that is asked for, but cannot be found by what is said, is not "no password"."""
    if password is None:
        return None
    path = (*path, "secretKeyRef")
    reference = password.secret_key_ref
    if reference is None:
        raise InvalidResourceError("must be given: a password is asked for", path)
    if not is_name(reference.name):
        raise InvalidResourceError(
            f"must be the name of a Secret, not {reference.name!r}", (*path, "name")
        )
    if not is_secret_key(reference.key):
        raise InvalidResourceError(
            f"must be a key of a Secret, not {reference.key!r}", (*path, "key")
        )
    return SecretRef(reference.name, reference.key)


def is_secret_key(text: str) -> bool:
    return _SECRET_KEY.fullmatch(text) is not None and text not in (".", "..")


def choose(choices: Mapping[str, T], text: str, *path: str | int) -> T:
    """What a word stands for; the schema is not looked at again where something is stored."""
    if text not in choices:
        known = ", ".join(choice for choice in choices if choice)
        raise InvalidResourceError(f"must be one of {known}, not {text!r}", path)
    return choices[text]
