"""Nodes on one wire that encrypt by IPsec: tests.guest.wireguard_lab with other keys.

cluster.give(3, 4)                   key files of all nodes: the records of these IDs, in this order
cluster.give(3, nodes=[2])           that of some
cluster.until(lambda: …, "what")     asks again, and carries records meanwhile
cluster.sends(1, 2)                  the ID of the key that node 1 sends to node 2 with
cluster.kernel(1)                    its states and policies, of both families
with cluster.step("…") as step:      all flows and the wire, counted, and what xfrm has dropped

The laboratory is the operator's tooling, too: it carries the record that each agent publishes from
its status directory into the manifests of all.  `withheld` are nodes whose records it keeps to
itself.
"""

from __future__ import annotations

import asyncio
import importlib
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from signal import SIGHUP, SIGKILL
from typing import NamedTuple

import msgspec
from msgspec import Struct

from dataplane.ipsec.kernel import KernelPolicy, KernelState, open_xfrm
from tests.guest import ipsec_manifests, ipsec_wire
from tests.guest.wireguard_lab import ON_THE_WAY, Cluster, Step, within
from tests.kernel.conftest import Namespace

# An agent with IPsec imports it when it begins; as a fork it has it then.
importlib.import_module("dataplane.ipsec.netlink")

REQID = 1
NOTHING_MORE = 1.5  # seconds without another packet: what is not there by then is lost
_KEY_BITS = 0xF  # of an SPI
_FOREIGN_SPIS = 1 << 28  # from there on


class Received(Struct, frozen=True):
    id: int
    check: str


class Peering(Struct, frozen=True):
    node: str
    tag: int = 0
    sends: int = 0


class Record(Struct, frozen=True):
    """What a node publishes, as others read it."""

    enabled: bool = False
    layout: str = ""
    tag: int = 0
    boot: str = ""
    receive: list[Received] = []
    peers: list[Peering] = []

    @property
    def keys(self) -> set[int]:
        return {each.id for each in self.receive}


class Resource(Struct, frozen=True):
    spec: Record


class Kernel(NamedTuple):
    states: list[KernelState]
    policies: list[KernelPolicy]

    @property
    def ours(self) -> Kernel:
        """As far as a reqid tells, and an SPI: without what only blocks or allows."""
        return Kernel(
            [s for s in self.states if s.reqid == REQID and s.id.spi < _FOREIGN_SPIS],
            [p for p in self.policies if any(t.reqid == REQID for t in p.templates)],
        )

    @property
    def keys(self) -> set[int]:
        """IDs, of all states of ours."""
        return {state.id.spi & _KEY_BITS for state in self.ours.states}

    def __str__(self) -> str:
        return "\n".join(map(str, (*self.states, *self.policies)))


class IpsecStep(Step):
    """`dropped`: xfrm's counters, by node."""

    def __init__(self, what: str) -> None:
        super().__init__(what)
        self.dropped: Counter[str] = Counter()

    def seen(self, counts: Mapping[str, int]) -> None:
        self.encrypted += sum(n for what, n in counts.items() if what.startswith("esp"))
        super().seen({what: n for what, n in counts.items() if not what.startswith("esp")})

    def row(self) -> str:
        """Seconds, packets sent and lost, KiB of streams, packets of ESP and in clear, what."""
        names = self.sent.keys() - self.streamed.keys()
        sent = sum(self.sent[name] for name in names)
        lost = sum(self.lost(name) for name in names)
        streamed, clear = self.streamed.total() // 1024, self.clear.total()
        counts = f"{self.seconds:6.0f}{sent:8}{lost:8}{streamed:8}{self.encrypted:8}{clear:8}"
        return f"{counts}  {self.what}"

    def __str__(self) -> str:
        told = ", ".join(f"{name} {count}" for name, count in sorted(self.dropped.items()))
        hosts = ", ".join(f"{count} {what}" for what, count in self.hosts.most_common(4))
        parts = [super().__str__(), f"dropped: {told or 'nothing'}"]
        return "; ".join([*parts, f"hosts: {hosts}"] if hosts else parts)


