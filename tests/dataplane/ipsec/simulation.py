"""Several nodes, each with a Mesh and a kernel of its own; a datastore that is late; packets.

A node writes one thing at a time, in an order of `plan`; between any two writes of all nodes, every
workload and host sends to every other.  Which node goes on, how late a reader is, and how long an
encrypted packet travels, a seed decides.

    World.run        until nobody has anything to do
    World.lossless   from then on a packet that is lost is a failure
    World.closed     a packet of workloads in clear between nodes is a failure
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from itertools import product
from random import Random

from msgspec import structs

from calc_graph.model import IpPool, IpsecNode
from calc_graph.updates import (
    HostRemove,
    HostUpdate,
    IpsecPeer,
    IpsecPeerRemove,
    PoolUpdate,
    RouteType,
    RouteUpdate,
)
from dataplane.families import Family, family_of
from dataplane.ipsec import plan
from dataplane.ipsec.leaving import Leaving, policy_stays, state_stays
from dataplane.ipsec.life import Life, new_life
from dataplane.ipsec.mesh import Event, Mesh
from dataplane.ipsec.values import ENCRYPT, PolicyId, StateId, StateWish
from dataplane.settings import IpsecSettings
from tests.dataplane.ipsec.xfrm_model import LostError, Packet, Sealed, Xfrm, contains

POOLS = ("10.60.0.0/16", "fd60::/48")
MAX_HOPS = 4
_OTHER = StateWish(StateId("", 0), "", 0, receives=False)


class FailureError(AssertionError):
    pass


def check_of(key: int, salt: str = "") -> str:
    return f"{key:x}{salt}".ljust(16, "0")


def ring(*keys: int) -> dict[int, str]:
    """A key file, the newest first."""
    return {key: check_of(key) for key in keys}


class Node:
    """`file`: its key file.  `material`: what its process holds, key ID -> check value."""

    def __init__(self, world: World, number: int, file: Mapping[int, str]) -> None:
        self.world = world
        self.number = number
        self.name = f"n{number}"
        self.address: dict[Family, str] = {4: f"192.168.77.{number}", 6: f"fd77::{number:x}"}
        self.kernel = Xfrm()
        self.file = dict(file)
        self.main: dict[str, str] = {}  # net -> node, as the main table has it
        self.life = Life("", 0)
        self.mesh = Mesh(self.name, world.settings)
        self.start(reboot=True)

    # ---------------------------------------------------------------- its life

    def start(self, *, reboot: bool = False, known: Mapping[int, str] | None = None) -> None:
        """The agent, or the machine with it."""
        if reboot:
            self.kernel.forget_all()
            self.main = {}
        if reboot or not self.life.boot or self.is_plain():
            self.life = new_life(self.name, self.world.random.randbytes(16))
        else:
            known = dict(self.mesh.alive) if known is None else known
            self.life = Life(self.life.boot, self.life.tag, known)
        self.leaving: Leaving | None = None
        self.mesh = Mesh(self.name, self.world.settings)
        self.material: dict[int, str] = {}
        self.told: dict[str, str] = {}  # net -> node
        self.met: set[str] = set()  # ends of tunnels that records have told of
        self.record: IpsecNode | None = None
        self.inbox = [(0.0, event) for event in self.world.snapshot()]
        self.unpublished: list[tuple[float, IpsecNode]] = []
        self.mesh.life(self.life)
        self.read_file()
        for family in self.families:
            named = {i: p for i, p in self.kernel.policies.items() if _family(i) == family}
            states = {i: s.wish.source for i, s in self.kernel.states.items()}
            self.mesh.adopt(family, {i: s for i, s in states.items() if _end(i) == family})
            self.mesh.observe(family, {}, named)
        self.seen_states: dict[StateId, StateWish] = {}
        self.seen_policies = dict(self.kernel.policies)
        self.work = self._work()

    def is_plain(self) -> bool:
        """Nothing in the kernel counts under a key of before."""
        return not self.kernel.states

    def be_plain(self) -> None:
        """IPsec was never on."""
        self.work = self._route()

    def _route(self) -> Iterator[bool]:
        while True:
            took = self._take_in()
            self.main, self.due = dict(self.told), float("inf")
            yield took

    def read_file(self) -> None:
        self.mesh.keys(self.file)
        self.due = 0.0

    def leave(self) -> None:
        """IPsec is switched off on it."""
        self.leaving = Leaving(self.name, self.world.now)
        for event in self.world.snapshot():
            if isinstance(event, IpsecPeer | HostUpdate):
                self.leaving.update(event)
        self.unpublished.clear()
        self.record = None
        self.due = 0.0
        self.work = self._leave(self.leaving)

    def _leave(self, leaving: Leaving) -> Iterator[bool]:
        while True:
            if not self._take_in():
                yield False
                continue
            self.main = dict(self.told)
            left = self._advance(leaving)
            yield from self._remove(
                [
                    i
                    for i, s in self.kernel.states.items()
                    if not state_stays(leaving.phase, receives=s.wish.receives)
                ],
                [i for i, p in self.kernel.policies.items() if not policy_stays(leaving.phase, p)],
            )
            left = self._advance(leaving) or left
            if self.record != leaving.record:
                self.record = leaving.record
                self.unpublished.append((self.world.now + self.world.late(), leaving.record))
            if left and leaving.phase == "removing":
                self.due = 0.0
            yield True

    def _advance(self, leaving: Leaving) -> bool:
        """Whether anything is left."""
        policies = self.kernel.policies.items()
        out = any(i.direction == "out" and p.template is not None for i, p in policies)
        left = bool(self.kernel.policies or self.kernel.states)
        self.due = leaving.advance(self.world.now, sends=out, left=left)
        return left

    def flush(self) -> None:
        """Somebody takes all states; who notices makes a new life."""
        self.kernel.states.clear()
        self.new_life()
        self.work = self._work()

    def new_life(self) -> None:
        self.life = new_life(self.name, self.world.random.randbytes(16), self.mesh.alive)
        self.mesh.life(self.life)
        self.due = 0.0

    def next_hop(self, address: str) -> str:
        """The node that the main table sends to, this one for what it has itself, "" for none."""
        nets = [net for net in self.main if contains(net, address)]
        if nets:
            return self.main[max(nets, key=lambda net: int(net.partition("/")[2]))]
        return self.world.hosts.get(address, "")

    @property
    def families(self) -> list[Family]:
        return sorted(self.world.settings.families)

    # ---------------------------------------------------------------- its work

    def step(self) -> bool:
        """One write, or one look; whether there was anything to do."""
        return next(self.work)

    def _work(self) -> Iterator[bool]:
        while True:
            if not self._take_in():
                yield False
                continue
            self._settle()
            if self.world.random.random() < 0.5:
                self._publish()
            yield from self._additions(plan.PREPARING)
            self._settle()
            yield from self._additions(plan.ADDITIONS)
            self._settle()
            if self.world.random.random() < 0.5:
                yield from self._additions(plan.ADDITIONS)
                self._settle()
            yield from self._removals(plan.REMOVALS_BEFORE_MAIN)
            self.main = dict(self.told)
            known = [p for p in self.mesh.progress().values() if p.reason != "has no record"]
            self.met = {address for peer in known for address in peer.ends.values()}
            yield True
            yield from self._additions(plan.ADDITIONS_AFTER_MAIN)
            yield from self._removals(plan.REMOVALS_BEFORE_ROUTES + plan.REMOVALS_AFTER_ROUTES)
            self._settle()
            self._publish()
            self.due = min(self.due, 0.0 if self._unfinished() else self.due)
            yield True

    def _take_in(self) -> bool:
        now, arrived = self.world.now, 0
        while arrived < len(self.inbox) and self.inbox[arrived][0] <= now:
            event = self.inbox[arrived][1]
            self.mesh.update(event)
            if self.leaving is not None and isinstance(event, IpsecPeer | HostUpdate | HostRemove):
                self.leaving.update(event)
            if isinstance(event, RouteUpdate):
                self.told[event.cidr] = event.node
            arrived += 1
        del self.inbox[:arrived]
        return bool(arrived) or now >= self.due

    def _settle(self) -> None:
        """The driver's loop: what is there as wished is told, until nothing follows from it."""
        for _ in range(20):
            self.due = self.mesh.resolve(self.world.now)
            self._hold_keys()
            if not self._observe():
                if self.mesh.needs_new_life:
                    self.new_life()
                    continue
                return
        raise FailureError(f"{self.name} does not come to rest")

    def _hold_keys(self) -> None:
        alive = self.mesh.alive
        self.material = {k: c for k, c in self.material.items() if alive.get(k) == c}
        self.material.update({k: c for k, c in self.file.items() if alive.get(k) == c})

    def _observe(self) -> bool:
        there, policies = self._there(), self.kernel.policies
        changed = False
        for family in self.families:
            self.mesh.take_changes(family)
            of_states = {
                i: there.get(i)
                for i in self.seen_states.keys() | there.keys()
                if _end(i) == family and self.seen_states.get(i) != there.get(i)
            }
            of_policies = {
                i: policies.get(i)
                for i in self.seen_policies.keys() | policies.keys()
                if _family(i) == family and self.seen_policies.get(i) != policies.get(i)
            }
            if of_states or of_policies:
                changed = True
                self.mesh.observe(family, of_states, of_policies)
        self.seen_states, self.seen_policies = there, dict(policies)
        return changed

    def _there(self) -> dict[StateId, StateWish]:
        """States that are there as they were wished for: by their keys, where we have those."""
        found: dict[StateId, StateWish] = {}
        for family in self.families:
            for name, wish in self.mesh.states(family).items():
                state = self.kernel.states.get(name)
                if state is None or state.wish.source != wish.source:
                    continue
                check = self.material.get(wish.key)
                derived = (state.check, state.wish.life, state.wish.receives)
                if check is None or derived == (check, wish.life, wish.receives):
                    found[name] = wish
        return found

    def _additions(self, stages: tuple[plan.Stage, ...]) -> Iterator[bool]:
        there = self._there()
        present = {i: there.get(i, _OTHER) for i in self.kernel.states}
        held = self.kernel.policies
        for family in self.families:
            states, policies = self.mesh.states(family), self.mesh.policies(family)
            for puts in plan.additions(
                [wish for name, wish in states.items() if present.get(name) != wish],
                [wish for name, wish in policies.items() if held.get(name) != wish],
                present_policies=dict(held),
            ):
                if puts.stage not in stages:
                    continue
                for policy in puts.policies:
                    self.kernel.put_policy(policy)
                    yield True
                for state in puts.states:
                    if state.id in present:
                        self.kernel.delete_state(state.id)
                        yield True
                    check = self.material.get(state.key, "")
                    if self.kernel.has_counted(state, check):
                        self.new_life()
                        return
                    self.kernel.add_state(state, check)
                    yield True

    def _removals(self, stages: tuple[plan.Stage, ...]) -> Iterator[bool]:
        states = {i for family in self.families for i in self.mesh.states(family)}
        policies = {i for family in self.families for i in self.mesh.policies(family)}
        yield from self._remove(
            [i for i in self.kernel.states if i not in states],
            [i for i in self.kernel.policies if i not in policies],
            stages,
        )

    def _remove(
        self,
        states: list[StateId],
        policies: list[PolicyId],
        stages: tuple[plan.Stage, ...] = (),
    ) -> Iterator[bool]:
        """`stages`: () for all of them."""
        held, kept = self.kernel.states, self.kernel.policies
        for removals in plan.removals(
            {name: held[name].wish for name in states if name in held},
            {name: kept[name] for name in policies if name in kept},
        ):
            if stages and removals.stage not in stages:
                continue
            for state in removals.states:
                self.kernel.delete_state(state)
                yield True
            for policy in removals.policies:
                self.kernel.delete_policy(policy)
                yield True

    def _unfinished(self) -> bool:
        there = self._there()
        for family in self.families:
            if any(there.get(i) != wish for i, wish in self.mesh.states(family).items()):
                return True
            policies = {i: p for i, p in self.kernel.policies.items() if _family(i) == family}
            if policies != dict(self.mesh.policies(family)):
                return True
            states = {i for i in self.kernel.states if _end(i) == family}
            if states != set(self.mesh.states(family)):
                return True
        return False

    def _publish(self) -> None:
        record = self.mesh.record
        if record != self.record:
            self.record = record
            self.unpublished.append((self.world.now + self.world.late(), record))

    def post(self) -> bool:
        """Hand the datastore what is due; whether anything was."""
        if not self.unpublished or self.unpublished[0][0] > self.world.now:
            return False
        _, record = self.unpublished.pop(0)
        self.world.put(IpsecPeer(self.name, record))
        return True


