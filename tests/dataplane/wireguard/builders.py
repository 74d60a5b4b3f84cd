"""Nodes, keys and nets for tests: short names."""

from __future__ import annotations

from typing import Any

from calc_graph.model import IpPool
from calc_graph.updates import (
    HostUpdate,
    PoolUpdate,
    RouteRemove,
    RouteType,
    RouteUpdate,
    WireguardEndpoint,
)
from dataplane.wireguard.state import shown

HERE = "here"
OWN_KEY = b"\1" * 32


def key(name: str) -> bytes:
    """A node's, or any other."""
    return name.encode().ljust(32, b"\2")


def end(node: str, given: bytes | str | None = None) -> WireguardEndpoint:
    """A node publishes a key, its own by default; "" for none."""
    raw = key(node) if given is None else given
    text = shown(raw) if isinstance(raw, bytes) else raw
    return WireguardEndpoint(node, key=text)


def malformed(node: str) -> WireguardEndpoint:
    return WireguardEndpoint(node, malformed=(4,))


def host(node: str, address: str = "") -> HostUpdate:
    number = sum(node.encode()) % 200
    return HostUpdate(node, address or f"172.30.0.{number}", "")


def behind(node: str, *cidrs: str, **more: Any) -> list[RouteUpdate]:
    kind = RouteType.LOCAL_WORKLOAD if node == HERE else RouteType.REMOTE_WORKLOAD
    return [RouteUpdate(cidr, more.get("types", kind), "vxlan", node) for cidr in cidrs]


def gone(*cidrs: str) -> list[RouteRemove]:
    return [RouteRemove(cidr) for cidr in cidrs]


def pool(cidr: str, *, encrypted: bool = True, **more: Any) -> PoolUpdate:
    return PoolUpdate(IpPool(cidr, encrypted=encrypted, **more))


def node(name: str, *cidrs: str) -> list[Any]:
    """All that a node which encrypts is told as."""
    return [end(name), host(name), *behind(name, *cidrs)]
