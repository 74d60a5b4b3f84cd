"""A cluster that speaks BGP: real BIRD daemons and real agents, as a user has them.

n1 ─┬─ n2 ─┬─ n3 ─┬─ tor        one wire; addresses are those of bgp_texts
w1  ╵  w2  ╵  w3  ╵             a workload behind each node

with laboratory() as lab:
    lab.write("peers.yaml", …)          a manifest; all agents share one directory
    lab.start()                         every agent and every BIRD
    lab.tor.configure(by_hand(…))       the ToR's BIRD
    lab.nodes[1].established()          names of the sessions that are up
    lab.nodes[1].birdc("show route")
    lab.nodes[2].subvert(by_hand(…))    that node's agent ends, and its BIRD is somebody else's
"""

from __future__ import annotations

import contextlib
import re
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path

from tests.kernel.agent_lab import MAC
from tests.kernel.bgp_routers import Node, Router, eventually, pings
from tests.kernel.bgp_texts import (
    BEYOND,
    FAMILIES,
    POOLS,
    PROFILE,
    SECRETS,
    TOR,
    address,
    configuration,
    documents,
    mesh,
    node,
    outside,
    password_of,
    population,
    usual_tor,
    usual_tor_peers,
    workload,
)
from tests.kernel.conftest import Namespace


