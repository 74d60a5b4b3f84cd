"""`felixpy status ipsec`: each node, with the keys and SPIs in use, and what the kernel drops.

The running agent is asked, which asks the kernel; while it is stopped the kernel alone is: then the
nodes have no names, and nobody knows which keys they have.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import msgspec
from msgspec import Struct

from dataplane.errors import DataplaneError
from dataplane.ipsec.progress import PeerProgress
from dataplane.ipsec.status import FamilyStatus, StateStatus
from felixpy import exits
from felixpy.config import Config, examine, read_local
from felixpy.console import Palette, say
from felixpy.control_client import ControlClientError, NoAgentError
from felixpy.ipsec.control import ask_status
from felixpy.ipsec.details import Details, ErrorCount, error_counts
from felixpy.ipsec.offline import read_kernel
from felixpy.ipsec.xfrm_stat import read_errors
from felixpy.rundir import run_directory
from felixpy.units import age, size


class Found(Struct, frozen=True):
    """`agent` says why it was not asked, "" if it was."""

    details: Details
    agent: str = ""

    @property
    def well(self) -> bool:
        """Whether IPsec is off, or encrypts for all other nodes and nothing is wrong."""
        details = self.details
        return not details.problems and all(
            peer.stage == "encrypted" for peer in details.status.peers
        )


def run(arguments: argparse.Namespace) -> int:
    config = examine(read_local(arguments.config, os.environ)).config
    try:
        found = _find(config)
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


def _find(config: Config) -> Found:
    """Raises ControlClientError or DataplaneError."""
    try:
        return Found(ask_status(run_directory(Path(config.run_dir))))
    except NoAgentError:
        status = read_kernel(config.ipsec_req_id)
        errors = error_counts(read_errors(), {})
        return Found(Details(config.ipsec_enabled, status, errors=errors), agent="stopped")


def _json(found: Found) -> str:
    text = {
        "agent": found.agent or "running",
        **msgspec.to_builtins(found.details, str_keys=True),
    }
    for state in text["status"]["states"]:
        state["spi"] = spi_text(state["spi"])
    for peer in text["status"]["peers"]:
        peer["spis"] = [spi_text(spi) for spi in peer["spis"]]
    return msgspec.json.format(msgspec.json.encode(text), indent=2).decode()


def spi_text(spi: int) -> str:
    """As `ip xfrm state` has it."""
    return f"{spi:#010x}"


# ---------------------------------------------------------------- for people


def _lines(found: Found, paint: Palette, now: float) -> Iterator[str]:
    details = found.details
    status = details.status
    if found.agent:
        yield f"agent: {paint.bad('stopped')}; what is there goes on, by the kernel alone"
    families = [family for family in status.families if family.phase != "off" or family.reason]
    if not found.agent and not details.enabled and not families:
        yield "IPsec is off"
    for family in families:
        yield from _family(family, paint)
    if not found.agent and details.enabled:
        yield from _keys(details, paint, now)
    if status.peers:
        stages = Counter(peer.stage for peer in status.peers)
        yield f"peers: {', '.join(f'{count} {stage}' for stage, count in stages.items())}"
    for peer in status.peers:
        yield ""
        yield from _peer(peer, status.states, paint, now)
    yield from _nobodys(status.states, status.peers, paint, now)
    yield from _rest(details, paint)


def _family(family: FamilyStatus, paint: Palette) -> Iterator[str]:
    place = f": {family.address or 'no address'}"
    if family.interface:
        place += f" on {family.interface}"
    yield f"{paint.strong(f'IPv{family.family}')}{place}"
    if family.reason:
        yield f"  {paint.bad('unavailable')}: {family.reason}"
    elif family.phase != "on":
        yield f"  {paint.warn('going') if family.phase == 'going' else family.phase}"


def _keys(details: Details, paint: Palette, now: float) -> Iterator[str]:
    facts, history = details.keys, details.history
    if facts is None:
        return
    yield f"{paint.strong('keys')}: {facts.name}, layout {details.status.layout}"
    for key, check in facts.checks.items():
        seen = history.seen.get(key, now)
        newest = ", the newest" if key == history.newest else ""
        old = details.oldest_allowed and now - seen > details.oldest_allowed
        since = f"for {age(now - seen)}"
        shown = paint.warn(since) if old else since
        yield f"  key {key}: check value {check}, here {shown}{newest}"
    if history.rotated:
        yield f"  last rotation: {age(now - history.rotated)} ago"
    if facts.untried:
        yield f"  {paint.warn('not taken up yet')}: {facts.untried}"
    if facts.reason:
        since = f"since {age(now - facts.rejected_since)}"
        yield f"  {paint.bad('rejected')} {since}: {facts.reason}"
    for note in facts.notes:
        yield f"  {paint.warn('note')}: {note}"
    if not details.published:
        yield f"  {paint.warn('not published yet')}: the other nodes do not know of all this"


def _peer(
    peer: PeerProgress, states: Sequence[StateStatus], paint: Palette, now: float
) -> Iterator[str]:
    colour = paint.good if peer.stage == "encrypted" else paint.warn
    yield f"{paint.strong('peer')}: {peer.node} {colour(peer.stage)}"
    if peer.reason:
        yield f"  reason: {peer.reason}"
    for family, reason in peer.families.items():
        yield f"  IPv{family}: {reason}"
    if peer.ends:
        yield f"  address: {', '.join(peer.ends.values())}"
    own = [state for state in states if state.peer == peer.node]
    # those that all senders share are of use for this one too
    receiving = [s for s in states if s.receives and s.peer in (peer.node, "")]
    yield f"  sends with: {_in_use([s for s in own if not s.receives], peer.sends)}"
    yield f"  is sent to with: {_in_use(receiving, peer.sent)}"
    common = ", ".join(map(str, peer.common)) or "none"
    here = ", ".join(map(str, sorted({state.key for state in receiving}))) or "none"
    yield f"  keys at both ends: {common}; received here: {here}"
    yield from _transfer(own, now)


def _in_use(states: Iterable[StateStatus], key: int) -> str:
    if not key:
        return "nothing"
    found = [f"spi {spi_text(state.spi)}" for state in states if state.key == key]
    return ", ".join((f"key {key}", *dict.fromkeys(found)))


def _transfer(states: Sequence[StateStatus], now: float) -> Iterator[str]:
    if not states:
        return
    ways = []
    for receives, word in ((True, "received"), (False, "sent")):
        mine = [state for state in states if state.receives == receives]
        octets, packets = sum(s.bytes for s in mine), sum(s.packets for s in mine)
        ways.append(f"{size(octets)} {word} in {packets} packets")
    yield f"  transfer: {', '.join(ways)}"
    if last := max(state.last_used for state in states):
        yield f"  latest packet: {age(now - last)} ago"
    if failed := sum(state.integrity_failed for state in states):
        yield f"  not authentic: {failed} packets"
    if replayed := sum(state.replayed for state in states):
        yield f"  received again: {replayed} packets"
    if any(state.used_up for state in states):
        yield "  rotate the key: its packets are about to be used up"


def _nobodys(
    states: Sequence[StateStatus], peers: Sequence[PeerProgress], paint: Palette, now: float
) -> Iterator[str]:
    """Of no node that is known: those that all share, and what the kernel alone knows."""
    names = {peer.node for peer in peers}
    for peer in sorted({state.peer for state in states} - names):
        mine = [state for state in states if state.peer == peer]
        yield ""
        yield f"{paint.strong('states')}: {peer or 'for all nodes'}"
        for state in mine:
            way = "receives" if state.receives else "sends"
            yield f"  {way} with: key {state.key}, spi {spi_text(state.spi)}"
        yield from _transfer(mine, now)


def _rest(details: Details, paint: Palette) -> Iterator[str]:
    if details.errors:
        yield ""
        yield f"{paint.strong('dropped by the kernel')}, since the last rotation and in all:"
        for error in details.errors:
            yield from _error(error, paint)
    for text in details.status.doubtful:
        yield f"{paint.warn('left alone')}: {text}"
    for text in details.problems:
        yield f"{paint.bad('problem')}: {text}"


def _error(error: ErrorCount, paint: Palette) -> Iterator[str]:
    since = str(error.since_rotation)
    shown = paint.bad(since) if error.since_rotation else since
    yield f"  {error.name}: {shown} of {error.packets}: {error.meaning}"
    if error.hint:
        yield f"    {error.hint}"
