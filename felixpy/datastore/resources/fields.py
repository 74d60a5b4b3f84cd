"""The types that fields of many resources share."""

from __future__ import annotations

import math
from typing import Annotated, Any, TypeAlias

from calc_graph.selector import SelectorError, parse
from felixpy.datastore.resources import addresses, names, numbers
from felixpy.datastore.resources.marks import check, max_length, one_of

MAX_SELECTOR = 1024


def selector_fault(text: str) -> str:
    """Why `text` is no selector, or ""."""
    if not names.is_encodable(text):
        return "it holds half a surrogate pair"
    try:
        parse(text)
    except SelectorError as error:
        return str(error)
    return ""


def _is_selector(text: str) -> bool:
    return not selector_fault(text)


def _is_finite(number: float) -> bool:
    return math.isfinite(number)


Labels: TypeAlias = dict[str, str]
Anything: TypeAlias = Any

Name = Annotated[
    str,
    check(names.is_name, "a name of lower-case letters, digits, '-' and '.', at most 253 long"),
]
BoundedName = Annotated[Name, max_length(names.MAX_NAME)]
ContainerId = Annotated[str, check(names.is_container_id, "letters, digits and '-' between them")]
Interface = Annotated[
    str,
    check(names.is_interface, "'*' or an interface name of 1 to 15 letters, digits, '_', '.', '-'"),
]
PortName = Annotated[
    str,
    check(
        names.is_port_name,
        "a port name: up to 15 lower-case letters, digits and single '-', with a letter in it",
    ),
]
Regexp = Annotated[str, check(names.is_regexp, "a regular expression")]
LabelMap = Annotated[Labels, check(names.are_labels, "labels: well-formed names and values")]

Selector = Annotated[str, check(_is_selector, "a selector")]
BoundedSelector = Annotated[Selector, max_length(MAX_SELECTOR)]

Address = Annotated[str, check(addresses.is_address, "an IP address")]
Ipv4 = Annotated[str, check(addresses.is_ipv4, "an IPv4 address")]
Ipv6 = Annotated[str, check(addresses.is_ipv6, "an IPv6 address")]
Mac = Annotated[str, check(addresses.is_mac, "a MAC address")]
AnyCidr = Annotated[str, check(addresses.is_cidr_or_address, "a CIDR or an IP address")]
Ipv4Cidr = Annotated[str, check(addresses.is_ipv4_cidr_or_address, "an IPv4 CIDR or address")]
Ipv6Cidr = Annotated[str, check(addresses.is_ipv6_cidr_or_address, "an IPv6 CIDR or address")]
Net = Annotated[str, check(addresses.is_masked, "a CIDR without host bits, or an IP address")]

Protocol = Annotated[
    numbers.NumberOrText,
    check(
        numbers.is_protocol, f"a number from 1 to 255 or one of {', '.join(numbers.PROTOCOL_NAMES)}"
    ),
]
AsNumber = Annotated[numbers.NumberOrText, check(numbers.is_as_number, "an AS number")]
Dscp = Annotated[
    numbers.NumberOrText,
    check(numbers.is_dscp, "a DSCP value: 0 to 63, or a name such as EF, AF11, CS1"),
]
Duration = Annotated[str, check(numbers.is_duration, "a duration such as 90s, 1m30s or 500ms")]
Order = Annotated[float, check(_is_finite, "a finite number")]
Switch = Annotated[str, one_of("Enabled", "Disabled")]
