"""IPsecNodeEncryption is not switched on where the node could not be reached with it any more.

in   the pools that the datastore knows, the configuration
out  admit     the settings, without node encryption where the datastore is behind a workload
     review    whether that has become another answer
     problems  why
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from msgspec import structs

from calc_graph.model import IpPool, IpPoolKey, Key, Value
from dataplane.settings import Settings
from felixpy.config import Config
from felixpy.etcd.settings import to_etcd_settings
from felixpy.ipsec.datastore_place import Inside, addresses_of, inside


class NodeEncryption:
    """`config` is asked for the configuration of the moment."""

    def __init__(
        self,
        config: Callable[[], Config],
        look_up: Callable[[tuple[str, ...]], tuple[str, ...]] = addresses_of,
    ) -> None:
        self._config = config
        self._look_up = look_up
        self._pools: dict[str, str] = {}
        self._addresses: tuple[str, ...] = ()
        self._wanted = False  # as of the last settings
        self._refused: Inside | None = None

    @property
    def problems(self) -> dict[str, str]:
        if self._refused is None:
            return {}
        address, pool = self._refused
        return {
            "node encryption": f"IPsecNodeEncryption is not switched on: the datastore {address} "
            f"is in the pool {pool}, and could not be reached before keys are known"
        }

    def note(self, key: Key, value: Value | None) -> None:
        """None: gone, or never valid."""
        if not isinstance(key, IpPoolKey):
            return
        if isinstance(value, IpPool):
            self._pools[key.name] = value.cidr
        else:
            self._pools.pop(key.name, None)

    async def admit(self, settings: Settings) -> Settings:
        """The hosts of the datastore are looked up, which may take its time."""
        self._wanted = settings.ipsec.node_encryption and bool(settings.ipsec.families)
        if not self._wanted:
            self._refused = None
            return settings
        self._addresses = await asyncio.to_thread(self._look_up, self._hosts())
        self._refused = inside(self._addresses, self._pools.values())
        if self._refused is None:
            return settings
        without = structs.replace(settings.ipsec, node_encryption=False, clear_ports=())
        return structs.replace(settings, ipsec=without)

    def review(self) -> bool:
        """Whether a dataplane with the settings of the last `admit` is none any more that may be,
        or could have more.
        """
        if not self._wanted:
            return False
        refused = inside(self._addresses, self._pools.values())
        return (refused is None) != (self._refused is None)

    def _hosts(self) -> tuple[str, ...]:
        config = self._config()
        if config.datastore_type == "file":
            return ()
        return tuple(dict.fromkeys(each.host for each in to_etcd_settings(config).endpoints))
