"""Nodes on one wire, each with a real agent over manifests of its own, and workloads that talk.

cluster.add(3)                       a node, its workload and its manifests, known to all
cluster.start(3), .stop(3)           its agent
cluster.write("pools.yaml", …)       a manifest of all nodes
cluster.until(lambda: …, "what")     asks again, and carries keys meanwhile
with cluster.step("…") as step:      all flows and the wire, counted: step.clear, step.lost(flow)

The laboratory is the operator's tooling, too: it carries each node's public key from the agent's
status directory into the Node manifests of all.  `withheld` are nodes whose keys it keeps to
itself, `claimed` says others in place of theirs.
"""

from __future__ import annotations

import asyncio
import importlib
import socket
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from signal import SIGKILL, SIGTERM
from typing import Any, TypeVar

import msgspec

from dataplane.settings import WIREGUARD_DEVICES
from dataplane.wireguard.kernel import KernelDevice
from dataplane.wireguard.state import DeviceState
from dataplane.wireguard.status import PeerStatus
from felixpy import cli
from felixpy.status import Status, read
from felixpy.wireguard.control import ask_status
from tests.guest import wireguard_manifests as manifests
from tests.guest import wireguard_traffic, wireguard_wire
from tests.guest.wireguard_forks import Fork
from tests.guest.wireguard_manifests import NO_KEYS
from tests.guest.wireguard_table import routes
from tests.kernel.agent_lab import MAC
from tests.kernel.conftest import Namespace, enter

# An agent imports it when it begins; as a fork it has it then.
importlib.import_module("felixpy.agent")

PATIENCE = 120.0  # a machine without KVM takes its time
_HOSTS = ("172.31.", "fd31:")
TABLE = 1  # WireGuard's, in both families
ON_THE_WAY = 0.5  # seconds until what was sent has come or never will

Keys = tuple[str, str]  # for IPv4 and IPv6, "" for none
Result = TypeVar("Result")


def within(node: Namespace, ask: Callable[[], Result]) -> Result:
    """What a function says in another namespace."""
    found: list[Result] = []

    def work() -> None:
        enter(node.path)
        found.append(ask())

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    return found[0]


def ip(node: Namespace, *commands: str) -> None:
    """As one process: a machine without KVM takes a quarter of a second for each."""
    text = "".join(f"{command}\n" for command in commands)
    subprocess.run(["ip", "-n", node.name, "-batch", "-"], input=text, text=True, check=True)


def sysctl(node: Namespace, name: str, value: int) -> None:
    within(node, lambda: Path("/proc/sys/net", name).write_text(str(value)))


def _addresses(n: int) -> tuple[str, str]:
    return f"10.65.{n}.2", f"fd65:0:0:{n}::2"


def _talk() -> None:
    wireguard_traffic.Workload().run()


def _is_of_hosts(what: str) -> bool:
    """Not what they carry for workloads, in a tunnel."""
    _, name, source, _, target = what.split()
    if name in ("IPIP", "UDP-4789"):
        return False
    return source.startswith(_HOSTS) and target.startswith(_HOSTS)


def is_stream(name: str) -> bool:
    """A TCP connection, of which nothing is lost as long as it is not broken."""
    return ">>" in name


