"""The values that speak of networks: interfaces, hosts, addresses, ports, marks, routing tables.

Same shape and same promise as `felixpy.config.types`: a parser raises ValueError and nothing else.
"""

from __future__ import annotations

import re
from ipaddress import IPv4Address, IPv6Address, ip_network

from dataplane.settings import FailsafePort
from felixpy.config.types import (
    Type,
    check_regexp,
    integer,
    list_of,
    matching,
    parse_integer,
)

Range = tuple[int, int]  # inclusive

_INTERFACE_NAME = re.compile(r"[a-zA-Z0-9_-]{1,15}", re.ASCII)
_DNS_LABEL = (
    r"[a-z0-9]([-a-z0-9]{0,44}[a-z0-9])?"  # 63 characters less those of "openstack-region-"
)
_AUTHORITY = re.compile(
    r"(\[(?P<v6>[0-9a-f:.%]+)\]|(?P<name>[a-z0-9_.-]+))(:(?P<port>\d{1,5}))?",
    re.ASCII | re.IGNORECASE,
)
_ETCD_PORT = 2379
_HIGHEST_TABLE = 0xFFFFFFFF
_MOST_TABLES = 65535
_MOST_PORT_RANGES = 7  # multiport takes 15 ports, and a range counts as two
_HIGHEST_RATE = 10_000  # packets in the unit of time; the kernel's limit match counts no finer


# ---------------------------------------------------------------- interfaces and hosts


def _parse_interface(text: str) -> str:
    if not _INTERFACE_NAME.fullmatch(text):
        raise ValueError(f"{text!r} is not the name of an interface or the start of one")
    return text


def _parse_interface_or_regexp(text: str) -> str:
    if len(text) > 2 and text[0] == text[-1] == "/":
        check_regexp(text[1:-1])
        return text
    return _parse_interface(text)


def _parse_interfaces(text: str) -> tuple[str, ...]:
    return tuple(_parse_interface(part) for part in text.split(","))


def _parse_authority(text: str) -> str:
    """`host`, `host:port`, an IPv6 address in brackets; answers with the port and in small letters,
    so that what means the same is the same.
    """
    _refuse_user(text)
    found = _AUTHORITY.fullmatch(text)
    if not found:
        raise ValueError(f"{text!r} is not of the form host:port (IPv6 addresses in [ ])")
    host = f"[{_parse_ipv6(found['v6'])}]" if found["v6"] else found["name"].lower()
    port = int(found["port"] or _ETCD_PORT)
    if not 1 <= port <= 65535:
        raise ValueError(f"{port} is not a port from 1 to 65535")
    return f"{host}:{port}"


def _refuse_user(text: str) -> None:
    """First of all: no other reason may repeat what could be a password."""
    if "@" in text:
        raise ValueError("a user has no place in it: that is EtcdUsername and EtcdPassword")


def _parse_endpoint(text: str) -> str:
    scheme, colon, rest = text.partition("://")
    if scheme.lower() not in ("http", "https") or not colon:
        raise ValueError(f"{text!r} does not begin with http:// or https://")
    authority = rest.removesuffix("/")
    if re.search(r"[/?#]", authority):
        raise ValueError(f"{text!r} has a path, which etcd has no use for")
    return f"{scheme.lower()}://{_parse_authority(authority)}"


def _parse_endpoints(text: str) -> tuple[str, ...]:
    """Each once, in the order given."""
    _refuse_user(text)
    parts = [part.strip() for part in text.split(",")]
    endpoints = tuple(dict.fromkeys(_parse_endpoint(part) for part in parts if part))
    if not endpoints:
        raise ValueError("no endpoint in it")
    if len({endpoint.partition(":")[0] for endpoint in endpoints}) > 1:
        raise ValueError("http and https are mixed")
    return endpoints


def _without_user(text: str) -> str:
    """A URL's password must not be repeated, wherever in a malformed one it may be."""
    _, at, rest = text.rpartition("@")
    return f"…@{rest}" if at else text


# ---------------------------------------------------------------- addresses


def _parse_ipv4(text: str) -> str:
    return str(IPv4Address(text))


def _parse_ipv6(text: str) -> str:
    if "%" in text:
        raise ValueError("an address with a zone")
    return str(IPv6Address(text))


def _parse_net(text: str) -> str:
    if "%" in text:
        raise ValueError("an address with a zone")
    return str(ip_network(text, strict=False))


def _parse_ipv4_net(text: str) -> str:
    net = ip_network(text, strict=False)
    if net.version != 4:
        raise ValueError(f"{text!r} is not IPv4")
    return str(net)


# ---------------------------------------------------------------- ports


def _parse_port(text: str) -> int:
    if not re.fullmatch(r"\d{1,5}", text, re.ASCII) or int(text) > 65535:
        raise ValueError(f"{text!r} is not a port from 0 to 65535")
    return int(text)


def _parse_failsafe(text: str) -> FailsafePort:
    """`port`, `protocol:port`, `protocol:net:port`, a net of IPv6 in brackets."""
    rest, bracketed = text, re.fullmatch(r"([^\[\]]*)\[([^\[\]]*)\]:([^\[\]]*)", text)
    net = ""
    if bracketed:
        net, rest = bracketed[2], bracketed[1] + bracketed[3]
    *before, port = rest.split(":")
    if (bracketed and len(before) > 1) or len(before) > 2:
        raise ValueError(f"{text!r} is not of the form [protocol:][net:]port")
    if len(before) == 2:
        net = before[1]
    protocol = before[0].lower() if before else "tcp"
    if protocol not in ("tcp", "udp"):
        raise ValueError(f"{text!r}: the protocol is neither tcp nor udp")
    return FailsafePort(
        protocol="tcp" if protocol == "tcp" else "udp",
        port=_parse_port(port),
        net=_parse_net(net) if net else "",
    )


