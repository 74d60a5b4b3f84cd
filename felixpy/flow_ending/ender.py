"""Hold the flows that there are against the rules that have come into force.

    in   begin(settings)       a new dataplane, which is told everything again
         update(updates)       what it is told, before it is written
         applied(interfaces)   all of it is in the kernel
    out  `ended(count)`        after each round that ended flows

A flow that must be encrypted from now on ends as well, and begins again with its next packet.

What was in force before stays known as a judge of its own until the flows have been held against
what came after.  A round runs beside the agent's other work, in slices, and takes at most a tenth
of the time: changes that come meanwhile are the next round's.  It begins only when the rules are
in the kernel: earlier, the next packet would bring the entry back.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping
from itertools import islice
from typing import Final

import structlog

from calc_graph.judge import Flow, Judge, JudgeSettings, Reason, Step, Verdict
from calc_graph.updates import Update
from dataplane import ctnetlink
from dataplane.ctnetlink import TrackedFlow
from dataplane.drivers.conntrack import Conntrack
from dataplane.errors import DataplaneError
from dataplane.families import Family
from dataplane.interfaces import Interface
from dataplane.rtnetlink import FAMILIES
from felixpy.flow_ending.question import Machine
from felixpy.flow_ending.scope import EVERYTHING, Scope, Scopes
from felixpy.judging import host_view
from felixpy.lockout.words import render_place
from felixpy.ways import Ways

log = structlog.get_logger(__name__)

_SLICE: Final = 100  # listed flows between two turns of the event loop: some milliseconds
REST = 9.0  # times as long as a round took
_RETRY: Final = 10.0  # seconds after a kernel that did not answer
# A flow that is refused for another reason has lost its workload, or never was ours to judge.
_POLICY: Final = frozenset(
    (
        Reason.POLICY,
        Reason.TIER_END,
        Reason.PROFILE,
        Reason.NO_PROFILE,
        Reason.UNENFORCEABLE,
        Reason.ENDPOINT_TO_HOST,
    )
)


class FlowEnder:
    """`wake` is called when a round has ended, that `check` may be asked how."""

    def __init__(self, ended: Callable[[int], None], wake: Callable[[], None]) -> None:
        self._ended = ended
        self._wake = wake
        self._settings: JudgeSettings | None = None  # None: switched off
        self._now: Judge | None = None  # has heard everything
        self._before: Judge | None = None  # of what the flows were held against last, if less
        self._fresh = False  # what is told next is everything
        self._in_kernel = False
        self._scopes = Scopes()
        self._interfaces: Mapping[str, Interface] = {}
        self._conntrack = Conntrack()
        self._task: asyncio.Task[None] | None = None
        self._not_before = 0.0
        self._complaint = ""

    def begin(self, settings: JudgeSettings | None) -> None:
        """None: flows are left alone.  What was in force before the first time is not known."""
        old, self._settings, self._in_kernel = self._before or self._now, settings, False
        self._scopes = Scopes()
        if settings is None:
            self._now = self._before = None
        else:
            self._now, self._before, self._fresh = Judge(settings), old, True

    def update(self, updates: Iterable[Update]) -> None:
        if self._now is None:
            return
        updates = list(updates)
        for update in updates:
            self._scopes.update(update)
        self._in_kernel = False
        if self._fresh:
            self._fresh = False
            self._scopes.take()
            if self._before is not None:
                self._scopes.put_back(EVERYTHING)
        elif self._scopes.changed and self._before is None:
            self._before = self._now.fork()
        self._now.update(updates)

    def applied(self, interfaces: Mapping[str, Interface]) -> None:
        """`interfaces` may change on while a round runs."""
        self.check()
        self._in_kernel = True
        self._interfaces = interfaces
        if self._task is None and self._before is not None:
            self._task = asyncio.create_task(self._work(), name="flow ending")
            self._task.add_done_callback(lambda _: self._wake())

    def check(self) -> None:
        """Raises what ended the last round, if that was something nobody foresaw."""
        if self._task is not None and self._task.done():
            task, self._task = self._task, None
            task.result()

    async def close(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        self._conntrack.close()

    # ---------------------------------------------------------------- rounds

    async def _work(self) -> None:
        clock = asyncio.get_running_loop().time
        while True:
            await asyncio.sleep(max(0.0, self._not_before - clock()))
            before = self._before
            if before is None or not self._in_kernel:
                return
            self._before = None
            of_hosts, scope = self._scopes.of_hosts, self._scopes.take()
            started = clock()
            try:
                await self._round(before, scope, of_hosts=of_hosts)
            except DataplaneError as error:
                self._complain(str(error))
                self._before = before
                self._scopes.put_back(scope)
                self._not_before = clock() + _RETRY
            else:
                self._complaint = ""
                self._not_before = clock() + REST * (clock() - started)

    async def _round(self, before: Judge, scope: Scope, *, of_hosts: bool) -> None:
        view = host_view(self._interfaces.values())
        names = {interface.index: name for name, interface in self._interfaces.items()}
        ways = Ways(names, needed=of_hosts)
        machine = Machine(view, ways)
        count = 0
        try:
            for family in FAMILIES:
                if family == 4 or (self._settings is not None and self._settings.ipv6):
                    count += await self._family(family, before, scope, machine)
        finally:
            ways.close()
            if count:
                log.info("flows.ended", count=count)
                self._ended(count)

    async def _family(self, family: Family, before: Judge, scope: Scope, machine: Machine) -> int:
        count = 0
        bodies = iter(await self._conntrack.flows(family))
        while part := list(islice(bodies, _SLICE)):
            flows = []
            for body in part:
                ends = ctnetlink.ends(body)
                if ends is not None and scope.concerns(ends):
                    flows.append(ctnetlink.parse_flow(body, ends))
            beyond = {end for flow in flows for end in flow.ends if not machine.is_own(end)}
            await machine.ways.learn(beyond)
            over = [flow.identity for flow in flows if self._is_over(flow, before, machine)]
            if over:
                count += await self._conntrack.end(family, over)
            await asyncio.sleep(0)
        return count

    def _is_over(self, flow: TrackedFlow, before: Judge, machine: Machine) -> bool:
        """Allowed before, refused by what is in force, and by what is about to come."""
        newest, view = self._now, machine.view
        in_force = self._before or newest
        if newest is None or in_force is None:
            return False
        question = machine.question(flow, in_force)
        if question is None:
            return False
        verdict = in_force.judge(question, view)
        if not verdict.allowed and verdict.decision.reason not in _POLICY:
            return False
        if machine.question(flow, before) != question:
            return False
        if not _goes_less(before.judge(question, view), verdict):
            return False
        if newest is not in_force:
            moved = machine.question(flow, newest) != question
            if moved or _goes_on(newest.judge(question, view)):
                return False
        if flow.zoned or flow.expected:
            return False
        _say(question, verdict.decision)
        return True

    def _complain(self, reason: str) -> None:
        if reason != self._complaint:
            log.warning("flows.kept", reason=reason)
        self._complaint = reason


def _goes_on(verdict: Verdict) -> bool:
    return verdict.allowed and not verdict.encrypted


def _goes_less(before: Verdict, after: Verdict) -> bool:
    """It was allowed and is refused, or must be encrypted by now: the kernel notes that of a flow
    when it begins, so this one has to begin again.
    """
    if not after.allowed:
        return before.allowed
    return _goes_on(before) and not _goes_on(after)


def _say(question: Flow, decision: Step) -> None:
    log.debug(
        "flow.ended",
        protocol=question.protocol,
        source=str(question.source),
        source_port=question.source_port,
        destination=str(question.destination),
        destination_port=question.destination_port,
        by=render_place(decision),
    )
