"""Which of the desired chains are programmed: those that a hook or a forced chain leads to.

References are counted only from chains that are programmed themselves, so the cost of a change is
that of the chain and of what comes and goes with it.  Source: section 1.1 of the rules reference.
"""

from __future__ import annotations

from collections.abc import Iterable

from dataplane.chains import Chain


class ChainGraph:
    def __init__(self) -> None:
        self.desired: dict[str, Chain] = {}
        # Chains that may differ from the kernel since the owner last emptied this.
        self.dirty: set[str] = set()
        self._targets: dict[str, frozenset[str]] = {}
        self._forced: set[str] = set()
        self._references: dict[str, int] = {}

    def desire(self, chain: Chain, *, forced: bool) -> None:
        name = chain.name
        if forced != (name in self._forced):
            self._force(name, forced=forced)
        if self.desired.get(name) == chain:
            return
        self.desired[name] = chain
        self._retarget(name, chain.targets())
        self.dirty.add(name)

    def drop(self, name: str) -> None:
        self._force(name, forced=False)
        if self.desired.pop(name, None) is not None:
            self._retarget(name, frozenset())
            self.dirty.add(name)

    def refer(self, names: Iterable[str]) -> None:
        """Hold chains in place from outside the graph: a hook, or `forced`."""
        pending = list(names)
        while pending:
            name = pending.pop()
            count = self._references.get(name, 0)
            self._references[name] = count + 1
            if count == 0:
                self.dirty.add(name)
                pending.extend(self._targets.get(name, ()))

    def release(self, names: Iterable[str]) -> None:
        pending = list(names)
        while pending:
            name = pending.pop()
            count = self._references[name] - 1
            if count:
                self._references[name] = count
            else:
                del self._references[name]
                self.dirty.add(name)
                pending.extend(self._targets.get(name, ()))

    def is_programmed(self, name: str) -> bool:
        return name in self._references

    def programmed(self) -> Iterable[str]:
        return self._references

    def targets(self, name: str) -> frozenset[str]:
        return self._targets.get(name, frozenset())

    def _force(self, name: str, *, forced: bool) -> None:
        if forced and name not in self._forced:
            self._forced.add(name)
            self.refer((name,))
        elif not forced and name in self._forced:
            self._forced.remove(name)
            self.release((name,))

    def _retarget(self, name: str, targets: frozenset[str]) -> None:
        before = self._targets.pop(name, frozenset())
        if targets:
            self._targets[name] = targets
        if self.is_programmed(name):
            # First the new ones, so that what both lead to is never taken for unwanted.
            self.refer(targets - before)
            self.release(before - targets)
