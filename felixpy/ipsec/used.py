"""What the keys of this life were derived from, and what of it has been given up since.

    in   resource               records and addresses of nodes
         keys                   key ID -> check value, of all that may be in states
         restore, complete      what an agent before this one knew
    out  again                  something that was given up has come back: another life has to begin
         take_kept              for the next agent

A sending state that is taken away and made again with the same key would count its packets from 0
again, and two of them would be encrypted alike.  Within one agent the dataplane knows its states;
this remembers over its restarts.  Nobody needs to know which states there were in fact: what was
given up may have had one.

Values are kept as the first 64 bits of a SHA-256: one that is taken for another begins a life that
would not have been needed.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from typing import Final

from msgspec import Struct

from calc_graph.model import IpsecNode, IpsecNodeKey, Key, Node, NodeKey, Value

MOST: Final = 4096  # that were given up
_DIGITS: Final = 16
DIGEST: Final = re.compile(rf"[0-9a-f]{{{_DIGITS}}}")


class Kept(Struct, frozen=True, forbid_unknown_fields=True):
    """`there`: not given up yet.  Both are sorted."""

    there: tuple[str, ...] = ()
    gone: tuple[str, ...] = ()


class Used:
    """`hostname` is this node's."""

    def __init__(self, hostname: str) -> None:
        self._hostname = hostname
        self._records: dict[str, str] = {}  # by node: boot and ends of tunnels
        self._hosts: dict[str, str] = {}  # addresses
        self._keys: set[int] = set()
        self._of: dict[str, str] = {}
        self._unseen: set[str] = set()  # of the agent before, and not noted since
        self._gone: set[str] = set()
        self._restored = False
        self._changed = True
        self.again = ""  # why another life has to begin

    def resource(self, key: Key, value: Value | None) -> None:
        """None: gone, or never valid; of most kinds nothing is kept."""
        match key, value:
            case IpsecNodeKey(), IpsecNode(enabled=True, layout="pair"):
                self._records[key.name] = f"{value.boot} {value.ipv4} {value.ipv6}"
            case IpsecNodeKey(), _:
                self._records.pop(key.name, None)
            case NodeKey(), Node():
                self._hosts[key.name] = f"{value.ipv4} {value.ipv6}"
            case NodeKey(), _:
                self._hosts.pop(key.name, None)
            case _:
                return
        # of this node the record follows
        record = "" if key.name == self._hostname else self._records.get(key.name)
        host = self._hosts.get(key.name)
        ends = None if record is None or host is None else f"{record} {host}"
        self._note(f"node {key.name}", ends)

    def keys(self, checks: Mapping[int, str]) -> None:
        for key in self._keys | checks.keys():
            self._note(f"key {key}", checks.get(key))
        self._keys = set(checks)

    def restore(self, kept: Kept) -> None:
        """To be called once; what was noted before counts."""
        if not self._restored:
            self._restored = True
            self._unseen = set(kept.there).difference(self._of.values())
            self._gone |= set(kept.gone)
            for digest in self._of.values():
                self._judge(digest)

    def _note(self, subject: str, value: str | None) -> None:
        before = self._of.get(subject)
        digest = None if value is None else _digest(f"{subject} {value}")
        if before == digest:
            return
        self._changed = True
        if before is not None:
            del self._of[subject]
            self._gone.add(before)
            if len(self._gone) > MOST:
                self.again = "too much has been given up"
        if digest is not None:
            self._of[subject] = digest
            self._unseen.discard(digest)
            self._judge(digest)

    def _judge(self, digest: str) -> None:
        if digest in self._gone:
            self.again = "a node or a key is as it was before"

    def complete(self) -> None:
        """All that there is has been noted."""
        self._changed |= bool(self._unseen)
        self._gone |= self._unseen
        self._unseen.clear()

    def begin_life(self) -> None:
        """No key is derived from what was before."""
        self._gone.clear()
        self._unseen.clear()
        self.again, self._changed = "", True

    def take_kept(self) -> Kept | None:
        """None: as it was the last time."""
        if not self._changed:
            return None
        self._changed = False
        there = self._unseen.union(self._of.values())
        return Kept(tuple(sorted(there)), tuple(sorted(self._gone)))


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:_DIGITS]