class Lab:
    def __init__(self, directory: Path, numbers: tuple[int, ...]) -> None:
        self.directory = directory
        self.manifests = directory / "manifests"
        self.manifests.mkdir()
        self._spaces: list[Namespace] = []
        self._routers: list[Router] = []
        self.nodes: dict[int, Node] = {}
        try:
            self._build(numbers)
        except BaseException:
            self.close()
            raise

    def _build(self, numbers: tuple[int, ...]) -> None:
        self._wire = self.space("wire")
        self._wire.run("ip link add br0 type bridge mcast_snooping 0 && ip link set br0 up")
        self.tor = Router(self.space("tor"), self.directory / "tor", TOR)
        self.tors = {TOR: self.tor}
        self._attach(self.tor)
        self.write("profile.yaml", PROFILE)
        for n in numbers:
            self._add(n)
        self.tor.space.run(
            f"ip addr add {BEYOND[4]}/24 dev lo && ip addr add {BEYOND[6]}/48 dev lo nodad"
        )

    def space(self, label: str) -> Namespace:
        made = Namespace(label)
        self._spaces.append(made)
        return made

    def _attach(self, router: Router) -> None:
        n, space = router.number, router.space
        self._routers.append(router)
        self._wire.run(
            f"ip link add p{n} type veth peer name eth0 netns {space.name}"
            f" && ip link set p{n} master br0 up"
        )
        space.run(
            "sysctl -qw net.ipv6.conf.default.accept_dad=0 net.ipv6.conf.all.accept_dad=0"
            " net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1"
            " && ip link set eth0 up"
            f" && ip addr add {address(n, 4)}/24 dev eth0"
            f" && ip addr add {address(n, 6)}/64 dev eth0 nodad"
        )
        space.await_carrier("eth0")

    def _add(self, n: int) -> None:
        made = Node(
            self.space(f"n{n}"), self.space(f"w{n}"), self.directory / f"n{n}", n, self.manifests
        )
        self.nodes[n] = made
        self._attach(made)
        made.space.run(
            f"ip link add caliw{n} address {MAC} type veth peer name eth0"
            f" netns {made.workload.name} && ip link set caliw{n} up"
        )
        made.workload.run(
            "sysctl -qw net.ipv6.conf.eth0.accept_dad=0"
            f" && ip link set eth0 address 02:65:00:00:00:0{n} up"
            f" && ip addr add {workload(n, 4)}/32 dev eth0"
            f" && ip addr add {workload(n, 6)}/128 dev eth0 nodad"
            f" && ip neigh add 169.254.1.1 lladdr {MAC} dev eth0 nud permanent"
            " && ip route add 169.254.1.1 dev eth0 && ip route add default via 169.254.1.1"
            f" && ip -6 neigh add fe80::1 lladdr {MAC} dev eth0 nud permanent"
            " && ip -6 route add default via fe80::1 dev eth0"
        )
        self.write(f"n{n}-population.yaml", population(n))

    def plug(self, n: int, name: str) -> None:
        """An interface for a workload of node n that nobody has to reach."""
        self.nodes[n].space.run(
            f"ip link add {name} type veth peer name far && ip link set {name} up"
            " && ip link set far up"
        )

    def beside_tor(self, number: int) -> None:
        """Another BIRD on the ToR's machine, with an address of its own: see `tors`."""
        self.tor.space.run(
            f"ip addr add {address(number, 4)}/24 dev eth0;"
            f"ip addr add {address(number, 6)}/64 dev eth0 nodad"
        )
        made = Router(self.tor.space, self.directory / f"t{number}", number)
        self._routers.append(made)
        self.tors[number] = made

    # ---------------------------------------------------------------- what the user does

    def write(self, name: str, text: str) -> None:
        scratch = self.manifests / f".{name}.new"
        scratch.write_text(text)
        scratch.rename(self.manifests / name)

    def remove(self, name: str) -> None:
        (self.manifests / name).unlink()

    def furnish(self) -> None:
        """Pools, nodes, the mesh and the ToR, with passwords everywhere."""
        self.write("pools.yaml", POOLS)
        self.write("nodes.yaml", documents(*(node(n) for n in self.nodes)))
        self.write("bgp.yaml", configuration(password_of("bgp-secrets", "mesh")))
        self.write("tor.yaml", usual_tor_peers())
        for found in self.nodes.values():
            found.give_secret(SECRETS)
        self.tor.configure(usual_tor(self.nodes))

    def start(self, only: tuple[int, ...] = (), bird: Path | None = None, **settings: str) -> None:
        """Agents first: BIRD can start once there is something to start it with."""
        started = [self.nodes[n] for n in only or self.nodes]
        for found in started:
            found.start(bird, **settings)
        for found in started:
            eventually(found.has_written, f"{found.file}")
            found.unit.start()

    @contextlib.contextmanager
    def in_other_hands(self, n: int, text: str) -> Iterator[None]:
        """Meanwhile that node's agent is gone, and its BIRD runs with this."""
        taken = self.nodes[n]
        honest = taken.file.read_text()
        taken.subvert(text)
        yield
        taken.unit.stop()
        taken.configure(honest)
        taken.start()
        taken.await_established(self.expected(n))

    # ---------------------------------------------------------------- what comes of it

    def expected(self, n: int) -> set[str]:
        """Sessions that a node has in a mesh with a ToR."""
        others = [m for m in self.nodes if m != n]
        return {mesh(m, family) for m in others for family in FAMILIES} | {
            outside(TOR, family) for family in FAMILIES
        }

    def await_established(self) -> None:
        for n, found in self.nodes.items():
            found.await_established(self.expected(n))

    def pings(self, source: int, target: str) -> bool:
        return pings(self.nodes[source].workload, target)

    @contextlib.contextmanager
    def flow(self, source: int, target: str, every: float = 0.01) -> Iterator[list[int]]:
        """Packets from a workload to an address; how many were sent and lost, at the end."""
        counted: list[int] = []
        process = self.nodes[source].workload.start("ping", "-q", "-i", str(every), target)
        try:
            yield counted
        finally:
            process.send_signal(signal.SIGINT)
            output, _ = process.communicate(timeout=20)
        found = re.search(r"(\d+) packets transmitted, (\d+) received", output)
        assert found, output
        counted += [int(found[1]), int(found[1]) - int(found[2])]

    def close(self) -> None:
        for found in self.nodes.values():
            found.stop(signal.SIGKILL)
        for router in self._routers:
            router.unit.stop()
        while self._spaces:
            self._spaces.pop().delete()


@contextlib.contextmanager
def laboratory(*numbers: int) -> Iterator[Lab]:
    """Its directory is short, for the sake of socket paths, and BIRD's user may go through it."""
    with tempfile.TemporaryDirectory(prefix="fxb-") as name:
        directory = Path(name)
        directory.chmod(0o755)
        lab = Lab(directory, numbers or (1, 2, 3))
        try:
            yield lab
        finally:
            lab.close()
