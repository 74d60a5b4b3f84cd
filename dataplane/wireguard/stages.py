"""How far a node has come as a peer: its claim and what the device says of it in, a stage out.

    no key          it publishes none: it does not encrypt, and says so itself
    malformed key   what it publishes is no key
    duplicate key   another node, or this one, has the same: nobody can tell the two apart
    no address      it has a key, and no address of this family to send to
    waiting         a peer, or about to be one; no handshake yet, so perhaps it does not know us
    ready           a handshake has proved that both sides know each other
    leaving         a peer of the device that no node stands for any more

A peer whose handshake is old stays ready: WireGuard is silent without traffic.  A peer that was
made anew has none, and begins again.
"""

from __future__ import annotations

from typing import Final, Literal, TypeAlias

from dataplane.wireguard.peers import Claim
from dataplane.wireguard.state import PeerState

Stage: TypeAlias = Literal[
    "no key", "malformed key", "duplicate key", "no address", "waiting", "ready", "leaving"
]

# The kernel begins a handshake as soon as a keepalive is set, and gives up trying after 90 s of
# silence; as often as it may send the first message again, it is asked to.
# Source: WireGuard, REKEY_TIMEOUT and REKEY_ATTEMPT_TIME.
WAITING_KEEPALIVE: Final = 5  # seconds


def stage_of(claim: Claim, peer: PeerState | None) -> Stage:
    """`peer` is what the device has under the claim's key."""
    if claim.kind != "peer":
        return claim.kind
    return "ready" if peer is not None and peer.handshake else "waiting"


def keepalive_of(stage: Stage, configured: int) -> int:
    """Seconds; 0: none."""
    if stage == "ready":
        return configured
    return min(configured, WAITING_KEEPALIVE) or WAITING_KEEPALIVE
