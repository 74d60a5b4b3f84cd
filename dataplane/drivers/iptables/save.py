"""What iptables-save (or iptables -S) says, as far as it concerns us.

    in   the lines of `iptables-save` without counters of rules
    out  per table: the ids in each chain of ours, and the rules of each kernel chain in order

A rule without an id in a chain of ours has the id "-", which no rule of ours can have.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from msgspec import Struct

from dataplane.errors import UnreadableError

# Prefixes of this and earlier releases of Felix; source: felix/iptables/table.go.
OWNED_PREFIXES = (
    "cali-", "califw-", "calitw-", "califh-", "calith-", "calipi-", "calipo-", "felix-",
)  # fmt: skip
NO_ID = "-"

_ID = re.compile(r'--comment "?cali:([A-Za-z0-9_-]+)"?')
_OLD_JUMP = re.compile(rf"(?:-j|-g|--jump|--goto) (?:{'|'.join(OWNED_PREFIXES)})\S*$")
# Masquerading that Felix did before it had rule ids.
_OLD_NAT = re.compile(r"--match-set felix-masq-ipam-pools |-o tunl0 .*-j MASQUERADE$")


class KernelRule(Struct, frozen=True):
    """A rule of a kernel chain; `id` is "" when it is not ours, "-" when ours without an id."""

    id: str
    text: str  # after "-A CHAIN "


class Contents(Struct):
    """A table as it was read; a kernel chain is one with a policy."""

    chains: dict[str, list[str]] = {}
    kernel: dict[str, list[KernelRule]] = {}


def is_owned(chain: str) -> bool:
    return chain.startswith(OWNED_PREFIXES)


class SaveParser:
    """Takes the lines in as many portions as suits the event loop."""

    def __init__(self, table: str = "") -> None:
        """`table` is the one that lines before any "*table" belong to, as in `iptables -S`."""
        self.tables: dict[str, Contents] = {}
        self.notes: list[str] = []
        self._name = table
        self._table = self.tables.setdefault(table, Contents()) if table else Contents()
        self._complete = True

    def feed(self, lines: Iterable[str]) -> None:
        chains = self._table.chains
        for line in lines:
            if line.startswith("-A "):
                name, _, text = line[3:].partition(" ")
                ids = chains.get(name)
                if ids is not None:
                    found = _ID.search(text)
                    ids.append(found[1] if found else NO_ID)
                elif (rules := self._table.kernel.get(name)) is not None:
                    rules.append(_kernel_rule(self._name, text))
            elif line:
                self._declaration(line)
                chains = self._table.chains

    def finish(self) -> dict[str, Contents]:
        """The tables; an UnreadableError when the text ended in the middle of one."""
        if not self._complete:
            raise UnreadableError(f"table {self._name}: the listing ends before COMMIT")
        return self.tables

    def _declaration(self, line: str) -> None:
        kind, rest = line[0], line[1:]
        if kind == "*":
            self._name, self._complete = rest.strip(), False
            self._table = self.tables.setdefault(self._name, Contents())
        elif kind == ":":
            name, policy = rest.split(" ")[:2]
            self._declare(name, builtin=policy != "-")
        elif line.startswith(("-P ", "-N ")):
            self._declare(line.split(" ")[1], builtin=kind == "-" and line[1] == "P")
        elif line == "COMMIT":
            self._complete = True
        elif kind == "#" and "incompatible" in line:
            self._note(line)

    def _declare(self, name: str, *, builtin: bool) -> None:
        if is_owned(name):
            self._table.chains[name] = []
        elif builtin:
            self._table.kernel[name] = []

    def _note(self, line: str) -> None:
        """iptables-nft-save remarks on rules it cannot show, and still ends with status 0.

        Additional base chains are harmless: iptables 1.8.9 shows all others in full.
        """
        if "incompatible base-chains" not in line:
            raise UnreadableError(line.lstrip("# "))
        self.notes.append(line.lstrip("# "))


def parse_save(text: str, table: str = "") -> dict[str, Contents]:
    """The whole text at once."""
    parser = SaveParser(table)
    parser.feed(text.splitlines())
    return parser.finish()


def _kernel_rule(table: str, text: str) -> KernelRule:
    if found := _ID.search(text):
        return KernelRule(found[1], text)
    ours = _OLD_JUMP.search(text) or (table == "nat" and _OLD_NAT.search(text))
    return KernelRule(NO_ID if ours else "", text)
