"""`felixpy status`: is the agent of this node running, in sync, content?"""

from __future__ import annotations

import argparse
import asyncio
import datetime
import importlib
import os
import sys
from collections import Counter
from pathlib import Path

import msgspec

from dataplane.dropped import Counts, Dropped, read_dropped
from dataplane.errors import DataplaneError
from felixpy import exits
from felixpy.config import Config, examine, read_local
from felixpy.console import Palette, say
from felixpy.rundir import owner, run_directory
from felixpy.status import BgpStatus, Status, StatusError, WireguardStatus, read


def run(arguments: argparse.Namespace) -> int:
    if arguments.what is not None:
        # not loaded for the plain status, which needs nothing of them
        return int(
            importlib.import_module(f"felixpy.commands.{arguments.what}.status").run(arguments)
        )
    config = examine(read_local(arguments.config, os.environ)).config
    directory = run_directory(Path(config.run_dir))
    pid = owner(directory)
    try:
        status = read(directory)
    except StatusError as error:
        say(f"felixpy: {error}", sys.stderr)
        return exits.FAILED
    if status is not None and status.pid != pid:
        status = None  # left by an agent that has ended, or not written yet by one that has begun
    dropped = None if status is None else _dropped()
    if arguments.json:
        say(_json(pid, status, dropped))
    else:
        _show(pid, status)
        if dropped is not None:
            _show_dropped(dropped)
        elif status is not None and _counts(config):
            say("  limited     unknown: the kernel tells its counters to root alone")
    if pid is None:
        return exits.NOT_RUNNING
    return exits.OK if status is not None and status.state == "running" else exits.NOT_WELL


def _dropped() -> Dropped | None:
    """What the kernel has counted; None for those whom it does not tell."""
    try:
        return asyncio.run(read_dropped((4, 6)))
    except DataplaneError:
        return None


def _json(pid: int | None, status: Status | None, dropped: Dropped | None) -> str:
    found: dict[str, object] = {"state": "stopped" if pid is None else "starting"}
    if status is not None:
        found = {"state": status.state, **msgspec.to_builtins(status)}
        if dropped is not None:
            found["limited"] = _by_name(dropped.limited)
            found["forged"] = _by_name(dropped.forged)
            found["unencrypted"] = _by_name(dropped.clear)
    elif pid is not None:
        found["pid"] = pid
    return msgspec.json.format(msgspec.json.encode(found), indent=2).decode()


def _show(pid: int | None, status: Status | None) -> None:
    paint = Palette.of(sys.stdout)
    if pid is None:
        say(f"{paint.bad('stopped')}: rules of an earlier run, if any, stay in force")
        return
    if status is None:
        say(f"{paint.warn('starting')}: process {pid} has not said anything yet")
        return
    plane = status.dataplane
    colour = {"running": paint.good, "starting": paint.warn, "degraded": paint.bad}
    word = colour[status.state](status.state)
    who = f"felixpy {status.version} on {status.node}, process {pid}"
    say(f"{word}: {who}, {_since(status.started)}")
    store = status.datastore
    place = f"{store.type} ({store.location})" if store.type else ""
    say(f"  datastore   {_of(place)}{store.state}")
    say(f"  dataplane   {_of(plane.backend)}{plane.state}")
    if plane.last_write:
        ago = _since(plane.last_write, "ago")
        say(f"  last write  {ago}, took {plane.seconds * 1000:.1f} ms; {plane.writes} so far")
    counts = (
        (plane.workload_endpoints, "workload endpoint", "workload endpoints"),
        (plane.host_endpoints, "host endpoint", "host endpoints"),
        (plane.policies, "policy", "policies"),
        (plane.ipsets, "IP set", "IP sets"),
    )
    say(f"  in force    {', '.join(f'{n} {one if n == 1 else more}' for n, one, more in counts)}")
    if status.bgp is not None:
        say(f"  bgp         {_bgp(status.bgp)}")
    for each in status.wireguard:
        say(f"  wireguard   {_wireguard(each)}")
    for problem in status.problems:
        say(f"  {paint.bad('problem')}     {problem.area}: {problem.text}")
        say(f"              for {_since(problem.since, '')}")


_BGP_STATES = {
    "waiting": "waiting for datastore and dataplane",
    "away": "BIRD does not answer",
    "trying": "a new configuration is on trial",
    "refused": "the new configuration is refused",
    "undone": "the new configuration was undone",
}


def _bgp(bgp: BgpStatus) -> str:
    parts = [f"{bgp.up} of {bgp.sessions} sessions up"] if bgp.state != "waiting" else []
    if bgp.refused:
        parts.append(f"{bgp.refused} refused")
    if bgp.state in _BGP_STATES:
        parts.append(_BGP_STATES[bgp.state])
    if bgp.unguarded:
        parts.append(f"unguarded: {', '.join(bgp.unguarded)}")
    return "; ".join(parts)


_STAGES = {
    "no key": "without a key",
    "malformed key": "with a malformed key",
    "duplicate key": "with a duplicate key",
    "no address": "without an address",
    "waiting": "waiting for a handshake",
    "leaving": "leaving",
}


def _wireguard(status: WireguardStatus) -> str:
    total = sum(count for stage, count in status.stages.items() if stage != "leaving")
    parts = [f"{status.stages.get('ready', 0)} of {total} peers encrypted"]
    parts += [f"{count} {_STAGES[s]}" for s, count in status.stages.items() if s in _STAGES]
    if status.reason:
        parts.append(status.reason)
    return f"{'' if status.family == 4 else 'IPv6: '}{'; '.join(parts)}"


def _counts(config: Config) -> bool:
    return config.workload_to_host_packet_rate > 0 or config.fabric_spoof_protection != "Off"


def _show_dropped(dropped: Dropped) -> None:
    """Only what there is something of."""
    for name, packets in _by_name(dropped.limited).items():
        say(f"  limited     {packets} packets to the host dropped: {name}")
    for why, packets in _by_name(dropped.forged).items():
        say(f"  forged      {packets} packets from the fabric: {why}")
    for way, packets in _by_name(dropped.clear).items():
        say(f"  unencrypted {packets} packets dropped that must be encrypted: {way}")


def _by_name(counts: Counts) -> dict[str, int]:
    """Both families together, without those of 0, in order."""
    found: Counter[str] = Counter()
    for (_, name), packets in counts.items():
        found[name] += packets
    return {name: found[name] for name in sorted(found) if found[name]}


def _of(what: str) -> str:
    """What is in a state; before that is known, the state stands alone."""
    return f"{what}: " if what else ""


def _since(moment: str, word: str = "up") -> str:
    then = datetime.datetime.fromisoformat(moment)
    seconds = max(0, int((datetime.datetime.now(datetime.UTC) - then).total_seconds()))
    for unit, size in (("day", 86400), ("hour", 3600), ("minute", 60)):
        if seconds >= 2 * size:
            text = f"{seconds // size} {unit}s"
            break
    else:
        text = f"{seconds} s"
    return f"up {text}" if word == "up" else f"{text} {word}".rstrip()