def _render_failsafe(value: FailsafePort) -> str:
    net = f"[{value.net}]:" if ":" in value.net else f"{value.net}:" if value.net else ""
    return f"{value.protocol}:{net}{value.port}"


def _parse_port_range(text: str) -> Range:
    low, colon, high = text.partition(":")
    found = (_parse_port(low), _parse_port(high if colon else low))
    if found[0] > found[1]:
        raise ValueError(f"{text!r} ends before it begins")
    return found


def _parse_port_ranges(text: str) -> tuple[Range, ...]:
    ranges = tuple(_parse_port_range(part.strip()) for part in text.split(",") if part.strip())
    if len(ranges) > _MOST_PORT_RANGES:
        raise ValueError(f"more than {_MOST_PORT_RANGES} ranges")
    return ranges


def _render_port_range(value: Range | None) -> str:
    if value is None:
        return ""
    low, high = value
    return str(low) if low == high else f"{low}:{high}"


# ---------------------------------------------------------------- marks, rates, routing tables


def _parse_mask(text: str) -> int:
    value = parse_integer(text)
    if not 0 <= value <= 0xFFFFFFFF:
        raise ValueError("not a number of 32 bits")
    if value.bit_count() < 2:
        raise ValueError("fewer than 2 bits are set")
    return value


def _parse_rate(text: str) -> str:
    parts = re.fullmatch(r"(\d{1,5})/(second|minute|hour|day)", text, re.ASCII)
    if not parts or not 1 <= int(parts[1]) <= _HIGHEST_RATE:
        raise ValueError("not a rate")
    return f"{int(parts[1])}/{parts[2]}"


def _parse_table_range(text: str, highest: int) -> Range:
    parts = re.fullmatch(r"(\d{1,10})-(\d{1,10})", text, re.ASCII)
    if not parts or not 1 <= int(parts[1]) <= int(parts[2]) <= highest:
        raise ValueError(f"{text!r} is not of the form low-high, from 1 to {highest}")
    return int(parts[1]), int(parts[2])


def _parse_table_ranges(text: str) -> tuple[Range, ...]:
    ranges = tuple(
        _parse_table_range(part.strip(), _HIGHEST_TABLE) for part in text.split(",") if part.strip()
    )
    if not ranges:
        raise ValueError("no range in it")
    if sum(high - low + 1 for low, high in ranges) > _MOST_TABLES:
        raise ValueError(f"more than {_MOST_TABLES} tables")
    return ranges


def _render_table_range(value: Range | None) -> str:
    return "" if value is None else f"{value[0]}-{value[1]}"


# ---------------------------------------------------------------- the types

HOSTNAME = matching(r"[a-zA-Z0-9_.-]+", "a host name")
HOST_ADDRESS = matching(r"[a-zA-Z0-9:._+-]{1,64}", "a host name or an address")
AUTHORITY: Type[str] = Type(
    f"host:port, an IPv6 address in [ ]; without a port {_ETCD_PORT}",
    "",
    _parse_authority,
    str,
    quote=_without_user,
)
INTERFACE = matching(
    r"[a-zA-Z0-9:._+-]{1,15}", "the name of an interface; a + at its end means any rest"
)
REGION = matching(_DNS_LABEL, "a DNS label of at most 46 characters")
INTERFACES: Type[tuple[str, ...]] = Type(
    "names, or starts of names, of interfaces, with commas and no spaces between them",
    (),
    _parse_interfaces,
    ",".join,
)
INTERFACES_OR_REGEXPS = list_of(
    _parse_interface_or_regexp,
    str,
    "names of interfaces or /regular expressions/, with commas between them",
)
ENDPOINTS: Type[tuple[str, ...]] = Type(
    "http://host:port or https://host:port, with commas between them, all of one scheme; "
    f"IPv6 addresses in [ ]; without a port {_ETCD_PORT}",
    (),
    _parse_endpoints,
    ",".join,
    quote=_without_user,
)
IPV4: Type[str] = Type("an IPv4 address", "", _parse_ipv4, str)
IPV6: Type[str] = Type("an IPv6 address", "", _parse_ipv6, str)
IPV4_NETS = list_of(_parse_ipv4_net, str, "IPv4 addresses or CIDRs, with commas between them")
NETS = list_of(_parse_net, str, "addresses or CIDRs of either family, with commas between them")
PORT = integer(0, 65535)
FAILSAFE_PORTS = list_of(
    _parse_failsafe,
    _render_failsafe,
    "[protocol:][net:]port with commas between them; protocol tcp or udp, a net of IPv6 in [ ]",
)
PORT_RANGE: Type[Range | None] = Type(
    "port or low:high", None, _parse_port_range, _render_port_range
)
PORT_RANGES: Type[tuple[Range, ...]] = Type(
    f"up to {_MOST_PORT_RANGES} of port or low:high, with commas between them",
    (),
    _parse_port_ranges,
    lambda value: ",".join(_render_port_range(each) for each in value),
)
MASK: Type[int] = Type("a number of 32 bits, such as 0xffff0000", 0, _parse_mask, "{:#010x}".format)
RATE: Type[str] = Type(
    f"number/second, /minute, /hour or /day; the number from 1 to {_HIGHEST_RATE}",
    "",
    _parse_rate,
    str,
)
TABLE_RANGE: Type[Range | None] = Type(
    "low-high, from 1 to 250", None, lambda text: _parse_table_range(text, 250), _render_table_range
)
TABLE_RANGES: Type[tuple[Range, ...]] = Type(
    f"low-high with commas between them, at most {_MOST_TABLES} tables in all",
    (),
    _parse_table_ranges,
    lambda value: ",".join(_render_table_range(each) for each in value),
)
