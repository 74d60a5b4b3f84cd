"""The mesh: which key each peer is sent to with, what is to be in the kernel, what to publish.

    in   update      IpsecPeer, HostUpdate, RouteUpdate, PoolUpdate, removals; others change nothing
         keys        the check values of the ring that is to be used, the newest first
         drop        a key that the operator does not wait for any more
         life        boot, tag, and the keys that states of an agent before this one may have
         adopt       states of ours that were found in the kernel, before anything is resolved
         observe     what the kernel has of what was wished for, as far as it is another than before
    out  resolve     works it all out for a time; when it is to be called again for the time alone
         take_changes  of one family: what is wished for now and was not at the last take
         states, policies, routes  of one family, all of them
         record      what to publish
         progress    of each other node
         problems    by subject

The driver's loop, and nothing may be written before it has come to rest once:

    due = mesh.resolve(now)
    changes = mesh.take_changes(family)       compare with what is there
    mesh.observe(family, states, policies)    what is there as wished; then again from the top

A wish that depends on another is made when that one is observed: the way out through a tunnel when
its state is there, `receive` in the record when all receiving states are.

Pure.  A change costs what it touches; all peers only when the ring or this node's own life changes.
Source: sections 4 to 7 of the IPsec reference.
"""

from __future__ import annotations

from collections.abc import Mapping

from msgspec import Struct

from calc_graph.model import IpsecNode
from calc_graph.updates import (
    HostRemove,
    HostUpdate,
    IpsecPeer,
    IpsecPeerRemove,
    PoolRemove,
    PoolUpdate,
    RouteRemove,
    RouteUpdate,
)
from dataplane.families import Family
from dataplane.ipsec.life import Life
from dataplane.ipsec.progress import PeerProgress
from dataplane.ipsec.values import PolicyId, PolicyWish, StateId, StateWish
from dataplane.settings import IpsecSettings

Event = (
    IpsecPeer
    | IpsecPeerRemove
    | HostUpdate
    | HostRemove
    | RouteUpdate
    | RouteRemove
    | PoolUpdate
    | PoolRemove
)


class Changes(Struct, frozen=True):
    """None: not wished for any more.  Routes: net -> the node's address that it is behind."""

    states: dict[StateId, StateWish | None]
    policies: dict[PolicyId, PolicyWish | None]
    routes: dict[str, str | None]


class Mesh:
    def __init__(self, hostname: str, settings: IpsecSettings) -> None:
        self._hostname = hostname
        self._settings = settings
        self._wishes: dict[Family, Changes] = {
            family: Changes({}, {}, {}) for family in settings.families
        }

    # ---------------------------------------------------------------- told

    def update(self, event: Event) -> None:
        """Events of families that IPsec is not on for change nothing."""

    def keys(self, checks: Mapping[int, str]) -> None:
        """The ring, the newest first: key ID -> check value, as `KeyRing.checks` has them."""

    def drop(self, key: int) -> None:
        """The operator does not wait any longer for those that still use it.

        Nothing happens to a key that is in the ring.
        """

    def life(self, life: Life) -> None:
        """Another one than before makes all states anew."""

    def adopt(self, family: Family, states: Mapping[StateId, str]) -> None:
        """States of ours that were found, with their source.

        Those of keys that are not in the ring are only kept, and only if they are named here.
        """

    def observe(
        self,
        family: Family,
        states: Mapping[StateId, StateWish | None],
        policies: Mapping[PolicyId, PolicyWish | None],
    ) -> None:
        """What has come to be there, or has gone (None), since the last time.

        A state counts if it is the one that is wished for, key and all; of one with a key that is
        not in the ring, ID and source are enough.
        """

    # ---------------------------------------------------------------- worked out

    def resolve(self, now: float) -> float:
        """`now`: seconds on any clock that only goes forward.

        Out: when to do it again though nothing was told, infinity for never.
        """
        return float("inf")

    # ---------------------------------------------------------------- asked

    def take_changes(self, family: Family) -> Changes:
        return self._wishes[family]

    def states(self, family: Family) -> Mapping[StateId, StateWish]:
        """As of the last resolve; it changes with the next."""
        return {}

    def policies(self, family: Family) -> Mapping[PolicyId, PolicyWish]:
        """As of the last resolve; it changes with the next."""
        return {}

    def routes(self, family: Family) -> Mapping[str, str]:
        """As of the last resolve; it changes with the next."""
        return {}

    @property
    def alive(self) -> Mapping[int, str]:
        """Key ID -> check value, of all that states are wished for with.

        Whoever holds keys keeps those: of an ID that stands for another key in the ring it is this
        one that counts.  To be remembered over a restart as `Life.known`.
        """
        return {}

    @property
    def needs_new_life(self) -> bool:
        """Another node has our tag, and it is for us to give way."""
        return False

    @property
    def record(self) -> IpsecNode:
        """To be published once the driver's loop has come to rest."""
        return IpsecNode()

    def progress(self) -> dict[str, PeerProgress]:
        """Of all nodes that publish something or have anything behind them, but this one."""
        return {}

    def problems(self) -> dict[str, str]:
        """Subject -> what is wrong."""
        return {}