class IpsecCluster(Cluster):
    def __init__(self, netns: Callable[[str], Namespace], directory: Path) -> None:
        super().__init__(netns, directory)
        self.counted: list[IpsecStep] = []
        self._replace_watcher()

    def _replace_watcher(self) -> None:
        self._programs.remove(self._watcher)
        self._watcher.end(SIGKILL)
        self._watcher = self._program(self.wire, ipsec_wire.watch_wire)
        assert self._watcher.line() == "ready"

    # ---------------------------------------------------------------- what the operator does

    def key_path(self, n: int) -> Path:
        return self.directory / f"keys-{n}"

    def give(
        self,
        *key_ids: int,
        nodes: Collection[int] = (),
        word: str = ipsec_manifests.RIGHT,
    ) -> None:
        """To all nodes, or to these, in one moment each."""
        for n in nodes or self.nodes:
            scratch = self.directory / f".keys-{n}"
            scratch.touch(mode=0o600)
            scratch.write_text(ipsec_manifests.key_file(*key_ids, word=word))
            scratch.rename(self.key_path(n))

    def configure(self, n: int) -> Path:
        path = super().configure(n)
        with path.open("a") as file:
            file.write(f"IPsecKeyFile = {self.key_path(n)}\n")
        return path

    def reload(self, **settings: str) -> None:
        """All agents, with these in their files instead of those before."""
        self.settings = settings
        for n, agent in self.agents.items():
            self.configure(n)
            agent.signal(SIGHUP)

    def carry_keys(self) -> None:
        """What each agent publishes, to all."""
        for n in self.nodes:
            name = f"ipsec-{n}.yaml"
            text = "" if n in self.withheld else self._published(n)
            if text and self.known.get(name) != text:
                self.write(name, text)
            elif not text and n not in self.withheld and name in self.known:
                self.remove(name)

    def leave(self, n: int) -> None:
        """Its resources go, in one moment each; its agent is stopped before."""
        self.withheld.add(n)
        for name in ("node-{}", "blocks-{}", "workload-w{}", "ipsec-{}"):
            self.remove(f"{name.format(n)}.yaml")

    # ---------------------------------------------------------------- what comes of it

    def _published(self, n: int) -> str:
        path = self.run_directory(n) / "status/felixpy/v1/ipsecnodes" / f"n{n}"
        try:
            return path.read_text()
        except FileNotFoundError:
            return ""

    def record(self, n: int) -> Record:
        text = self._published(n)
        return msgspec.json.decode(text, type=Resource).spec if text else Record()

    def sends(self, n: int, other: int) -> int:
        return next((p.sends for p in self.record(n).peers if p.node == f"n{other}"), 0)

    def all_send(self, key: int, *nodes: int) -> bool:
        """Each of these nodes, or of all, to each other one."""
        chosen = nodes or tuple(self.agents)
        return all(
            peering.sends == key
            for n in chosen
            for peering in self._peerings(n)
            if peering.node in {f"n{other}" for other in chosen}
        ) and all(len(self._peerings(n)) >= len(chosen) - 1 for n in chosen)

    def _peerings(self, n: int) -> list[Peering]:
        return self.record(n).peers

    def encrypted(self) -> bool:
        return all(self.sends(n, other) for n in self.agents for other in self.agents if other != n)

    def only_key(self, key: int) -> bool:
        """No state of another one is left on any node."""
        return all(self.kernel(n).keys == {key} for n in self.agents)

    def kernel(self, n: int) -> Kernel:
        async def ask() -> Kernel:
            xfrm = open_xfrm(REQID)
            try:
                return Kernel(
                    await xfrm.read_states(4) + await xfrm.read_states(6),
                    await xfrm.read_policies(4) + await xfrm.read_policies(6),
                )
            finally:
                xfrm.close()

        return within(self.nodes[n], lambda: asyncio.run(ask()))

    def dropped(self) -> Counter[str]:
        """By node and by xfrm's counter, since the start."""
        found: Counter[str] = Counter()
        for n, node in self.nodes.items():
            text = within(node, Path("/proc/thread-self/net/xfrm_stat").read_text)
            for line in text.splitlines():
                name, value = line.split()
                found[f"n{n} {name}"] += int(value)
        return found

    def table(self) -> str:
        """What became of the packets of all steps."""
        head = f"{'s':>6}{'sent':>8}{'lost':>8}{'KiB':>8}{'ESP':>8}{'clear':>8}"
        return "\n".join([head, *(step.row() for step in self.counted)])

    def told(self) -> str:
        parts = []
        for n in self.agents:
            parts += [f"--- node {n}", *self.problems(n), self._published(n)]
            parts += [str(self.kernel(n).ours), self.log(n)[-3000:]]
        return "\n".join(parts)

    # ---------------------------------------------------------------- what flows

    @contextmanager
    def step(self, what: str) -> Iterator[IpsecStep]:
        step = IpsecStep(what)
        before = self.dropped()
        self._begin_epoch()
        epoch, begun = str(self._epoch), time.monotonic()
        self._watcher.ask()
        try:
            yield step
        finally:
            self._begin_epoch()
            step.seconds = time.monotonic() - begun
            self._count_all(step, epoch)
            step.seen(self._watcher.ask())
            step.dropped = self.dropped() - before
            self.counted.append(step)
            print(step, flush=True)

    def _count_all(self, step: IpsecStep, epoch: str) -> None:
        """When everything has come, or nothing more comes: where AES has a worker of its own, that
        waits for its turn on a machine that is busy.
        """
        last, since = -1, time.monotonic()
        while True:
            time.sleep(ON_THE_WAY)
            self._count(step, epoch)
            missing = sum(step.lost(name) for name in step.sent.keys() - step.streamed.keys())
            if missing != last:
                last, since = missing, time.monotonic()
            if not missing or time.monotonic() - since >= NOTHING_MORE:
                return

    def _count(self, step: IpsecStep, epoch: str) -> None:
        for counter in (step.sent, step.received, step.streamed):
            counter.clear()
        for talker in self._talkers.values():
            counts = talker.ask()
            step.broken |= counts.get("broken", {})
            for kind in ("sent", "received", "streamed"):
                for name, by_epoch in counts.get(kind, {}).items():
                    if epoch in by_epoch:
                        getattr(step, kind)[name] += by_epoch[epoch]
