"""What the demo says: to people as it happens, or to programs as one JSON document at the end."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any, Protocol

import msgspec
from msgspec import Struct

from felixpy.console import Palette, say


class Flow(Struct, frozen=True):
    """A TCP connection that was tried, and the policy or profile that decided about it."""

    source: str
    target: str
    port: int
    open: bool
    by: str


class Teller(Protocol):
    """Told in this order; `refused` or `in_force` only where an act changes something."""

    def begins(self, workloads: int) -> None: ...
    def act(self, number: int, title: str) -> None: ...
    def writes(self, name: str, text: str) -> None: ...
    def refused(self, error: str) -> None: ...
    def in_force(self, milliseconds: float) -> None: ...
    def flows(self, flows: Sequence[Flow]) -> None: ...
    def ends(self) -> None: ...


class ToPeople:
    def __init__(self) -> None:
        self._paint = Palette.of(sys.stdout)
        self._before: dict[tuple[str, str], bool] = {}

    def begins(self, workloads: int) -> None:
        say(f"A node and {workloads} workloads in network namespaces; the host is untouched.")

    def act(self, number: int, title: str) -> None:
        say(f"\n{self._paint.strong(f'{number}. {title}')}")
        sys.stdout.flush()

    def writes(self, name: str, text: str) -> None:
        say(self._paint.faint(f"   {'write' if text else 'remove'} {name}"))
        for line in text.splitlines():
            say(self._paint.faint(f"   | {line}"))

    def refused(self, error: str) -> None:
        say(f"   {self._paint.bad('refused')}: {error}")

    def in_force(self, milliseconds: float) -> None:
        say(f"   {self._paint.good('in force')} after {milliseconds:.0f} ms")

    def flows(self, flows: Sequence[Flow]) -> None:
        """A line for each; an asterisk marks what the change has changed."""
        paint = self._paint
        say(paint.faint(f"   {'who':10} {'whom':10} {'port':9} {'verdict':9} by"))
        for flow in flows:
            word = paint.good("allowed  ") if flow.open else paint.bad("dropped  ")
            news = self._before.get((flow.source, flow.target), flow.open) != flow.open
            mark = paint.warn("*") if news else " "
            port = f"tcp/{flow.port}"
            say(f" {mark} {flow.source:10} {flow.target:10} {port:9} {word} {flow.by}")
        self._before = {(flow.source, flow.target): flow.open for flow in flows}

    def ends(self) -> None:
        say("\nNamespaces, rules and files of the demo are gone.")


class ToPrograms:
    """{"acts": [{"title", "files", "refused" or "milliseconds", "flows"}]}"""

    def __init__(self) -> None:
        self._acts: list[dict[str, Any]] = []

    def begins(self, workloads: int) -> None:
        """That is in the flows."""

    def act(self, number: int, title: str) -> None:
        del number
        self._acts.append({"title": title, "files": {}, "flows": []})

    def writes(self, name: str, text: str) -> None:
        self._acts[-1]["files"][name] = text

    def refused(self, error: str) -> None:
        self._acts[-1]["refused"] = error

    def in_force(self, milliseconds: float) -> None:
        self._acts[-1]["milliseconds"] = round(milliseconds, 1)

    def flows(self, flows: Sequence[Flow]) -> None:
        self._acts[-1]["flows"] = list(flows)

    def ends(self) -> None:
        text = msgspec.json.encode({"acts": self._acts})
        say(msgspec.json.format(text, indent=2).decode())
