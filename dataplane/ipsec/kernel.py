"""Requests to the kernel about states and policies of xfrm.

in   StateAdd, StateDelete, PolicyPut, PolicyDelete
out  an error number for each; KernelState, KernelPolicy; Changed and Expired notifications

There are thousands of these values, none of which leads back to itself: the garbage collector does
not look at them (`gc=False`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple, Protocol, TypeAlias

from msgspec import Struct

from dataplane.families import Family
from dataplane.ipsec.keys import Algorithm, Key, Material
from dataplane.ipsec.values import (
    DECRYPTED,
    EVERYWHERE,
    MARK_MASK,
    Action,
    Direction,
    PolicyId,
    PolicyWish,
    Selector,
    StateId,
    StateWish,
    Template,
)

ESP: Final = 50
TUNNEL: Final = 1
ALL_PACKETS: Final = {  # the selector of a state that is for all
    family: Selector(everywhere, everywhere) for family, everywhere in EVERYWHERE.items()
}


class Counters(Struct, frozen=True, gc=False):
    """Since it was made; times in seconds since 1970, 0: never.  `used`: for the first time."""

    bytes: int = 0
    packets: int = 0
    added: int = 0
    used: int = 0


class KernelState(Struct, frozen=True, gc=False):
    """A state, whoever made it.

    `fingerprint` equals that of the Material it was made with, in this process; b"": this kernel
    keeps keys to itself (lockdown), so nothing can be compared.  `algorithm` is None for what no
    Algorithm can say.  `limited`: some lifetime ends it; `soft_packets`, 0 for none, does not.
    """

    id: StateId
    source: str
    protocol: int = ESP
    mode: int = TUNNEL
    reqid: int = 0
    set_mark: int = 0
    set_mark_mask: int = 0
    mark: int = 0
    mark_mask: int = 0
    if_id: int = 0
    selector: Selector = Selector("0.0.0.0/0", "0.0.0.0/0")
    algorithm: Algorithm | None = None
    fingerprint: bytes = b""
    esn: bool = False
    replay_window: int = 0
    soft_packets: int = 0
    limited: bool = False
    plain: bool = True
    """Nothing is set that no field here tells of: encapsulation, offload, flags, ports' masks."""
    counters: Counters = Counters()
    last_used: int = 0
    """Seconds since 1970; 0 where no packet has come, or from a kernel before 6.2."""
    replayed: int = 0
    integrity_failed: int = 0

    @property
    def family(self) -> Family:
        return 6 if ":" in self.id.destination else 4

    def fits(self, wish: StateWish, reqid: int) -> bool:
        """Whether it is the one that was wished for, but for its key."""
        marks = (DECRYPTED, MARK_MASK) if wish.receives else (0, 0)
        return (
            self.id == wish.id
            and self.source == wish.source
            and (self.protocol, self.mode, self.reqid) == (ESP, TUNNEL, reqid)
            and (self.set_mark, self.set_mark_mask) == marks
            and self.mark_mask == 0
            and self.if_id == 0
            and self.selector == ALL_PACKETS[self.family]
            and self.esn == bool(wish.life)
            and self.plain
            and not self.limited
        )


class KernelTemplate(NamedTuple):
    source: str
    destination: str
    spi: int
    protocol: int
    mode: int
    reqid: int
    optional: bool
    plain: bool = True  # any algorithm will do


class KernelPolicy(Struct, frozen=True, gc=False):
    """A policy, whoever made it.

    `plain`: nothing is set that no field here tells of (a lifetime, flags, type, ports' masks).
    """

    direction: Direction
    selector: Selector
    priority: int
    action: Action
    mark: int = 0
    mark_mask: int = 0
    if_id: int = 0
    interface: int = 0
    templates: tuple[KernelTemplate, ...] = ()
    index: int = 0
    plain: bool = True
    counters: Counters = Counters()

    @property
    def family(self) -> Family:
        return 6 if ":" in self.selector.destination else 4

    @property
    def id(self) -> PolicyId | None:
        """None if none of ours can be called so."""
        if not self.has_name:
            return None
        return PolicyId(self.direction, self.selector, self.mark)

    @property
    def has_name(self) -> bool:
        """Whether one of ours can be called as this one."""
        marked = self.mark_mask == (MARK_MASK if self.mark else 0)
        return marked and self.plain and not (self.if_id or self.interface)

    def wish(self, reqid: int) -> PolicyWish | None:
        """The wish that this fulfils; None: no wish of ours can have led to it."""
        templates, template = self.templates, None
        if not self.has_name or templates[1:]:
            return None
        if templates:
            source, destination, spi, protocol, mode, its, optional, plain = templates[0]
            if (protocol, mode, its, plain) != (ESP, TUNNEL, reqid, True):
                return None
            template = Template(source, destination, spi, optional)
        name = PolicyId(self.direction, self.selector, self.mark)
        return PolicyWish(name, self.priority, self.action, template)


class StateAdd(Struct, frozen=True, gc=False):
    """EEXIST if there is one for its destination, SPI and protocol.  With a life: counts in ESN."""

    wish: StateWish
    material: Material


class StateDelete(Struct, frozen=True, gc=False):
    """ESRCH if there is none."""

    id: StateId


class PolicyPut(Struct, frozen=True, gc=False):
    """Make it, or exchange the one that is called so without a gap.

    Unless it may `replace`: then EEXIST if there is one, whatever its priority.  `index`: the
    number it is to have, its direction in the lowest three bits; 0: the kernel chooses one, as it
    does where that number is taken.  What is exchanged keeps the number it has.
    """

    wish: PolicyWish
    replace: bool = True
    index: int = 0


class PolicyDelete(Struct, frozen=True, gc=False):
    """ENOENT if there is none."""

    id: PolicyId


Change: TypeAlias = StateAdd | StateDelete | PolicyPut | PolicyDelete


class Changed(NamedTuple):
    """Somebody else has changed states or policies, or notifications were lost: look again."""

    states: bool
    policies: bool


class Expired(NamedTuple):
    """So many packets were sent that a new key is due; `hard`: the state is gone."""

    id: StateId
    hard: bool


class XfrmListener(Protocol):
    """Notifications from when it was made on.  Those of our own changes are left out."""

    async def receive(self) -> list[Changed | Expired]: ...  # waits for some; raises NetlinkError
    def close(self) -> None: ...


class Xfrm(Protocol):
    """What the driver needs of a kernel.  Everything raises NetlinkError if it does not answer."""

    async def read_states(self, family: Family) -> list[KernelState]: ...
    async def read_policies(self, family: Family) -> list[KernelPolicy]: ...
    async def change(self, changes: Sequence[Change]) -> list[int]: ...  # error numbers, 0: done
    async def trial(self, key: Key, family: Family = 4) -> str: ...  # why it cannot be used, or ""
    async def listen(self) -> XfrmListener: ...
    def close(self) -> None: ...


def open_xfrm(reqid: int) -> Xfrm:
    """That of the network namespace in which it is first used.

    What it needs is imported here: it costs 0.2 s and 12 MiB, and not everybody has IPsec.
    """
    from dataplane.ipsec.netlink import KernelXfrm

    return KernelXfrm(reqid)
