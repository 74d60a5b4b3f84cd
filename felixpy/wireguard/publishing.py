"""The public keys of this node, where the other nodes look for them: in its Node's status, which
also says how WireGuard is here.

    in   offer(keys, conditions)  what the dataplane wants known, after each turn of it
         note(key, value)         what the datastore says of this node
    out  status.wireguardPublicKey and …V6, each by itself; "" withdraws one
         in status.conditions those of ours (`felixpy.wireguard.conditions`), written with the keys

The kernel's key counts: where the Node says another one, it is told again.  A Node that is not
there is waited for, never made.  Of conditions the datastore's word does not tell: they are looked
after when they change, with each key, at the start, and when the Node goes.  Where the datastore is
a directory of manifests, a file takes all of it, for whoever spreads that
(`felixpy.statusrep.directory`).
Source: section 3.4 of the routes reference; projectcalico/calico felix/daemon/daemon.go.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Final, NamedTuple, TypeAlias

import msgspec
import structlog

from calc_graph.model import Key, Node, NodeKey, Value
from calc_graph.wireguard import canonical_key
from dataplane.families import Family
from felixpy.datastore.etcd_keys import resource_key
from felixpy.statusrep.conditions import Condition
from felixpy.statusrep.store import StatusStore, StatusUnwritableError, answered
from felixpy.statusrep.troubles import Troubles
from felixpy.statusrep.waiting import Waker
from felixpy.tasks import Background

log = structlog.get_logger(__name__)

Conditions: TypeAlias = Mapping[str, Condition | None]

PAUSE: Final = 1.0  # seconds between two attempts: another agent by our name must not race with us
RETRY: Final = 3.0
WRITE_SECONDS: Final = 5.0
_NAME: Final = "wireguard keys"
_NONE: Final[Conditions] = {}
_FIELDS: Final[Mapping[Family, str]] = {4: "wireguardPublicKey", 6: "wireguardPublicKeyV6"}


class PublishedKey(NamedTuple):
    """`published`: the datastore says the same."""

    family: Family
    key: str
    published: bool


class NodePublisher:
    def __init__(self, store: StatusStore, hostname: str) -> None:
        self._store = store
        self._hostname = hostname
        self._about = resource_key("Node", hostname)
        self._wished: dict[Family, str] = {}
        self._conditions: Conditions = {}
        self._written: Conditions = {}
        self._told: dict[Family, str | None] = {4: "", 6: ""}  # by the Node; None: that is no key
        self._settled: dict[Family, tuple[str, str | None]] = {}  # wish and word, when it was told
        self._troubles = Troubles("wireguard_key")
        self._waker = Waker()
        self._task = Background(_NAME)

    @property
    def problems(self) -> dict[str, str]:
        return {"Node status": self._troubles.text} if self._troubles.text else {}

    def note(self, key: Key, value: Value | None) -> None:
        """None: gone, or never valid; anything but this node's own Node is somebody else's."""
        if key != NodeKey(self._hostname):
            return
        node = value if isinstance(value, Node) else Node()
        self._told = {
            4: canonical_key(node.wireguard_key),
            6: canonical_key(node.wireguard_key_v6),
        }
        if value is None:
            self._written = {}
        self._waker.wake()

    def offer(self, keys: Mapping[Family, str], conditions: Conditions = _NONE) -> None:
        """Keys in base64, "" where there is to be none; conditions by type, None likewise.

        What is published of other families and types stays.  Not before the datastore has said all
        that it knows.
        """
        if (keys, conditions) != (self._wished, self._conditions):
            self._wished, self._conditions = dict(keys), dict(conditions)
            self._waker.wake()
        if not self._task.begun and self._is_due():
            self._task.begin(self.run)

    def keys(self) -> tuple[PublishedKey, ...]:
        """Those that there are."""
        return tuple(
            PublishedKey(family, key, key == self._told[family])
            for family, key in sorted(self._wished.items())
            if key
        )

    def check(self) -> None:
        """Raises what the task has ended with: it should not."""
        self._task.check()

    async def close(self) -> None:
        """What is published stays: the rules do, too."""
        await self._task.close()

    async def run(self) -> None:
        """Endless; by `offer`."""
        while True:
            if not self._is_due():
                self._troubles.clear(self._about)
                await self._waker.sleep()
                continue
            published = await self._publish(self._due())
            await asyncio.sleep(PAUSE)
            if not published:
                await self._waker.sleep(RETRY - PAUSE)

    # ---------------------------------------------------------------- steps

    def _is_due(self) -> bool:
        return bool(self._due()) or not self._conditions.items() <= self._written.items()

    def _due(self) -> dict[Family, str]:
        """Where a store does not come back as the datastore's word, it is asked each time that
        either changes: it writes only what differs.
        """
        return {
            family: key
            for family, key in self._wished.items()
            if self._settled.get(family) != (key, self._told[family])
            and (key != self._told[family] or not self._store.echoes)
        }

    async def _publish(self, due: Mapping[Family, str]) -> bool:
        told, written, conditions = dict(self._told), self._written, self._conditions
        texts = {_FIELDS[family]: key for family, key in due.items()}
        bare = _bare_node(self._hostname)
        writing = self._store.revise_status(self._about, bare, texts, conditions)
        try:
            there = await answered(writing, WRITE_SECONDS)
        except StatusUnwritableError as error:
            self._troubles.add(self._about, str(error))
            return False
        if not there and (any(due.values()) or any(conditions.values())):
            text = f"there is no Node {self._hostname} to publish WireGuard's key and condition in"
            self._troubles.add(self._about, text)
            return False
        self._troubles.clear(self._about)
        if self._written is written:  # else the Node went meanwhile
            self._written = {**written, **conditions}
        for family, key in due.items():
            self._settled[family] = (key, told[family])
            log.info("wireguard.key_published", family=family, key=key or "none")
        return True


def _bare_node(name: str) -> bytes:
    return msgspec.json.encode(
        {"apiVersion": "projectcalico.org/v3", "kind": "Node", "metadata": {"name": name}}
    )
