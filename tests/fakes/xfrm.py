"""States and policies of a kernel that only remembers, and refuses what a kernel refuses.

EEXIST    a state whose destination and SPI are taken, whatever its source; a policy that is there
          and is not to be exchanged
ESRCH     the removal of a state that is not there
ENOENT    the removal of a policy that is not there

The number of a policy is as asked for, unless it is taken: then, or if none is asked for, the
kernel's own counter gives one.  What is exchanged keeps its number.

journal   what was done, one line each: "+ state ...", "= policy ...", "- state ..."
fails     beginnings of lines that the journal is not to get: ENOMEM
"""

from __future__ import annotations

import asyncio
import errno
from collections.abc import Sequence

from msgspec import structs

from dataplane.families import Family
from dataplane.ipsec.kernel import (
    ESP,
    TUNNEL,
    Change,
    Changed,
    Expired,
    KernelPolicy,
    KernelState,
    KernelTemplate,
    PolicyDelete,
    PolicyPut,
    StateAdd,
    StateDelete,
    XfrmListener,
)
from dataplane.ipsec.keys import Key
from dataplane.ipsec.values import (
    DECRYPTED,
    EVERYWHERE,
    MARK_MASK,
    PolicyId,
    PolicyWish,
    Selector,
    StateId,
    StateWish,
)
from dataplane.netlink import NetlinkError


class FakeXfrm:
    def __init__(self, reqid: int = 1) -> None:
        self.reqid = reqid
        self.states: dict[StateId, KernelState] = {}
        self.policies: dict[PolicyId, KernelPolicy] = {}
        self.journal: list[str] = []
        self.fails: list[str] = []
        self.silent = 0  # an error number that it answers everything with
        self.reads = 0
        self.notices: asyncio.Queue[list[Changed | Expired]] = asyncio.Queue()
        self._counter = 0
        self._taken: set[int] = set()  # numbers of policies, before and during a batch

    # ------------------------------------------------------------ Xfrm

    async def read_states(self, family: Family) -> list[KernelState]:
        self._answer("listing states")
        self.reads += 1
        return [state for state in self.states.values() if state.family == family]

    async def read_policies(self, family: Family) -> list[KernelPolicy]:
        self._answer("listing policies")
        return [policy for policy in self.policies.values() if policy.family == family]

    async def change(self, changes: Sequence[Change]) -> list[int]:
        self._answer("changing")
        self._taken = {policy.index for policy in self.policies.values()}
        return [self._do(change) for change in changes]

    async def trial(self, key: Key, family: Family = 4) -> str:
        return ""

    async def listen(self) -> XfrmListener:
        return self

    async def receive(self) -> list[Changed | Expired]:
        return await self.notices.get()

    def close(self) -> None:
        """There is nothing to close."""

    # ------------------------------------------------------------ the world

    def put_state(self, state: KernelState) -> None:
        """Somebody else's hand."""
        self.states[state.id] = state

    def put_policy(self, policy: KernelPolicy) -> None:
        """Somebody else's hand."""
        assert policy.id is not None
        self.policies[policy.id] = policy

    def flush(self, *, states: bool = False, policies: bool = False) -> None:
        if states:
            self.states.clear()
        if policies:
            self.policies.clear()
        self.notices.put_nowait([Changed(states, policies)])

    def take_journal(self) -> list[str]:
        found, self.journal = self.journal, []
        return found

    # ------------------------------------------------------------ requests

    def _answer(self, doing: str) -> None:
        if self.silent:
            raise NetlinkError(doing, self.silent)

    def _do(self, change: Change) -> int:
        match change:
            case StateAdd(wish=wish, material=material):
                name = wish.id
                text = f"state {name.destination} {name.spi:#x}"
                if not self._note(f"+ {text}"):
                    return errno.ENOMEM
                if name in self.states:
                    return self._refuse(errno.EEXIST)
                state = kernel_state(wish, self.reqid)
                self.states[name] = structs.replace(
                    state, algorithm=material.algorithm, fingerprint=material.fingerprint
                )
            case StateDelete(id=name):
                if not self._note(f"- state {name.destination} {name.spi:#x}"):
                    return errno.ENOMEM
                if self.states.pop(name, None) is None:
                    return self._refuse(errno.ESRCH)
            case PolicyPut():
                return self._put(change)
            case PolicyDelete(id=policy):
                if not self._note(f"- policy {described(policy)}"):
                    return errno.ENOMEM
                gone = self.policies.pop(policy, None)
                if gone is None:
                    return self._refuse(errno.ENOENT)
                self._taken.discard(gone.index)
        return 0

    def _put(self, change: PolicyPut) -> int:
        wish = change.wish
        there = self.policies.get(wish.id)
        what = "tunnel" if wish.template is not None else wish.action
        sign = "+" if there is None else "="
        if not self._note(f"{sign} policy {described(wish.id)} {what}"):
            return errno.ENOMEM
        if there is not None and not change.replace:
            return self._refuse(errno.EEXIST)
        index = self._index(change.index) if there is None else there.index
        self.policies[wish.id] = kernel_policy(wish, self.reqid, index)
        return 0

    def _index(self, asked: int) -> int:
        if asked and asked not in self._taken:
            self._taken.add(asked)
            return asked
        self._counter += 8
        return self._counter

    def _note(self, line: str) -> bool:
        if any(line.startswith(start) for start in self.fails):
            return False
        self.journal.append(line)
        return True

    def _refuse(self, code: int) -> int:
        self.journal[-1] += f" ({errno.errorcode[code]})"
        return code


def described(policy: PolicyId) -> str:
    mark = f" mark {policy.mark:#x}" if policy.mark else ""
    return f"{policy.direction} {policy.selector.source} {policy.selector.destination}{mark}"


def kernel_state(wish: StateWish, reqid: int = 1) -> KernelState:
    """What a kernel makes of a wish, but for its key."""
    family: Family = 6 if ":" in wish.id.destination else 4
    everywhere = EVERYWHERE[family]
    return KernelState(
        wish.id,
        wish.source,
        reqid=reqid,
        set_mark=DECRYPTED if wish.receives else 0,
        set_mark_mask=MARK_MASK if wish.receives else 0,
        selector=Selector(everywhere, everywhere),
        esn=bool(wish.life),
        replay_window=1024 if wish.life else 0,
    )


def kernel_policy(wish: PolicyWish, reqid: int = 1, index: int = 0) -> KernelPolicy:
    templates: tuple[KernelTemplate, ...] = ()
    if wish.template is not None:
        found = wish.template
        templates = (
            KernelTemplate(
                found.source, found.destination, found.spi, ESP, TUNNEL, reqid, found.optional
            ),
        )
    return KernelPolicy(
        wish.id.direction,
        wish.id.selector,
        wish.priority,
        wish.action,
        mark=wish.id.mark,
        mark_mask=MARK_MASK if wish.id.mark else 0,
        templates=templates,
        index=index,
    )