class Step:
    """`encrypted` is how many packets of WireGuard were on the wire, `clear` what else was there,
    without `hosts`: what these said to each other, such as a pre-flight's questions.
    """

    def __init__(self, what: str) -> None:
        self.what = what
        self.sent: Counter[str] = Counter()
        self.received: Counter[str] = Counter()
        self.streamed: Counter[str] = Counter()
        self.broken: dict[str, Any] = {}
        self.clear: Counter[str] = Counter()
        self.hosts: Counter[str] = Counter()
        self.encrypted = 0
        self.seconds = 0.0

    def seen(self, counts: Mapping[str, int]) -> None:
        for what, count in counts.items():
            if what.startswith("wireguard"):
                self.encrypted += count
            elif _is_of_hosts(what):
                self.hosts[what] += count
            else:
                self.clear[what] += count

    def lost(self, flow: str) -> int:
        return self.sent[flow] - self.received[flow]

    def clear_between(self, *ends: str) -> int:
        """Packets from one of these addresses to another of them."""
        return sum(
            count
            for what, count in self.clear.items()
            if what.split()[-3] in ends and what.split()[-1] in ends
        )

    def row(self) -> str:
        """What, seconds, packets sent, lost, in clear, encrypted."""
        names = [name for name in self.sent if not is_stream(name)]
        sent = sum(self.sent[name] for name in names)
        lost = sum(self.lost(name) for name in names)
        clear = sum(self.clear.values())
        what = f"{self.what:<70}{self.seconds:6.0f} s"
        return f"{what}{sent:8}{lost:8}{clear:8}{self.encrypted:10}"

    def __str__(self) -> str:
        flows = [
            f"{name}: {self.lost(name)} of {sent} lost"
            for name, sent in self.sent.items()
            if not is_stream(name)
        ]
        flows += [f"{name}: {size // 1024} KiB" for name, size in self.streamed.items()]
        clear = sum(self.clear.values())
        told = ", ".join(f"{count} {what}" for what, count in self.clear.most_common(4))
        parts = [*flows, f"{self.encrypted} encrypted, {clear} in clear{': ' * bool(told)}{told}"]
        if self.broken:
            parts.append(f"broken: {self.broken}")
        return f"{self.what} ({self.seconds:.0f} s): " + "; ".join(parts)


