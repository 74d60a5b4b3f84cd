"""When certificates expire, read from their bytes: Python's ssl has no public way to ask.

    Certificate ::= SEQUENCE { tbsCertificate SEQUENCE {
        [0] version OPTIONAL, serialNumber, signature, issuer,
        validity SEQUENCE { notBefore, notAfter }, ...      RFC 5280, section 4.1

What cannot be understood is left out: this is for a timely warning, not for a decision.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Final, NamedTuple

_BLOCK: Final = re.compile(
    rb"-----BEGIN CERTIFICATE-----([A-Za-z0-9+/=\s]+)-----END CERTIFICATE-----"
)
_VERSION: Final = 0xA0
_UTC_TIME, _GENERALIZED_TIME = 0x17, 0x18
_FIELDS_BEFORE_VALIDITY: Final = 3


class _Element(NamedTuple):
    tag: int
    content: bytes


def expiries(pem: bytes) -> list[float]:
    """Seconds since 1970 of each certificate in a PEM file, in its order."""
    found = []
    for block in _BLOCK.finditer(pem):
        try:
            found.append(_expiry(base64.b64decode(block[1])))
        except (ValueError, IndexError, StopIteration):
            continue
    return found


def _expiry(der: bytes) -> float:
    certificate = next(_elements(der))
    fields = _elements(next(_elements(certificate.content)).content)
    first = next(fields)
    if first.tag == _VERSION:
        next(fields)
    for _ in range(_FIELDS_BEFORE_VALIDITY - 1):
        next(fields)
    _, not_after = _elements(next(fields).content)
    return _time(not_after)


def _elements(der: bytes) -> Iterator[_Element]:
    """The elements that stand one after the other; tags of more than one byte do not occur."""
    at = 0
    while at < len(der):
        tag, length = der[at], der[at + 1]
        at += 2
        if length & 0x80:  # the length of the length
            size = length & 0x7F
            length = int.from_bytes(der[at : at + size], "big")
            at += size
        yield _Element(tag, der[at : at + length])
        at += length


def _time(element: _Element) -> float:
    text = element.content.decode("ascii")
    if element.tag == _UTC_TIME:
        # RFC 5280: a year below 50 is of this century
        text = ("20" if text[:2] < "50" else "19") + text
    elif element.tag != _GENERALIZED_TIME:
        raise ValueError("not a time")
    return datetime.strptime(text, "%Y%m%d%H%M%SZ").replace(tzinfo=UTC).timestamp()
