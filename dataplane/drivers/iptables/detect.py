"""Which iptables to drive: the nf_tables or the legacy one, by which programs, and why.

Source: section 5.1 of the rules reference with the corrections of section 11: the program that is
used is asked what it is, and a host without rules gets what plain `iptables` is there.
"""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path
from typing import Literal

from msgspec import Struct

from dataplane.errors import CommandMissingError, DataplaneError
from dataplane.families import Family
from dataplane.runner import SEARCH_PATH, Runner

Kind = Literal["nft", "legacy"]
Version = tuple[int, int, int]

OLDEST: Version = (1, 4, 7)  # what an unreadable version is taken for, as Felix does
_OLDEST_KERNEL: Version = (3, 10, 0)
_HINTS = ("KUBE-IPTABLES-HINT", "KUBE-KUBELET-CANARY")
_VERSION = re.compile(r"(\d+)\.(\d+)(?:\.(\d+))?")


class Backend(Struct, frozen=True):
    """The programs of one family and what they can do; `reason` is for the log."""

    kind: Kind
    family: Family
    command: str
    save: str
    restore: str
    version: Version = (1, 8, 9)
    restore_wait: bool = True
    wait_interval: bool = False
    random_fully: bool = True
    reason: str = ""


class Probe(Struct, frozen=True):
    """What was found of one kind: its rules, -1 when it could not or should not be asked."""

    installed: bool
    rules: int = -1
    hinted: bool = False


def choose(setting: str, nft: Probe, legacy: Probe, plain: Kind) -> tuple[Kind, str]:
    """The kind and the reason.  Pure.  A setting wins; `plain` is what `iptables` itself is."""
    counts = f"rules: nft {_count(nft)}, legacy {_count(legacy)}"
    if setting in ("nft", "legacy"):
        return ("nft" if setting == "nft" else "legacy"), f"as configured; {counts}"
    if not legacy.installed or not nft.installed:
        kind: Kind = "nft" if nft.installed else "legacy"
        return (kind if nft.installed or legacy.installed else plain), f"the only one; {counts}"
    if nft.hinted:
        return "nft", f"the kubelet's hint is there; {counts}"
    if legacy.hinted:
        return "legacy", f"the kubelet's hint is there; {counts}"
    if legacy.rules <= 0 and nft.rules <= 0:
        if legacy.rules < 0 and plain == "legacy":
            return "nft", f"no rules, and no legacy tables in the kernel; {counts}"
        return plain, f"no rules, so what plain iptables is; {counts}"
    if legacy.rules >= nft.rules:
        return "legacy", f"the more rules; {counts}"
    return "nft", f"the more rules; {counts}"


async def detect(setting: str, family: Family, runner: Runner) -> Backend:
    """The backend of a family; raises CommandMissingError when there is no iptables at all."""
    base = "iptables" if family == 4 else "ip6tables"
    plain = await _plain_kind(base, runner)
    nft, legacy = await _probe("nft", family, runner), await _probe("legacy", family, runner)
    kind, reason = choose(setting, nft, legacy, plain)
    return await describe(kind, family, runner, reason=reason)


async def describe(kind: Kind, family: Family, runner: Runner, *, reason: str = "") -> Backend:
    """A backend of that kind, or of the one that the only installed programs turn out to be."""
    base = "iptables" if family == 4 else "ip6tables"
    command = f"{base}-{kind}" if installed(kind, family) else base
    if not _which(f"{command}-restore") or not _which(f"{command}-save"):
        raise CommandMissingError(f"{command}-restore")
    spoken = await runner.run(f"{command}-restore", "--version")
    actual: Kind = "nft" if "nf_tables" in spoken else "legacy"
    if actual != kind:
        reason += f"; {kind} is not installed, {command} is {actual}"
    version = parse_version(spoken, OLDEST)
    kernel = parse_version(os.uname().release, _OLDEST_KERNEL)
    return Backend(
        kind=actual,
        family=family,
        command=command,
        save=f"{command}-save",
        restore=f"{command}-restore",
        version=version,
        restore_wait=version >= (1, 6, 2),
        wait_interval=(1, 6, 2) <= version < (1, 8, 8),  # ignored with a warning since
        random_fully=version >= (1, 6, 2) and kernel >= (3, 14, 0),
        reason=reason,
    )


def installed(kind: Kind, family: Family) -> bool:
    base = "iptables" if family == 4 else "ip6tables"
    return all(_which(f"{base}-{kind}{part}") for part in ("-save", "-restore"))


def legacy_tables(family: Family) -> list[str]:
    """The legacy tables that exist in this network namespace; asking makes none."""
    names = "ip_tables_names" if family == 4 else "ip6_tables_names"
    try:
        return Path(f"/proc/thread-self/net/{names}").read_text().split()
    except OSError:
        return []


def parse_version(text: str, otherwise: Version) -> Version:
    found = _VERSION.search(text)
    if found is None:
        return otherwise
    return int(found[1]), int(found[2]), int(found[3] or 0)


async def _plain_kind(base: str, runner: Runner) -> Kind:
    try:
        spoken = await runner.run(base, "--version")
    except DataplaneError:
        return "nft"
    return "nft" if "nf_tables" in spoken else "legacy"


async def _probe(kind: Kind, family: Family, runner: Runner) -> Probe:
    """Legacy is asked only about tables that exist: a look would make the kernel load them."""
    if not installed(kind, family):
        return Probe(installed=False)
    if kind == "legacy" and not legacy_tables(family):
        return Probe(installed=True)
    base = "iptables" if family == 4 else "ip6tables"
    try:
        text = await runner.run(f"{base}-{kind}-save")
    except DataplaneError:
        return Probe(installed=True)
    hinted = any(f":{hint} " in text for hint in _HINTS)
    return Probe(installed=True, rules=text.count("\n-A "), hinted=hinted)


def _which(program: str) -> bool:
    return shutil.which(program, path=SEARCH_PATH) is not None


def _count(probe: Probe) -> str:
    if not probe.installed:
        return "not installed"
    return "unknown" if probe.rules < 0 else str(probe.rules)
