"""One table: what is desired, what is in the kernel, and the edits that close the gap.  Pure.

    desire_chain, drop_chain, desire_hook    from above
    observe, observe_chain                   what was read
    plan() -> Plan                           what to write now; Plan.done() once it is in
    refuse(chain, reason)                    the kernel did not take it

A chain of ours is compared by the ids of its rules.  In the nf_tables backend a chain that differs
is flushed and filled in one transaction; in the legacy backend its rules are edited one by one,
because there that is as fast and keeps the counters of the rules before the first difference.
Rules in kernel chains are removed by value, never by number.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from msgspec import Struct

from dataplane.chains import Chain, rule_ids
from dataplane.drivers.iptables.blocks import Block, Edit
from dataplane.drivers.iptables.graph import ChainGraph
from dataplane.drivers.iptables.hooks import NO_HOOK, Hook, OwnRules, hook_rules, is_in_place
from dataplane.drivers.iptables.refusals import Held, hold_back
from dataplane.drivers.iptables.save import Contents, KernelRule

CLOSED_RULE = '-m comment --comment "Rules of this chain were refused" --jump DROP'


class Plan(Struct, frozen=True):
    """`write` first, then `delete` in a transaction of its own; None where there is nothing."""

    write: Block | None
    delete: Block | None
    ids: Mapping[str, str]  # chains of ours after the write
    kernel: Mapping[str, tuple[KernelRule, ...]]  # kernel chains after the write
    closed: frozenset[str]  # of `ids`, those that stand in for what was refused
    deleted: tuple[str, ...]

    def __bool__(self) -> bool:
        return self.write is not None or self.delete is not None


class Table:
    def __init__(self, name: str, *, legacy: bool, append: bool) -> None:
        self.name = name
        self.known = False  # whether `actual` can be relied upon
        self.refused: dict[str, str] = {}
        self.undeletable: dict[str, str] = {}
        self._legacy = legacy
        self._append = append
        self._graph = ChainGraph()
        self._hooks: dict[str, Hook] = {}
        self._dirty_hooks: set[str] = set()
        # Ids joined by spaces: a quarter of the memory of tuples.
        self._actual: dict[str, str] = {}
        self._kernel: dict[str, tuple[KernelRule, ...]] = {}

    # What should be

    def desire_chain(self, chain: Chain, *, forced: bool = False) -> None:
        if self._graph.desired.get(chain.name) != chain:
            self.refused.pop(chain.name, None)
        self._graph.desire(chain, forced=forced)

    def drop_chain(self, name: str) -> None:
        self.refused.pop(name, None)
        self._graph.drop(name)

    def desire_hook(self, chain: str, inserts: tuple[str, ...], appends: tuple[str, ...]) -> None:
        before = self._hooks.get(chain, NO_HOOK)
        hook = Hook(inserts, appends)
        if hook == before:
            return
        self.refused.pop(chain, None)
        self._hooks[chain] = hook
        self._dirty_hooks.add(chain)
        self._graph.refer(hook.targets())
        self._graph.release(before.targets())

    # What is

    def observe(self, contents: Contents, *, written_meanwhile: frozenset[str]) -> list[str]:
        """Take in a whole table; gives the chains that are not as they were believed to be.

        What was written since the listing began is known better than the listing can tell.
        """
        changed = []
        for name in {*self._actual, *contents.chains} - written_meanwhile:
            rules = contents.chains.get(name)
            if self.observe_chain(name, rules):
                changed.append(name)
        changed += [
            name
            for name in {*self._kernel, *contents.kernel} - written_meanwhile
            if self.observe_kernel_chain(name, contents.kernel.get(name, []))
        ]
        self.known = True
        # Whoever held on to them may be gone; reading is rare enough to try again.
        self._graph.dirty.update(self.undeletable)
        self.undeletable.clear()
        return changed

    def size(self) -> tuple[int, int]:
        """Chains of ours and the rules in them."""
        chains = list(self._actual.values())  # in one go: another thread may ask
        return len(chains), sum(len(ids.split()) for ids in chains)

    def observe_chain(self, name: str, ids: list[str] | None) -> bool:
        """Take in a chain of ours, None when it is not there; true when that is news."""
        actual = None if ids is None else " ".join(ids)
        if actual == self._actual.get(name):
            return False
        if actual is None:
            del self._actual[name]
        else:
            self._actual[name] = actual
        self.undeletable.pop(name, None)
        self._graph.dirty.add(name)
        return True

    def observe_kernel_chain(self, name: str, rules: Iterable[KernelRule]) -> bool:
        """Take in a kernel chain; true when our rules are no longer where they should be."""
        self._kernel[name] = tuple(rules)
        if is_in_place(self._kernel[name], self._expected(name), append=self._append):
            return False
        self._dirty_hooks.add(name)
        return True

    def concerns(self, chain: str) -> bool:
        """Whether a kernel chain is one in which we have, or had, rules."""
        return chain in self._hooks or any(rule.id for rule in self._kernel.get(chain, ()))

    def has_jumps(self, chain: str) -> bool:
        """Whether every rule of ours is in a kernel chain, be it in the wrong place."""
        expected = self._expected(chain)
        found = {rule.id for rule in self._kernel.get(chain, ())}
        return all(rule.id in found for rule in (*expected.inserts, *expected.appends))

    def is_hooked(self) -> bool:
        """Whether every kernel chain leads to ours, as far as is known."""
        return self.known and all(self.has_jumps(chain) for chain in self._hooks)

    def above_us(self, chain: str) -> list[str]:
        """The foreign rules before our first one."""
        above: list[str] = []
        for rule in self._kernel.get(chain, ()):
            if rule.id:
                return above
            above.append(rule.text)
        return []

    def forget(self) -> None:
        """Nothing that was read can be relied upon any more."""
        self.known = False

    # What to do

    def is_dirty(self, *, but_hooks: frozenset[str] = frozenset()) -> bool:
        return bool(self._graph.dirty or self._dirty_hooks - but_hooks or self.refused)

    def dirty_hooks(self) -> frozenset[str]:
        return frozenset(self._dirty_hooks)

    def refuse(self, chain: str, reason: str) -> None:
        self.refused[chain] = reason
        if chain not in self._hooks:
            self._graph.dirty.add(chain)

    def chains_of(self, block: Block) -> list[Chain]:
        """The desired chains that a block was to write."""
        names = {edit.chain for edit in block.edits}
        return [self._graph.desired[name] for name in sorted(names & self._graph.desired.keys())]

    def retry_refused(self) -> None:
        self.refused.clear()

    def problems(self) -> dict[str, str]:
        """Chains that are not what they should be, and cannot be for now."""
        return {**self.refused, **self.missing()}

    def plan(self, *, but_hooks: frozenset[str] = frozenset()) -> Plan:
        """The edits for everything dirty; hooks in `but_hooks` are left for later.

        Chains that turn out right are dirty no longer, so that the next plan is as small as what
        has changed by then.
        """
        missing = self.missing()
        held = self._hold(missing)
        ids: dict[str, str] = {}
        declared: list[Edit] = []
        filled: list[Edit] = []
        deleted: list[str] = []
        for name in sorted(self._graph.dirty - held.kept):
            chain = self._wanted(name, held.closed)
            if chain is None:
                self._plan_deletion(name, deleted)
            else:
                self._plan_chain(chain, ids, declared, filled)
        hooks, kernel = self._plan_hooks(held.kept, but_hooks)
        if held.kept or held.closed:
            deleted = []  # what keeps its old state may need any of them
        edits = (*declared, *filled, *hooks)
        write = Block(self.name, edits) if edits else None
        return Plan(write, self._deletion(deleted), ids, kernel, held.closed, tuple(deleted))

    def done(self, plan: Plan) -> None:
        """The plan's `write` is in the kernel."""
        self._actual.update(plan.ids)
        self._kernel.update(plan.kernel)
        self._graph.dirty.difference_update(plan.ids.keys() - plan.closed)
        self._dirty_hooks.difference_update(plan.kernel)

    def deleted(self, plan: Plan) -> None:
        """The plan's `delete` is in the kernel."""
        for name in plan.deleted:
            self._actual.pop(name, None)
            self._graph.dirty.discard(name)

    def undeleted(self, chain: str, reason: str) -> None:
        """The kernel keeps the chain: a rule that is not ours leads to it."""
        self.undeletable[chain] = reason
        self._graph.dirty.discard(chain)

    def _wanted(self, name: str, closed: frozenset[str]) -> Chain | None:
        if name in closed:
            return Chain(name, (CLOSED_RULE,))
        return self._graph.desired.get(name) if self._graph.is_programmed(name) else None

    def missing(self) -> dict[str, str]:
        """Chains that are led to and were never given: their referrers cannot be written."""
        return {
            name: "is referred to but has no rules"
            for name in self._graph.dirty
            if self._graph.is_programmed(name) and name not in self._graph.desired
        }

    def _hold(self, missing: Mapping[str, str]) -> Held:
        return hold_back(
            self._graph, self._hooks, self._actual, {*self.refused, *missing}, self.name
        )

    def _plan_chain(
        self, chain: Chain, ids: dict[str, str], declared: list[Edit], filled: list[Edit]
    ) -> None:
        name = chain.name
        want, have = rule_ids(name, chain.rules), self._actual.get(name)
        joined = " ".join(want)
        if joined == have:
            self._graph.dirty.discard(name)
            return
        ids[name] = joined
        if have is None or not self._legacy:
            declared.append(Edit(name, (f":{name} - -",)))
            have = ""
        filled.append(Edit(name, tuple(_rewrite(chain, want, have.split()))))

    def _plan_deletion(self, name: str, deleted: list[str]) -> None:
        if name in self._actual and name not in self.undeletable:
            deleted.append(name)
        else:
            self._graph.dirty.discard(name)

    def _deletion(self, names: list[str]) -> Block | None:
        if not names:
            return None
        # The flushes cut references among the deleted chains.
        flushes = [Edit(name, (f":{name} - -",)) for name in names]
        return Block(self.name, (*flushes, *(Edit(n, (f"--delete-chain {n}",)) for n in names)))

    def _expected(self, chain: str) -> OwnRules:
        return hook_rules(chain, self._hooks.get(chain, NO_HOOK))

    def _plan_hooks(
        self, kept: frozenset[str], but: frozenset[str]
    ) -> tuple[list[Edit], dict[str, tuple[KernelRule, ...]]]:
        edits, kernel = [], {}
        for name in sorted(self._dirty_hooks - kept - but):
            expected, rules = self._expected(name), self._kernel.get(name, ())
            if is_in_place(rules, expected, append=self._append):
                self._dirty_hooks.discard(name)
                continue
            lines = [f"-D {name} {rule.text}" for rule in rules if rule.id]
            lines += expected.lines(name, append=self._append)
            edits.append(Edit(name, tuple(lines)))
            kernel[name] = expected.around([r for r in rules if not r.id], append=self._append)
        return edits, kernel


def _rewrite(chain: Chain, want: tuple[str, ...], have: list[str]) -> Iterable[str]:
    """From the ids `have` to the chain, rule by rule."""
    name = chain.name
    for index, (rule_id, body) in enumerate(zip(want, chain.rules, strict=True)):
        text = f'-m comment --comment "cali:{rule_id}" {body}'.rstrip()
        if index >= len(have):
            yield f"-A {name} {text}"
        elif have[index] != rule_id:
            yield f"-R {name} {index + 1} {text}"
    for _ in range(len(want), len(have)):
        yield f"-D {name} {len(want) + 1}"
