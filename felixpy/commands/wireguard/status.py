"""`felixpy status wireguard`: each device and its peers, as `wg show` has them, and what has left
in clear.

The running agent is asked, which asks the kernel; while it is stopped the kernel alone is: then
peers have no names, and nobody knows what a node without a key is missing.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import msgspec
from msgspec import Struct

from dataplane.errors import DataplaneError
from dataplane.families import Family
from dataplane.settings import WireguardSettings
from dataplane.wireguard.state import DeviceState, shown
from dataplane.wireguard.status import FamilyStatus, PeerStatus
from felixpy import exits
from felixpy.config import examine, read_local
from felixpy.config.to_wireguard import to_wireguard
from felixpy.console import Palette, say
from felixpy.control_client import ControlClientError, NoAgentError
from felixpy.rundir import run_directory
from felixpy.units import age, size
from felixpy.wireguard.control import ask_keys, ask_status
from felixpy.wireguard.machine import read_device
from felixpy.wireguard.metrics import render_endpoint

_FAMILIES: tuple[Family, ...] = (4, 6)


class Found(Struct, frozen=True):
    """`agent` says why it was not asked, "" if it was; `published`: keys that the datastore has."""

    families: tuple[FamilyStatus, ...]
    published: frozenset[str] = frozenset()
    agent: str = ""

    @property
    def shown(self) -> list[FamilyStatus]:
        return [status for status in self.families if status.phase != "off"]

    @property
    def well(self) -> bool:
        """Whether whatever is on encrypts for all nodes that ask for it, and nobody has erred."""
        return all(
            status.phase != "unavailable"
            and all(peer.stage in ("ready", "no key", "leaving") for peer in status.peers)
            for status in self.shown
        )


def run(arguments: argparse.Namespace) -> int:
    config = examine(read_local(arguments.config, os.environ)).config
    try:
        found = _find(run_directory(Path(config.run_dir)), to_wireguard(config))
    except (ControlClientError, DataplaneError) as error:
        say(f"felixpy: {error}", sys.stderr)
        return exits.FAILED
    if arguments.json:
        say(_json(found))
    else:
        say("\n".join(_lines(found, Palette.of(sys.stdout), time.time())))
    if found.agent:
        return exits.NOT_RUNNING
    return exits.OK if found.well else exits.NOT_WELL


def _find(directory: Path, settings: WireguardSettings) -> Found:
    """Raises ControlClientError or DataplaneError."""
    try:
        keys = frozenset(each.key for each in ask_keys(directory) if each.published)
        return Found(ask_status(directory), keys)
    except NoAgentError:
        return Found(asyncio.run(_ask_kernel(settings)), agent="stopped")


async def _ask_kernel(settings: WireguardSettings) -> tuple[FamilyStatus, ...]:
    found = []
    for family in _FAMILIES:
        name = settings.device_of(family)
        state = await read_device(name)
        if state is not None:
            found.append(_of_device(family, name, state))
    return tuple(found)


def _of_device(family: Family, name: str, state: DeviceState) -> FamilyStatus:
    peers = tuple(
        PeerStatus(
            "",
            shown(key),
            "ready" if peer.handshake else "waiting",
            endpoint=peer.endpoint,
            nets=tuple(sorted(peer.nets)),
            handshake=peer.handshake,
            received=peer.received,
            sent=peer.sent,
        )
        for key, peer in sorted(state.peers.items())
    )
    key = shown(state.public_key) if state.public_key else ""
    return FamilyStatus(family, name, "on", key=key, port=state.port, peers=peers)


# ---------------------------------------------------------------- for programs


def _json(found: Found) -> str:
    families = [
        {**msgspec.to_builtins(status), "published": _is_published(found, status)}
        for status in found.families
    ]
    text = {"agent": found.agent or "running", "families": families}
    return msgspec.json.format(msgspec.json.encode(text), indent=2).decode()


def _is_published(found: Found, status: FamilyStatus) -> bool | None:
    """None: nobody is there to say."""
    return None if found.agent else status.key in found.published


# ---------------------------------------------------------------- for people


def _lines(found: Found, paint: Palette, now: float) -> Iterator[str]:
    if found.agent:
        yield f"agent: {paint.bad('stopped')}; what is there goes on, by the kernel alone"
    if not found.shown:
        yield "WireGuard is off" if not found.agent else "no device"
    for number, status in enumerate(found.shown):
        if number:
            yield ""
        yield from _device(found, status, paint)
        for peer in status.peers:
            yield ""
            yield from _peer(peer, paint, now, counted=not found.agent)


def _device(found: Found, status: FamilyStatus, paint: Palette) -> Iterator[str]:
    yield f"{paint.strong('interface')}: {status.device} (IPv{status.family})"
    if status.reason:
        yield f"  {paint.bad('unavailable')}: {status.reason}"
    elif status.phase != "on":
        yield f"  {paint.warn('going')}: {status.phase}"
    if status.key:
        said = {True: "published", False: "not published yet", None: "published or not: unknown"}
        yield f"  public key: {status.key} ({said[_is_published(found, status)]})"
        yield f"  listening port: {status.port}"
    if status.peers:
        yield f"  peers: {', '.join(_counts(status.peers))}"


def _counts(peers: Sequence[PeerStatus]) -> Iterable[str]:
    for stage in dict.fromkeys(peer.stage for peer in peers):
        yield f"{sum(peer.stage == stage for peer in peers)} {stage}"


def _peer(peer: PeerStatus, paint: Palette, now: float, *, counted: bool) -> Iterator[str]:
    colour = paint.good if peer.stage == "ready" else paint.warn
    yield f"{paint.strong('peer')}: {peer.node or peer.key} {colour(peer.stage)}"
    if peer.node and peer.key:
        yield f"  public key: {peer.key}"
    if peer.endpoint:
        yield f"  endpoint: {render_endpoint(peer.endpoint)}"
    if peer.nets:
        yield f"  allowed ips: {', '.join(peer.nets)}"
    if peer.closed_nets:
        yield f"  closed: {', '.join(peer.closed_nets)}"
    if peer.clear_nets:
        yield f"  in clear: {', '.join(peer.clear_nets)}"
    if peer.handshake:
        yield f"  latest handshake: {age(now - peer.handshake)} ago"
    if peer.received or peer.sent:
        yield f"  transfer: {size(peer.received)} received, {size(peer.sent)} sent"
    if counted and peer.node:
        text = f"{peer.clear_packets} packets, {size(peer.clear_bytes)}"
        yield f"  left in clear: {paint.bad(text) if peer.clear_packets else 'nothing'}"
