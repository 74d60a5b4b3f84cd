"""A BGPPeer that has been checked, and which nodes it is about.

    in   BgpPeer
    out  Peering, with the selectors parsed; PeeringError says why there is none

Source: sections 1.2 and 2.2 of the BGP reference.
"""

from __future__ import annotations

from collections.abc import Mapping
from ipaddress import ip_address
from typing import NamedTuple

from calc_graph.bgp.cluster import family_of
from calc_graph.bgp.resources import BgpPeer
from calc_graph.selector import Selector, SelectorError, parse


class PeeringError(ValueError):
    """The text is for the author of the BGPPeer."""


class Peering(NamedTuple):
    """Selectors are None where the BGPPeer has none; see BgpPeer for its two sides."""

    name: str
    peer: BgpPeer
    here: Selector | None
    there: Selector | None
    workloads: Selector | None

    @property
    def everywhere(self) -> bool:
        """Calico calls it global: the local side is every node."""
        return self.here is None and not self.peer.node

    def is_local_side(self, node: str, labels: Mapping[str, str]) -> bool:
        if self.here is not None:
            return self.here.matches(labels)
        return self.peer.node in ("", node)


def check_peering(name: str, peer: BgpPeer) -> Peering:
    """Raises PeeringError."""
    _check_sides(peer)
    if peer.address:
        _check_address("peerIP", peer.address)
    if peer.reachable_by:
        _check_reachable_by(peer)
    if peer.workload_selector and not peer.as_number:
        raise PeeringError("asNumber has to be given with localWorkloadSelector")
    return Peering(
        name,
        peer,
        _parsed("nodeSelector", peer.node_selector),
        _parsed("peerSelector", peer.peer_selector),
        _parsed("localWorkloadSelector", peer.workload_selector),
    )


def _check_sides(peer: BgpPeer) -> None:
    if peer.node and peer.node_selector:
        raise PeeringError("node and nodeSelector exclude each other")
    remotes = (peer.address, peer.peer_selector, peer.workload_selector)
    if len(list(filter(None, remotes))) != 1:
        raise PeeringError("give one of peerIP, peerSelector and localWorkloadSelector")
    if peer.peer_selector and peer.as_number:
        raise PeeringError("asNumber is each node's own where peerSelector is given")


def _check_address(field: str, text: str) -> None:
    try:
        address = ip_address(text)
    except ValueError:
        raise PeeringError(f"{field} is no address: {text!r}") from None
    if str(address) != text or "%" in text:
        raise PeeringError(f"{field} is not written as an address should be: {text!r}")
    if address.is_multicast or address.is_unspecified or address.is_loopback:
        raise PeeringError(f"{field} {text} is no address of another host")
    if address.version == 6 and address.is_link_local:
        raise PeeringError(f"{field} {text} is link-local: which interface cannot be said here")


def _check_reachable_by(peer: BgpPeer) -> None:
    if not peer.address:
        raise PeeringError("reachableBy has to go with peerIP")
    _check_address("reachableBy", peer.reachable_by)
    if family_of(peer.reachable_by) != family_of(peer.address):
        raise PeeringError(f"reachableBy {peer.reachable_by} is of another family than peerIP")


def _parsed(field: str, text: str) -> Selector | None:
    if not text:
        return None
    try:
        return parse(text)
    except SelectorError as error:
        raise PeeringError(f"{field}: {error}") from None
