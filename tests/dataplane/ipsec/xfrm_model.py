"""A kernel's xfrm as far as it decides what becomes of a packet: one node's states and policies.

It refuses what the real one refuses, and a packet that is lost says by which counter.  Its rules:
the policy of the smallest priority; a template asks for the source unless that is anybody, and for
the SPI unless that is 0; what was decrypted must be judged by a template; a received packet finds
its state by destination and SPI alone.
Source: linux net/xfrm/xfrm_policy.c, __xfrm_policy_check, xfrm_policy_ok, xfrm_bundle_lookup;
net/xfrm/xfrm_input.c.
"""

from __future__ import annotations

from functools import lru_cache
from ipaddress import ip_address, ip_network
from typing import NamedTuple

from dataplane.ipsec.values import (
    ANYBODY,
    DECRYPTED,
    Direction,
    PolicyId,
    PolicyWish,
    Selector,
    StateId,
    StateWish,
    Template,
)


class LostError(Exception):
    """The name of the counter."""


class Packet(NamedTuple):
    source: str
    destination: str
    protocol: int = 17
    source_port: int = 40000
    destination_port: int = 8080


class Sealed(NamedTuple):
    """ESP: what is outside, and what a key and a life have made unreadable."""

    source: str
    destination: str
    spi: int
    check: str
    life: str
    ends: tuple[str, str]
    inner: Packet


class State(NamedTuple):
    wish: StateWish
    check: str  # of the key that it was made with

    @property
    def mark(self) -> int:
        return DECRYPTED if self.wish.receives else 0


class Xfrm:
    def __init__(self) -> None:
        self.states: dict[StateId, State] = {}
        self.policies: dict[PolicyId, PolicyWish] = {}
        self._by_packet: dict[tuple[Direction, Packet, int], PolicyWish | None] = {}
        self.used: set[tuple[str, str, StateId, str]] = set()

    # ---------------------------------------------------------------- requests

    def add_state(self, wish: StateWish, check: str) -> None:
        assert wish.id not in self.states, f"EEXIST {wish}"
        assert check, f"nobody has the key of {wish}"
        assert not self.has_counted(wish, check), f"a key has a second life: {wish}"
        self.used.add((check, wish.life, wish.id, wish.source))
        self.states[wish.id] = State(wish, check)

    def has_counted(self, wish: StateWish, check: str) -> bool:
        """Whether packets were numbered under this derived key before."""
        counts = bool(wish.life) and not wish.receives
        return counts and (check, wish.life, wish.id, wish.source) in self.used

    def delete_state(self, state: StateId) -> None:
        del self.states[state]

    def put_policy(self, wish: PolicyWish) -> None:
        self.policies[wish.id] = wish
        self._by_packet.clear()

    def delete_policy(self, policy: PolicyId) -> None:
        del self.policies[policy]
        self._by_packet.clear()

    def forget_all(self) -> None:
        """A reboot."""
        self.states.clear()
        self.policies.clear()
        self._by_packet.clear()

    # ---------------------------------------------------------------- packets

    def send(self, packet: Packet, mark: int) -> Sealed | None:
        """None: in clear."""
        policy = self._find("out", packet, mark)
        if policy is None:
            return None
        if policy.action == "block":
            raise LostError("XfrmOutPolBlock")
        if policy.template is None:
            return None
        template = policy.template
        state = self.states.get(StateId(template.destination, template.spi))
        if state is None or state.wish.source != template.source:
            raise LostError("XfrmOutNoStates")
        wish = state.wish
        ends = (template.source, template.destination)
        return Sealed(*ends, wish.id.spi, state.check, wish.life, ends, packet)

    def open(self, sealed: Sealed) -> State:
        state = self.states.get(StateId(sealed.destination, sealed.spi))
        if state is None:
            raise LostError("XfrmInNoStates")
        derived = (state.check, state.wish.life)
        if derived != (sealed.check, sealed.life):
            raise LostError("XfrmInStateProtoError")
        if state.wish.life and (state.wish.source, state.wish.id.destination) != sealed.ends:
            raise LostError("XfrmInStateProtoError")
        return state

    def judge(self, direction: Direction, packet: Packet, mark: int, by: State | None) -> None:
        """`by`: the state that has decrypted it."""
        policy = self._find(direction, packet, DECRYPTED if by is not None else mark)
        if policy is None:
            if by is not None:
                raise LostError("XfrmInNoPols")
            return
        if policy.action == "block":
            raise LostError("XfrmInPolBlock")
        template = policy.template
        if by is not None and (template is None or not _fits(template, by)):
            raise LostError("XfrmInTmplMismatch")
        if by is None and template is not None and not template.optional:
            raise LostError("XfrmInTmplMismatch")

    def _find(self, direction: Direction, packet: Packet, mark: int) -> PolicyWish | None:
        asked = (direction, packet, mark)
        if asked not in self._by_packet:
            self._by_packet[asked] = self._look_up(direction, packet, mark)
        return self._by_packet[asked]

    def _look_up(self, direction: Direction, packet: Packet, mark: int) -> PolicyWish | None:
        found: PolicyWish | None = None
        for name, policy in self.policies.items():
            if name.direction != direction or name.mark not in (0, mark):
                continue
            if found is not None and policy.priority > found.priority:
                continue
            if not _selects(name.selector, packet):
                continue
            same = found is not None and found.priority == policy.priority
            assert not same, f"two policies of one priority for {packet}: {found}, {policy}"
            found = policy
        return found


def _fits(template: Template, state: State) -> bool:
    anybody = ANYBODY.values()
    return (
        (template.source in anybody or template.source == state.wish.source)
        and template.destination == state.wish.id.destination
        and template.spi in (0, state.wish.id.spi)
    )


@lru_cache(maxsize=100_000)
def _selects(selector: Selector, packet: Packet) -> bool:
    return (
        contains(selector.source, packet.source)
        and contains(selector.destination, packet.destination)
        and selector.protocol in (0, packet.protocol)
        and selector.source_port in (0, packet.source_port)
        and selector.destination_port in (0, packet.destination_port)
    )


@lru_cache(maxsize=100_000)
def contains(net: str, address: str) -> bool:
    return ip_address(address) in ip_network(net)
