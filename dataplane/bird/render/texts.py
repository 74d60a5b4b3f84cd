"""What may stand in BIRD's configuration: texts from outside, checked, in BIRD's own spelling.

    in   a text or number of a resource
    out  what BIRD reads it as; NotFitError where it is not what it should be

Nothing reaches the file but what passed here: addresses and nets are written anew from their value,
names and patterns hold no character that could end them, and every string is short, because a
quoted one of 4,096 bytes crashes BIRD's parser, and through `configure check` the daemon.
Source: sections 3.1, 4.2 and 5.2 of the BGP reference.
"""

from __future__ import annotations

import hashlib
import ipaddress
import re
from functools import lru_cache
from typing import Final, Literal, NamedTuple

Family = Literal[4, 6]

BITS: Final[dict[Family, int]] = {4: 32, 6: 128}
FAMILIES: Final[tuple[Family, Family]] = (4, 6)
MAX_PASSWORD: Final = 80  # bytes; the kernel's own limit, which `bird -p` does not check
_MAX_NOTE: Final = 200
_MAX_SYMBOL: Final = 64
_MAX_AS: Final = 2**32 - 1
_SESSION = re.compile(r"(Mesh|Global|Node|Local_Workload)_[A-Za-z0-9_]+")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,252}")
_PATTERN = re.compile(r"[A-Za-z0-9_.*-]{1,16}")  # a name of 15, and "*" after it
_NOT_IN_NOTES = re.compile(r"[^ !#-~]")
_COMMUNITY = re.compile(r"(0|[1-9][0-9]{0,9})(:(0|[1-9][0-9]{0,9})){1,2}")


class NotFitError(ValueError):
    """A value that BIRD could not be given; its text names the value, shortened."""


class Net(NamedTuple):
    """Sorts by family, address and length; its text is canonical, without bits of hosts."""

    family: Family
    address: int
    length: int
    text: str

    @property
    def single(self) -> bool:
        return self.length == BITS[self.family]


@lru_cache(maxsize=1 << 16)
def net(text: str) -> Net:
    if "/" not in text or "%" in text:
        raise NotFitError(f"{note(text)!r} is not a net")
    try:
        value = ipaddress.ip_network(text, strict=False)
    except ValueError:
        raise NotFitError(f"{note(text)!r} is not a net") from None
    family: Family = 4 if value.version == 4 else 6
    return Net(family, int(value.network_address), value.prefixlen, str(value))


@lru_cache(maxsize=1 << 14)
def address(text: str, family: Family) -> str:
    """An address that a host can have; BIRD cannot be given a link-local one without interface."""
    try:
        value = ipaddress.ip_address(text)
    except ValueError:
        raise NotFitError(f"{note(text)!r} is not an address") from None
    if value.version != family or "%" in text:
        raise NotFitError(f"{note(text)!r} is not an address of IPv{family}")
    if value.is_unspecified or value.is_multicast or (family == 6 and value.is_link_local):
        raise NotFitError(f"{value} cannot be a router's address here")
    return str(value)


def as_number(value: int) -> int:
    return _number("AS number", value, 1, _MAX_AS)


def port(value: int) -> int:
    return _number("port", value, 1, 65535)


def _number(what: str, value: int, least: int, most: int) -> int:
    if not least <= value <= most:
        raise NotFitError(f"{what} {value} is not one of {least} to {most}")
    return value


def community(text: str) -> tuple[int, ...]:
    """Two numbers of 16 bits, or three of 32 for a large community."""
    if _COMMUNITY.fullmatch(text):
        parts = tuple(int(part) for part in text.split(":"))
        if max(parts) <= (0xFFFF if len(parts) == 2 else 0xFFFFFFFF):
            return parts
    raise NotFitError(f"{note(text)!r} is not a community")


def session_name(name: str) -> str:
    """As the graph makes them: then it is no keyword of BIRD's, and nothing else in the file has
    it, such as a protocol, a set or a function.
    """
    if len(name) > _MAX_SYMBOL or not _SESSION.fullmatch(name):
        raise NotFitError(f"{note(name)!r} is not a session's name")
    return name


def quoted_symbol(before: str, name: str, after: str) -> str:
    """The symbol of a resource; a name too long for BIRD ends in a hash of the whole."""
    if not _NAME.fullmatch(name):
        raise NotFitError(f"{note(name)!r} cannot be a name")
    room = _MAX_SYMBOL - len(before) - len(after)
    if len(name) > room:
        digest = hashlib.sha256(name.encode()).hexdigest()[:16].upper()
        name = f"{name[: room - 17]}_{digest}"
    return f"'{before}{name}{after}'"


def interface_pattern(text: str) -> str:
    """A name or a pattern with "*", in quotation marks."""
    if not _PATTERN.fullmatch(text):
        raise NotFitError(f"{note(text)!r} is not a pattern of interfaces")
    return f'"{text}"'


def note(text: str) -> str:
    """Words for people: printable ASCII without the quotation mark, cut where it grows long."""
    fit = _NOT_IN_NOTES.sub("?", text[: _MAX_NOTE + 1])
    return fit if len(fit) <= _MAX_NOTE else f"{fit[: _MAX_NOTE - 3]}..."


def is_password(text: str) -> bool:
    """BIRD's strings have no escapes, and a longer password is refused only once it runs."""
    return 0 < len(text) <= MAX_PASSWORD and all(" " <= c <= "~" and c != '"' for c in text)
