"""What the pre-flight of WireGuard has to know besides the machine: who the nodes are, what is
configured.

    Nodes            fed by the agent with what the datastore says
    facts_of         configuration and nodes -> Facts, which pass the control socket
    read_facts       the same without an agent, from the datastore as it is now
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path

from msgspec import Struct

from calc_graph.model import Key, Node, NodeKey, Value
from dataplane.families import Family
from dataplane.settings import WireguardSettings
from felixpy.config import Config
from felixpy.config.to_wireguard import to_wireguard
from felixpy.datastore.snapshot import SnapshotError, read_snapshot
from felixpy.etcd.settings import to_etcd_settings
from felixpy.live_config import LiveConfig

_SECONDS = 60.0  # for all of a large etcd over a slow line


class NodeEnd(Struct, frozen=True):
    """A node's addresses, and the public keys that it publishes, as they stand there."""

    node: str
    ipv4: str = ""
    ipv6: str = ""
    key: str = ""
    key_v6: str = ""

    def address(self, family: Family) -> str:
        return self.ipv4 if family == 4 else self.ipv6

    def key_of(self, family: Family) -> str:
        return self.key if family == 4 else self.key_v6


class Facts(Struct, frozen=True):
    """`nodes` are in order of their names; `datastore`: hosts of etcd, names or addresses.

    `mtu_interfaces` is a regular expression, as of TunnelSettings.
    """

    hostname: str
    settings: WireguardSettings
    nodes: tuple[NodeEnd, ...] = ()
    datastore: tuple[str, ...] = ()
    mtu_interfaces: str = ""

    def others(self, family: Family) -> list[NodeEnd]:
        """Those with an address of the family."""
        return [n for n in self.nodes if n.node != self.hostname and n.address(family)]


class Nodes:
    def __init__(self) -> None:
        self._ends: dict[str, NodeEnd] = {}

    def note(self, key: Key, value: Value | None) -> None:
        """None: gone, or never valid."""
        if not isinstance(key, NodeKey):
            return
        if isinstance(value, Node):
            ipv4, ipv6 = (text.partition("/")[0] for text in (value.ipv4, value.ipv6))
            self._ends[key.name] = NodeEnd(
                key.name, ipv4, ipv6, value.wireguard_key, value.wireguard_key_v6
            )
        else:
            self._ends.pop(key.name, None)

    def all(self) -> tuple[NodeEnd, ...]:
        return tuple(self._ends[name] for name in sorted(self._ends))


def facts_of(config: Config, nodes: Nodes) -> Facts:
    return Facts(
        config.felix_hostname,
        to_wireguard(config),
        nodes.all(),
        _etcd_hosts(config),
        config.mtu_iface_pattern,
    )


def read_facts(path: Path) -> Facts:
    """`path` is the configuration file.

    Raises ConfigError; SnapshotError where the datastore cannot be read, or no agent would start
    with what it says.
    """
    live = LiveConfig(path, os.environ)
    snapshot = read_snapshot(live.config, _SECONDS)
    if snapshot.errors:
        raise SnapshotError("; ".join(map(str, snapshot.errors)))
    return facts_of(*_resolved(live, snapshot.values))


def _resolved(live: LiveConfig, values: Mapping[Key, Value]) -> tuple[Config, Nodes]:
    nodes = Nodes()
    for key, value in values.items():
        live.note(key, value)
        nodes.note(key, value)
    live.settle()
    return live.config, nodes


def _etcd_hosts(config: Config) -> tuple[str, ...]:
    if config.datastore_type == "file":
        return ()
    hosts: Iterable[str] = (each.host for each in to_etcd_settings(config).endpoints)
    return tuple(dict.fromkeys(hosts))