class World:
    """`lateness`: seconds that a record takes at most, to the datastore and from there again."""

    def __init__(
        self, seed: int, settings: IpsecSettings, *, nodes: int = 3, lateness: float = 5.0
    ) -> None:
        self.random = Random(seed)
        self.seed = seed
        self.settings = settings
        self.lateness = lateness
        self.now = 1.0
        self.nodes: dict[str, Node] = {}
        self.facts: dict[tuple[str, str], Event] = {}  # the datastore
        self.place: dict[str, str] = {}  # address of a workload -> node
        self.hosts: dict[str, str] = {}  # address of a node -> node
        self.lossless = False
        self.closed = not settings.allow_clear
        self.hosts_closed = False  # a packet between hosts in clear is a failure
        self.excused: set[str] = set()  # addresses and nodes whose packets may be lost
        self.lost: dict[str, int] = {}
        self.in_clear = self.sealed = 0
        self.travelling: list[tuple[float, Sealed]] = []
        self.writes = 0
        self._said_between: tuple[tuple[str, str], ...] = ()
        self._said: list[Packet] = []
        for cidr in POOLS:
            self.put(PoolUpdate(IpPool(cidr)))
        for number in range(1, nodes + 1):
            self.join(number, {})

    # ---------------------------------------------------------------- the datastore

    def put(self, event: Event) -> None:
        key = _key_of(event)
        if isinstance(event, HostRemove | IpsecPeerRemove):
            self.facts.pop(key, None)
        else:
            self.facts[key] = event
        for node in self.nodes.values():
            last = node.inbox[-1][0] if node.inbox else 0.0
            node.inbox.append((max(last, self.now + self.late()), event))

    def snapshot(self) -> list[Event]:
        events = list(self.facts.values())
        self.random.shuffle(events)
        return events

    def late(self) -> float:
        return self.random.random() ** 3 * self.lateness

    # ---------------------------------------------------------------- what happens

    def join(self, number: int, file: Mapping[int, str]) -> Node:
        node = Node(self, number, file)
        self.nodes[node.name] = node
        v4, v6 = node.address[4], node.address[6]
        for address in (v4, v6):
            self.hosts[address] = node.name
        self.put(HostUpdate(node.name, v4, v6))
        for block in (f"10.60.{number}.0/26", f"fd60:0:0:{number:x}::/122"):
            self.place_net(block, node.name)
        for address in (f"10.60.{number}.2", f"fd60:0:0:{number:x}::2"):
            self.place[address] = node.name
        return node

    def place_net(self, cidr: str, node: str) -> None:
        """The route of a net: each node hears of its own place in it."""
        fact = RouteUpdate(cidr, RouteType.REMOTE_WORKLOAD, "no-encap", node)
        self.put(fact)

    def borrow(self, address: str, node: str) -> None:
        self.place[address] = node
        self.place_net(address + ("/128" if ":" in address else "/32"), node)

    def move_host(self, name: str, v4: str, v6: str) -> None:
        node = self.nodes[name]
        for address in node.address.values():
            del self.hosts[address]
        node.address = {4: v4, 6: v6}
        self.hosts.update(dict.fromkeys((v4, v6), name))
        self.put(HostUpdate(name, v4, v6))

    def leave(self, name: str) -> None:
        node = self.nodes.pop(name)
        for address in node.address.values():
            del self.hosts[address]
        self.place = {a: n for a, n in self.place.items() if n != name}
        self.put(IpsecPeerRemove(name))
        self.put(HostRemove(name))

    def give_keys(self, *keys: int, nodes: tuple[str, ...] = ()) -> None:
        for name in nodes or tuple(self.nodes):
            self.nodes[name].file = ring(*keys)
            self.nodes[name].read_file()

    # ---------------------------------------------------------------- time

    def run(self, *, until: Callable[[], bool] = lambda: False, steps: int = 20_000) -> None:
        """Until nobody has anything to do, whatever they wait for, or until something holds."""
        for _ in range(steps):
            if until() or not self.turn():
                return
        raise FailureError(f"seed {self.seed}: no end")

    def turns(self, count: int, seconds: float = 20.0) -> None:
        """So many things at most, in so much time at most: no grace time ends by itself."""
        end = self.now + seconds
        for _ in range(count):
            if not self.turn(end):
                return

    def turn(self, end: float = float("inf")) -> bool:
        """One thing happens; whether anything is left to happen before a time."""
        names = list(self.nodes)
        self.random.shuffle(names)
        for name in names:
            node = self.nodes[name]
            if node.post():
                return True
            if node.step():
                self.writes += 1
                self.now += self.random.random() * 0.02
                self.talk()
                return True
        return self._wait(end)

    def _wait(self, end: float) -> bool:
        waits = [t for t, _ in self.travelling]
        for node in self.nodes.values():
            waits += [node.due, *(t for t, _ in node.inbox[:1] + node.unpublished[:1])]
        later = [t for t in waits if t > self.now]
        if not later or min(later) >= end:
            return False
        self.now = min(later)
        self._deliver()
        return True

    # ---------------------------------------------------------------- packets

    def encrypt_hosts(self) -> None:
        """Agents that start from now on encrypt what nodes say themselves, which counts at once."""
        self.settings = structs.replace(self.settings, node_encryption=True)
        self._said_between = ()

    def talk(self) -> None:
        self._deliver()
        ends = (*self.place.items(), *self.hosts.items())
        if self._said_between != ends:
            self._said_between, self._said = ends, list(self._packets(ends))
        for packet in self._said:
            self.send(packet)

    def _packets(self, ends: tuple[tuple[str, str], ...]) -> Iterator[Packet]:
        """From everybody to everybody on another node; between hosts if that is encrypted."""
        for (source, here), (destination, there) in product(ends, ends):
            hosts = not self.settings.node_encryption
            hosts &= source in self.hosts and destination in self.hosts
            family = family_of(source)
            same = family == family_of(destination) and family in self.settings.families
            if here != there and not hosts and same:
                yield Packet(source, destination)

    def send(self, packet: Packet) -> None:
        here = self.nodes[self.place.get(packet.source) or self.hosts[packet.source]]
        from_host = packet.source in self.hosts
        if not from_host and here.next_hop(packet.source) != here.name:
            return  # it is not set up yet: that comes with the main table's routes
        try:
            if not from_host:
                here.kernel.judge("fwd", packet, ENCRYPT, None)
            self._emit(here, packet, 0 if from_host else ENCRYPT, 0)
        except LostError as lost:
            self._lose(packet, str(lost), here.name)

    def _emit(self, here: Node, packet: Packet, mark: int, hops: int) -> None:
        if hops > MAX_HOPS:
            raise LostError("goes in circles")
        sealed = here.kernel.send(packet, mark)
        if sealed is None:
            self._clear(here, packet)
        else:
            self.sealed += 1
            if self.random.random() < 0.05:
                self.travelling.append((self.now + self.random.random() * 1.9, sealed))
            else:
                self._arrive(sealed, hops)

    def _arrive(self, sealed: Sealed, hops: int) -> None:
        there = self.nodes.get(self.hosts.get(sealed.destination, ""))
        if there is None:
            raise LostError("no such node")
        state = there.kernel.open(sealed)
        packet = sealed.inner
        to_host = self.hosts.get(packet.destination) == there.name
        there.kernel.judge("in" if to_host else "fwd", packet, 0, state)
        if to_host:
            return
        if self.place.get(packet.destination) == there.name:
            if there.kernel.send(packet, state.mark) is not None:
                raise LostError(f"sent away by {there.name}, where it belongs")
            return
        self._emit(there, packet, state.mark, hops + 1)

    def _clear(self, here: Node, packet: Packet) -> None:
        to = here.next_hop(packet.destination)
        if to in ("", here.name):
            raise LostError("no route")
        self.in_clear += 1
        # What a host itself says and is told concerns IPsec only when it is known to take part.
        if self.closed and self._takes_part(here, packet):
            raise FailureError(f"seed {self.seed}: in clear from {here.name}: {packet}")
        there = self.nodes.get(to)
        if there is None or to not in (
            self.place.get(packet.destination),
            self.hosts.get(packet.destination),
        ):
            raise LostError("no such address there")
        there.kernel.judge("in" if packet.destination in self.hosts else "fwd", packet, 0, None)

    def _takes_part(self, here: Node, packet: Packet) -> bool:
        if packet.destination not in self.hosts:
            return True
        return self.hosts_closed if packet.source in self.hosts else packet.destination in here.met

    def _deliver(self) -> None:
        due = [sealed for at, sealed in self.travelling if at <= self.now]
        self.travelling = [(at, sealed) for at, sealed in self.travelling if at > self.now]
        for sealed in due:
            try:
                self._arrive(sealed, 0)
            except LostError as lost:
                self._lose(sealed.inner, f"{lost} on arrival", "")

    def _lose(self, packet: Packet, why: str, at: str) -> None:
        self.lost[why] = self.lost.get(why, 0) + 1
        ends = {packet.source, packet.destination}
        nodes = {self.place.get(e) or self.hosts.get(e, "") for e in ends}
        if self.lossless and not (ends | nodes) & self.excused:
            raise FailureError(f"seed {self.seed}: {why} at {at}, sent by {packet}")

    # ---------------------------------------------------------------- asked

    def stages(self) -> set[str]:
        return {p.stage for n in self.nodes.values() for p in n.mesh.progress().values()}

    def keys_in_use(self) -> set[int]:
        return {
            state.wish.key for node in self.nodes.values() for state in node.kernel.states.values()
        }


def _family(policy: PolicyId) -> Family:
    return family_of(policy.selector.destination)


def _end(state: StateId) -> Family:
    return family_of(state.destination)


def _key_of(event: Event) -> tuple[str, str]:
    match event:
        case IpsecPeer() | IpsecPeerRemove():
            return ("record", event.node)
        case HostUpdate() | HostRemove():
            return ("host", event.name)
        case PoolUpdate():
            return ("pool", event.pool.cidr)
        case _:
            return ("route", event.cidr)
