"""Our rules in a kernel chain: their ids, their lines, and whether they are where they should be.

Inserted rules stand before everybody else's, or with ChainInsertMode=Append behind them; appended
rules are always last.  Source: sections 1.1 and 1.12 of the rules reference.
"""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import Struct

from dataplane.chains import Chain, rule_ids
from dataplane.drivers.iptables.save import KernelRule


class Hook(Struct, frozen=True):
    """Bodies of rules, without "-A CHAIN" and id."""

    inserts: tuple[str, ...]
    appends: tuple[str, ...]

    def targets(self) -> frozenset[str]:
        return Chain("", self.inserts + self.appends).targets()


NO_HOOK = Hook((), ())


class OwnRules(Struct, frozen=True):
    inserts: tuple[KernelRule, ...]
    appends: tuple[KernelRule, ...]

    def around(self, foreign: Sequence[KernelRule], *, append: bool) -> tuple[KernelRule, ...]:
        """The whole kernel chain as it should be."""
        if append:
            return (*foreign, *self.inserts, *self.appends)
        return (*self.inserts, *foreign, *self.appends)

    def lines(self, chain: str, *, append: bool) -> list[str]:
        """The lines that put our rules into a chain that holds none of them."""
        if append:
            return [f"-A {chain} {rule.text}" for rule in (*self.inserts, *self.appends)]
        # Each goes before those already inserted.
        inserted = [f"-I {chain} 1 {rule.text}" for rule in reversed(self.inserts)]
        return inserted + [f"-A {chain} {rule.text}" for rule in self.appends]


def hook_rules(chain: str, hook: Hook) -> OwnRules:
    return OwnRules(_with_ids(chain, hook.inserts), _with_ids(f"{chain}*appends*", hook.appends))


def is_in_place(rules: Sequence[KernelRule], ours: OwnRules, *, append: bool) -> bool:
    foreign = [rule for rule in rules if not rule.id]
    expected = ours.around(foreign, append=append)
    return [rule.id for rule in rules] == [rule.id for rule in expected]


def _with_ids(name: str, bodies: tuple[str, ...]) -> tuple[KernelRule, ...]:
    return tuple(
        KernelRule(rule_id, f'-m comment --comment "cali:{rule_id}" {body}'.rstrip())
        for rule_id, body in zip(rule_ids(name, bodies), bodies, strict=True)
    )