class Cluster:
    def __init__(self, netns: Callable[[str], Namespace], directory: Path) -> None:
        self._netns = netns
        self.directory = directory
        self.nodes: dict[int, Namespace] = {}
        self.workloads: dict[str, Namespace] = {}
        self.agents: dict[int, Fork] = {}
        self.known: dict[str, str] = {}  # the manifests of all
        self.withheld: set[int] = set()
        self.claimed: dict[int, Keys] = {}
        self.settings: dict[str, str] = {}  # in the agents' files
        self.steps: list[Step] = []
        self.wire = netns("wire")
        ip(
            self.wire,
            "link add br0 type bridge",
            "link set br0 up",
            "addr add 172.31.0.254/24 dev br0",
            "addr add fd31::254/64 dev br0 nodad",
        )
        self._programs: list[Fork] = []
        self._watcher = self._program(self.wire, wireguard_wire.watch_wire)
        assert self._watcher.line() == "ready"
        self._talkers: dict[str, Fork] = {}
        self._epoch = 0
        self.write("profile.yaml", manifests.PROFILE + "\n")
        self.write("pools.yaml", manifests.pools())

    # ---------------------------------------------------------------- making it

    def add(self, n: int) -> None:
        """With its workload wN, 10.65.N.2 and fd65:0:0:N::2."""
        self.nodes[n] = node = self._netns(f"n{n}")
        sysctl(node, "ipv6/conf/default/accept_dad", 0)
        sysctl(node, "ipv6/conf/all/forwarding", 1)
        sysctl(node, "ipv4/ip_forward", 1)
        ip(
            node,
            f"link add eth0 type veth peer name p{n} netns {self.wire.name}",
            f"link set eth0 address 02:31:00:00:00:{n:02x} up",
            f"addr add 172.31.0.{n}/24 dev eth0",
            f"addr add fd31::{n}/64 dev eth0 nodad",
        )
        ip(self.wire, f"link set p{n} master br0 up")
        # As any node has one: what no route of the cluster leads to goes there, and is seen.
        ip(node, "route add default via 172.31.0.254", "route add default via fd31::254")
        (self.directory / f"n{n}").mkdir()
        for name, text in self.known.items():
            self._write(n, name, text)
        self.introduce(n)
        self.plug(n, f"w{n}", *_addresses(n), told=False)

    def introduce(self, n: int) -> None:
        """To all: its node, blocks and workload, which may have left before."""
        self.write(f"node-{n}.yaml", manifests.node(n))
        self.write(f"blocks-{n}.yaml", manifests.blocks(n))
        self.write(f"workload-w{n}.yaml", manifests.workload(n, f"w{n}", *_addresses(n)))

    def plug(self, n: int, name: str, *addresses: str, told: bool = True) -> None:
        """A workload; `told`: with its own manifest."""
        self.workloads[name] = far = self._netns(name)
        ip(
            self.nodes[n],
            f"link add cali{name} type veth peer name eth0 netns {far.name}",
            f"link set cali{name} address {MAC} up",
        )
        sysctl(far, "ipv6/conf/eth0/accept_dad", 0)
        ip(
            far,
            "link set eth0 mtu 1400 up",
            *(f"addr add {a} dev eth0{' nodad' if ':' in a else ''}" for a in addresses),
            f"neigh add 169.254.1.1 lladdr {MAC} dev eth0",
            f"neigh add fe80::1 lladdr {MAC} dev eth0",
            "route add 169.254.1.1 dev eth0",
            "route add default via 169.254.1.1",
            "route add default via fe80::1 dev eth0",
        )
        if told:
            self.write(f"workload-{name}.yaml", manifests.workload(n, name, *addresses))
        self._let_talk(name, far)

    def attend(self, n: int) -> None:
        """Node n talks itself, as `nN`."""
        self._let_talk(f"n{n}", self.nodes[n])

    def _let_talk(self, name: str, where: Namespace) -> None:
        self._talkers[name] = self._program(where, _talk)
        self._talkers[name].ask({"epoch": self._epoch})

    def _program(self, node: Namespace, work: Callable[[], int | None]) -> Fork:
        made = Fork(node, work, self.directory / "programs.log")
        self._programs.append(made)
        return made

    # ---------------------------------------------------------------- what the operator does

    def write(self, name: str, text: str) -> None:
        """To all nodes."""
        self.known[name] = text
        for n in self.nodes:
            self._write(n, name, text)

    def remove(self, name: str) -> None:
        del self.known[name]
        for n in self.nodes:
            (self.directory / f"n{n}" / name).unlink(missing_ok=True)

    def _write(self, n: int, name: str, text: str) -> None:
        scratch = self.directory / f"n{n}" / f".{name}.new"
        scratch.write_text(text)
        scratch.rename(self.directory / f"n{n}" / name)

    def configure(self, n: int) -> Path:
        settings = {
            "FelixHostname": f"n{n}",
            "DatastorePath": str(self.directory / f"n{n}"),
            "RunDir": str(self.directory / "run"),
            "MTUFile": "none",
            "LogFilePath": "none",
            "LogSeverityScreen": "INFO",
            "LogSeveritySys": "none",
            "EndpointStatusPathPrefix": "none",
            "IptablesBackend": "NFT",
            **self.settings,
        }
        path = self.directory / f"n{n}.cfg"
        lines = [f"{name} = {value}\n" for name, value in settings.items()]
        path.write_text("[global]\n" + "".join(lines))
        return path

    def start(self, n: int) -> None:
        """Without waiting for anything."""
        path = self.configure(n)
        argv = ["run", "--config", str(path)]
        log = self.directory / f"n{n}.log"
        self.agents[n] = Fork(self.nodes[n], lambda: cli.main(argv), log)

    def stop(self, n: int, *, killed: bool = False) -> None:
        self.agents.pop(n).end(SIGKILL if killed else SIGTERM)

    def keys(self, n: int) -> Keys:
        """What its agent publishes."""
        path = self.run_directory(n) / "status/resources/v3/projectcalico.org/nodes" / f"n{n}"
        try:
            status = msgspec.json.decode(path.read_bytes())["status"]
        except FileNotFoundError:
            return NO_KEYS
        return status.get("wireguardPublicKey", ""), status.get("wireguardPublicKeyV6", "")

    def leave(self, n: int) -> None:
        """Its resources go, in one moment each, and its keys; its agent is stopped before."""
        for name in (f"node-{n}.yaml", f"blocks-{n}.yaml", f"workload-w{n}.yaml"):
            self.remove(name)
        ip(self.nodes[n], *(f"link del {device}" for device in WIREGUARD_DEVICES))

    def carry_keys(self) -> None:
        for n in self.nodes:
            keys = NO_KEYS if n in self.withheld else self.claimed.get(n) or self.keys(n)
            text = manifests.node(n, keys)
            if self.known.get(f"node-{n}.yaml", text) != text:
                self.write(f"node-{n}.yaml", text)

    def close(self) -> None:
        for agent in self.agents.values():
            agent.end(SIGTERM)
        for program in self._programs:
            program.end(SIGKILL)

    # ---------------------------------------------------------------- what comes of it

    def run_directory(self, n: int) -> Path:
        return self.directory / "run" / f"netns-{self.nodes[n].name}"

    def status(self, n: int) -> Status | None:
        return read(self.run_directory(n))

    def is_well(self, n: int) -> bool:
        """Whether this agent, not one before it, says that all is well."""
        status = self.status(n)
        return status is not None and (status.pid, status.state) == (self.agents[n].pid, "running")

    def log(self, n: int) -> str:
        return (self.directory / f"n{n}.log").read_text()

    def device(self, n: int, family: int = 4) -> DeviceState | None:
        name = WIREGUARD_DEVICES[0 if family == 4 else 1]

        async def ask() -> DeviceState | None:
            index = next(
                (each for each, is_called in socket.if_nameindex() if is_called == name), 0
            )
            if not index:
                return None
            kernel = KernelDevice()
            try:
                return await kernel.read(index)
            finally:
                kernel.close()

        return within(self.nodes[n], lambda: asyncio.run(ask()))

    def ways(self, n: int) -> dict[str, str]:
        """Of what goes from node n, by net of WireGuard's tables: "device", "throw",
        "unreachable".

        Below each route to the device there is one that takes its place when the device goes.
        """
        found: dict[str, str] = {}
        for net, kind in within(self.nodes[n], lambda: routes(TABLE)):
            if found.get(net) in (None, "unreachable"):
                found[net] = kind
        return found

    def way(self, n: int, net: str) -> str:
        """Of what goes from node n to a net, "" for none."""
        return self.ways(n).get(net, "")

    def leads(self, n: int, *others: int) -> bool:
        """Whether what node n sends to workloads of others is encrypted, in both families."""
        ways = self.ways(n)
        blocks = [b for to in others for b in (f"10.65.{to}.0/26", f"fd65:0:0:{to}::/122")]
        return all(ways.get(block) == "device" for block in blocks)

    def behind(self, n: int, other: int, net: str) -> bool:
        """Whether node n encrypts what goes to a net for another node."""
        device, theirs = self.device(n), self.device(other)
        if device is None or theirs is None:
            return False
        peer = device.peers.get(theirs.public_key or b"")
        has = peer is not None and net in peer.nets
        return has and self.way(n, net) == "device"

    @contextmanager
    def messages(self, n: int) -> Iterator[Callable[[], int]]:
        """How many messages have changed a WireGuard device of a node since the last question."""
        ip(self.nodes[n], "link add nlmon0 type nlmon", "link set nlmon0 up")
        watcher = self._program(self.nodes[n], lambda: wireguard_wire.watch_netlink("nlmon0"))
        assert watcher.line() == "ready"
        yield lambda: int(watcher.ask()["wireguard"])
        self._programs.remove(watcher)
        watcher.end(SIGKILL)
        ip(self.nodes[n], "link del nlmon0")

    def encrypted(self) -> bool:
        return all(self.leads(n, *(self.agents.keys() - {n})) for n in self.agents)

    def statuses(self, n: int) -> dict[tuple[int, str], PeerStatus]:
        """What the agent of node n says of its peers, by family and name."""
        families = ask_status(self.run_directory(n))
        return {(each.family, peer.node): peer for each in families for peer in each.peers}

    def said_clear(self, n: int) -> dict[tuple[int, str], int]:
        """Packets that have left node n in clear for others, as its agent has it."""
        return {about: peer.clear_packets for about, peer in self.statuses(n).items()}

    def command(self, n: int, *words: str) -> tuple[int, str]:
        """What felixpy says on node n, and its exit status."""
        argv = [*words, "--config", str(self.directory / f"n{n}.cfg")]
        log = self.directory / "commands.log"
        process = Fork(self.nodes[n], lambda: cli.main(argv), log)
        said = process.rest()
        return process.end(SIGTERM), said

    def problems(self, n: int) -> list[str]:
        status = self.status(n)
        return [] if status is None else [f"{p.about}: {p.text}" for p in status.problems]

    def until(self, what: Callable[[], bool], about: str) -> None:
        deadline = time.monotonic() + PATIENCE
        while True:
            self.carry_keys()
            if what():
                return
            for n, agent in self.agents.items():
                assert agent.alive, self.log(n)[-4000:]
            assert time.monotonic() < deadline, f"{about} has not come about\n{self.told()}"
            time.sleep(0.3)

    def wait(self, seconds: float) -> None:
        """Carrying keys."""
        end = time.monotonic() + seconds
        self.until(lambda: time.monotonic() >= end, "time")

    def table(self) -> str:
        """What became of the packets of all steps."""
        head = f"{'':<70}{'':8}{'sent':>8}{'lost':>8}{'clear':>8}{'encrypted':>10}"
        return "\n".join([head, *(step.row() for step in self.steps)])

    def told(self) -> str:
        """Everything that explains a failure."""
        parts = []
        for n in self.agents:
            parts += [f"--- node {n}", *self.problems(n), str(self.ways(n))]
            parts += [str(self.device(n)), self.log(n)[-3000:]]
        return "\n".join(parts)

    # ---------------------------------------------------------------- what flows

    def flow(self, source: str, to: str, rate: int = 100, name: str = "") -> str:
        """UDP packets from now on, `rate` a second, 0: no more; returns the flow's name."""
        name = name or f"{source} > {to}"
        self._talkers[source].ask({"name": name, "to": to, "rate": rate})
        return name

    def stream(self, source: str, to: str) -> str:
        name = f"{source} >> {to}"
        self._talkers[source].ask({"name": name, "to": to, "stream": True})
        return name

    def be_silent(self) -> None:
        for talker in self._talkers.values():
            talker.ask({"silent": True})

    def streams(self) -> bool:
        """Whether TCP goes on now: after a gap it takes its time before it tries again."""
        before = self._total("streamed")
        self.wait(ON_THE_WAY)
        return self._total("streamed") > before

    def reaches(self, source: str, to: str) -> bool:
        """Whether a flow that goes on gets there now."""
        name = f"{source} > {to}"
        before = self._total("received", name)
        self.wait(ON_THE_WAY)
        return self._total("received", name) > before

    def _total(self, kind: str, name: str = "") -> int:
        """Of one flow, or of all."""
        counts = [talker.ask().get(kind, {}) for talker in self._talkers.values()]
        return sum(
            sum(by_epoch.values())
            for count in counts
            for flow, by_epoch in count.items()
            if name in ("", flow)
        )

    @contextmanager
    def step(self, what: str) -> Iterator[Step]:
        step = Step(what)
        self._begin_epoch()
        epoch, begun = str(self._epoch), time.monotonic()
        self._watcher.ask()
        yield step
        self._begin_epoch()
        step.seconds = time.monotonic() - begun
        self.wait(ON_THE_WAY)
        step.seen(self._watcher.ask())
        for talker in self._talkers.values():
            counts = talker.ask()
            step.broken |= counts.get("broken", {})
            for kind in ("sent", "received", "streamed"):
                for name, by_epoch in counts.get(kind, {}).items():
                    if epoch in by_epoch:
                        getattr(step, kind)[name] += by_epoch[epoch]
        self.steps.append(step)
        print(step, flush=True)

    def _begin_epoch(self) -> None:
        self._epoch += 1
        for talker in self._talkers.values():
            talker.ask({"epoch": self._epoch})
