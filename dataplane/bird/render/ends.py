"""The two ends of a session, checked: what both have to agree on.

in   a session, the speaker
out  Ends, with addresses as BIRD writes them; NotFitError where BIRD could not be given one
"""

from __future__ import annotations

from typing import NamedTuple

from calc_graph.bgp.updates import BgpSession, BgpSpeaker
from dataplane.bird.render import texts

BGP_PORT = 179


class Ends(NamedTuple):
    """`local` is "" where the kernel shall choose; `hops` is 0 without TTL security."""

    name: str
    local: str
    local_port: int
    local_as: int
    remote: str
    remote_port: int
    remote_as: int
    hops: int

    @property
    def internal(self) -> bool:
        return self.local_as == self.remote_as


def ends(session: BgpSession, speaker: BgpSpeaker) -> Ends:
    """BIRD 2 binds to the node's address alone only where sessions leave from it as well."""
    family = session.family
    own = speaker.address_v4 if family == 4 else speaker.address_v6
    if not own:
        raise texts.NotFitError(f"this node has no IPv{family} address")
    local = session.local_address or (own if speaker.bind_node_address else "")
    if not 0 <= session.ttl_security <= 255:
        raise texts.NotFitError(f"{session.ttl_security} hops cannot be told from one another")
    if session.client and session.local_as != session.remote_as:
        raise texts.NotFitError("only an internal peer can be a reflector's client")
    if session.client:
        texts.address(speaker.cluster_id, 4)
    return Ends(
        texts.session_name(session.name),
        texts.address(local, family) if local else "",
        texts.port(speaker.listen_port),
        texts.as_number(session.local_as),
        texts.address(session.address, family),
        texts.port(session.port or BGP_PORT),
        texts.as_number(session.remote_as),
        session.ttl_security,
    )


def problem_of(session: BgpSession, speaker: BgpSpeaker) -> str:
    """What is rendered otherwise than it was asked for; "" mostly."""
    if speaker.bind_node_address and not session.local_address:
        return "bindMode NodeIP: the session leaves from the node's address too"
    return ""
