"""This node is switched off: how it goes without losing a packet, where the others let it.

    withdrawing  what blocks and what asks for encryption has gone, so that the others may send in
                 clear; it is published that this node is off, and the datastore is waited for
    draining     the ways out have gone, so we send in clear; what still comes encrypted is
                 decrypted, until nobody says that it sends so any more
    removing     everything else, receiving states last
    off          nothing is there

Both waits are bounded: a datastore that is away, or a node that is, does not keep IPsec on for
ever.  An agent that is started again in the middle begins anew, with what it finds.

Pure: records and the time in, the phase, what stays, and the record to publish out.
Source: section 4.10 of the IPsec reference.
"""

from __future__ import annotations

from typing import Literal, TypeAlias

import msgspec

from calc_graph.model import IpsecNode
from calc_graph.updates import HostRemove, HostUpdate, IpsecPeer, IpsecPeerRemove
from dataplane.ipsec.ends import Ends
from dataplane.ipsec.retire import IN_FLIGHT_SECONDS
from dataplane.ipsec.values import DECRYPTED, PolicyWish
from dataplane.leaving import DRAIN_SECONDS, WITHDRAW_SECONDS

Phase: TypeAlias = Literal["withdrawing", "draining", "removing", "off"]

_NEVER = float("inf")


class Leaving:
    def __init__(self, hostname: str, now: float) -> None:
        self.phase: Phase = "withdrawing"
        self._hostname = hostname
        self._ends = Ends(hostname, "shared")  # whose tags are whose is of no interest any more
        self._base = IpsecNode()
        self._since = now
        self._quiet_since: float | None = None
        self._sends = True

    def update(self, event: IpsecPeer | IpsecPeerRemove | HostUpdate | HostRemove) -> None:
        self._ends.update(event)
        if isinstance(event, IpsecPeer) and event.node == self._hostname and event.end.enabled:
            self._base = event.end

    @property
    def record(self) -> IpsecNode:
        """To be published; whom it says that it sends to is true until the ways out have gone."""
        off = msgspec.structs.replace(self._base, enabled=False)
        return off if self._sends else msgspec.structs.replace(off, peers={})

    def advance(self, now: float, *, sends: bool, left: bool) -> float:
        """`sends`: there are ways out through tunnels; `left`: there is anything of ours.

        Out: when to do it again though nothing was told, infinity for never.
        """
        self._sends = sends
        if self.phase == "withdrawing":
            published = self._ends.published()
            heard = published is None or not published.enabled
            due = self._since + WITHDRAW_SECONDS
            if not heard and now < due:
                return due
            self.phase, self._since = "draining", now
        if self.phase == "draining":
            due = self._drained(now, sends=sends)
            if now < due:
                return due
            self.phase = "removing"
        if self.phase == "removing" and not left:
            self.phase = "off"
        return _NEVER

    def _drained(self, now: float, *, sends: bool) -> float:
        records = self._ends.records().values()
        if sends or any(_sends_to(record, self._hostname) for record in records):
            self._quiet_since = None
        elif self._quiet_since is None:
            self._quiet_since = now
        quiet = _NEVER if self._quiet_since is None else self._quiet_since + IN_FLIGHT_SECONDS
        return min(quiet, self._since + DRAIN_SECONDS)


def policy_stays(phase: Phase, policy: PolicyWish) -> bool:
    """Whether a policy of ours is still needed.  What judges what was decrypted stays for long."""
    name, template = policy.id, policy.template
    if phase in ("removing", "off") or template is None:
        return False
    if name.direction == "out":
        return phase == "withdrawing"
    return name.mark == DECRYPTED


def state_stays(phase: Phase, *, receives: bool) -> bool:
    return phase == "withdrawing" or (phase == "draining" and receives)


def _sends_to(record: IpsecNode, node: str) -> bool:
    peering = record.peers.get(node)
    return peering is not None and peering.sends != 0
