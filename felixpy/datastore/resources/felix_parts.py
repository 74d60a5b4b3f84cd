"""The objects that some fields of a FelixConfiguration hold."""

from __future__ import annotations

from typing import Annotated

from felixpy.datastore.resources.fields import AnyCidr, Duration
from felixpy.datastore.resources.marks import pattern, pattern_always, within
from felixpy.datastore.resources.meta import Block

MAX_ROUTE_TABLE = 2**32 - 1


class ProtoPort(Block, frozen=True):
    """A failsafe port; the protocol is looked at where the parameter is resolved."""

    port: Annotated[int, within(0, 65535, schema=False)]
    protocol: str = ""
    net: AnyCidr = ""


class HealthTimeoutOverride(Block, frozen=True):
    name: Annotated[
        str,
        pattern_always(r"[a-zA-Z0-9_ -]+", "a component's name: letters, digits, '_', '-', spaces"),
    ]
    timeout: Duration


class RouteTableRange(Block, frozen=True):
    min: int
    max: int


class RouteTableIdRange(Block, frozen=True):
    min: Annotated[int, within(1, MAX_ROUTE_TABLE, schema=False)]
    max: Annotated[int, within(1, MAX_ROUTE_TABLE, schema=False)]


_Timeout = Annotated[
    str, pattern(r"(([0-9]*(\.[0-9]*)?(ms|s|h|m|us)+)+|Auto)", "a duration or Auto")
]


class BpfConntrackTimeouts(Block, frozen=True):
    creation_grace_period: _Timeout | None = None
    tcp_syn_sent: _Timeout | None = None
    tcp_established: _Timeout | None = None
    tcp_fins_seen: _Timeout | None = None
    tcp_reset_seen: _Timeout | None = None
    udp_timeout: _Timeout | None = None
    generic_timeout: _Timeout | None = None
    icmp_timeout: _Timeout | None = None
