"""Single values on their way into the model: refused, or in canonical form."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache

from calc_graph.model import Protocol
from calc_graph.selector import SelectorError, parse
from felixpy.datastore.errors import InvalidResourceError
from felixpy.datastore.resources.addresses import (
    is_canonical_ipv4,
    is_mac,
    parse_address,
    parse_net,
)
from felixpy.datastore.resources.names import is_encodable
from felixpy.datastore.resources.numbers import NumberOrText, parse_protocol


def to_net(text: str, *path: str | int) -> str:
    """Canonical CIDR, host bits cleared; an address gets its full length."""
    if text.endswith("/32") and is_canonical_ipv4(text[:-3]):
        return text  # as nearly all of a cluster's tens of thousands are
    net = parse_net(text)
    if net is None:
        raise InvalidResourceError(f"must be a CIDR or an address, not {text!r}", path)
    return net.network


def to_nets(texts: Iterable[str], *path: str | int) -> tuple[str, ...]:
    return tuple([to_net(text, *path, index) for index, text in enumerate(texts)])


def to_address(text: str, *path: str | int) -> str:
    address = parse_address(text)
    if address is None:
        raise InvalidResourceError(f"must be an IP address, not {text!r}", path)
    return address.text


@lru_cache(maxsize=1024)
def to_mac(text: str, *path: str | int) -> str:
    """From "EE-EE-EE-EE-EE-EE" or "eeee.eeee.eeee" to "ee:ee:ee:ee:ee:ee"."""
    if not is_mac(text):
        raise InvalidResourceError(f"must be a MAC address, not {text!r}", path)
    digits = re.sub(r"[:.-]", "", text).lower()
    return ":".join(digits[start : start + 2] for start in range(0, len(digits), 2))


def to_protocol(value: NumberOrText, *path: str | int) -> Protocol:
    protocol = parse_protocol(value)
    if protocol is None:
        raise InvalidResourceError(f"must be a protocol's name or number, not {value!r}", path)
    return protocol


def to_selector(text: str, *path: str | int) -> str:
    """`text` as it is, once it is known to be a selector."""
    if not is_encodable(text):
        raise InvalidResourceError("must be a selector: it holds half a surrogate pair", path)
    try:
        parse(text)
    except SelectorError as error:
        raise InvalidResourceError(f"must be a selector: {error}", path) from None
    return text


def prefixed(text: str, prefix: str, *path: str | int) -> str:
    """The selector over the labels of a namespace ("pcns.") or service account ("pcsa.")."""
    return parse(to_selector(text, *path)).prefixed(prefix)
