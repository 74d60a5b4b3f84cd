"""A node with workloads and the real agent, as a process of its own in a namespace.

lab.write("policy.yaml", …)       a manifest; lab.remove(…)
lab.start() -> Running            waits until the agent is in sync
lab.reaches("w1", "w2")           whether a TCP connection comes about
lab.kernel()                      everything that the agent writes, as text, without counters
eventually(…)                     asks again until it is so
"""

from __future__ import annotations

import re
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from felixpy.demo import probe
from felixpy.status import Status, read
from tests.kernel.conftest import Namespace

PATIENCE = 20.0
PORT = 8080
MAC = "ee:ee:ee:ee:ee:ee"
WORKLOADS = {"w1": "10.65.0.1", "w2": "10.65.0.2", "w3": "10.65.0.3"}

_ENDPOINT = """\
apiVersion: projectcalico.org/v3
kind: WorkloadEndpoint
metadata: {{name: n1-lab-{name}-eth0, namespace: default, labels: {{role: {name}}}}}
spec:
  node: n1
  orchestrator: lab
  workload: {name}
  endpoint: eth0
  interfaceName: cali{name}
  ipNetworks: [{address}/32]
  mac: {mac}
  profiles: [open]
"""
_PROFILE = """\
apiVersion: projectcalico.org/v3
kind: Profile
metadata: {name: open}
spec: {ingress: [{action: Allow}], egress: [{action: Allow}]}
"""
_ECHO = """
import socket
listener = socket.create_server(("", 9000))
while True:
    connection, _ = listener.accept()
    while data := connection.recv(100):
        connection.sendall(data)
"""
_TALK = """
import socket, sys
with socket.create_connection((sys.argv[1], 9000), timeout=5) as connection:
    for line in sys.stdin:
        connection.sendall(line.encode())
        print(connection.recv(100).decode().strip(), flush=True)
"""
_GENERATION = """
import socket, struct
NETFILTER, GETGEN, REQUEST = 12, 10 << 8 | 16, 1
with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, NETFILTER) as asking:
    asking.send(struct.pack("=IHHII", 20, GETGEN, REQUEST, 1, 0) + bytes(4))
    print(struct.unpack("!I", asking.recv(4096)[24:28])[0])
"""


def eventually(ask: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + PATIENCE
    while not ask():
        assert time.monotonic() < deadline, f"{what} has not come about"
        time.sleep(0.03)


class Running:
    """An agent's process; `text` is all that it has said, known once it has ended."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self.pid = process.pid  # `ip netns exec` becomes the program

    def end(self, signal: int) -> tuple[int, str]:
        """Exit status and output."""
        self.process.send_signal(signal)
        return self.ended()

    def ended(self) -> tuple[int, str]:
        text, _ = self.process.communicate(timeout=PATIENCE)
        return self.process.returncode, text


class Lab:
    def __init__(self, netns: Callable[[str], Namespace], directory: Path) -> None:
        self.node = netns("node")
        self.manifests = directory / "manifests"
        self.manifests.mkdir()
        self.config = directory / "felixpy.cfg"
        self.settings: dict[str, str] = {
            "FelixHostname": "n1",
            "DatastorePath": str(self.manifests),
            "RunDir": str(directory / "run"),
            "MTUFile": str(directory / "mtu"),
            "LogSeveritySys": "none",
        }
        self.configure()
        self.workloads = {name: netns(name) for name in WORKLOADS}
        self._probes: dict[str, subprocess.Popen[str]] = {}
        self.write("profile.yaml", _PROFILE)
        for name, address in WORKLOADS.items():
            self._attach(name, address)
            mac = f"02:65:00:00:00:0{name[1:]}"
            self.write(f"{name}.yaml", _ENDPOINT.format(name=name, address=address, mac=mac))

    def _attach(self, name: str, address: str) -> None:
        workload = self.workloads[name]
        self.node.run(
            f"ip link add cali{name} address {MAC} type veth peer name eth0 netns {workload.name}"
            f" && ip link set cali{name} up"
        )
        workload.run(
            f"ip link set eth0 address 02:65:00:00:00:0{name[1:]} up"
            f" && ip addr add {address}/32 dev eth0"
            f" && ip neigh add 169.254.1.1 lladdr {MAC} dev eth0 nud permanent"
            " && ip route add 169.254.1.1 dev eth0 && ip route add default via 169.254.1.1"
        )
        self._probes[name] = workload.start(sys.executable, probe.__file__, str(PORT))

    # ---------------------------------------------------------------- what the user does

    def configure(self, **settings: str) -> None:
        self.settings |= settings
        lines = [f"{name} = {value}\n" for name, value in self.settings.items()]
        self.config.write_text("[global]\n" + "".join(lines))

    def write(self, name: str, text: str) -> None:
        scratch = self.manifests / f".{name}.new"
        scratch.write_text(text)
        scratch.rename(self.manifests / name)

    def remove(self, name: str) -> None:
        (self.manifests / name).unlink()

    def launch(self) -> Running:
        """Without waiting for anything."""
        return Running(self.node.start(*self.command("run")))

    def command(self, name: str, *arguments: str) -> tuple[str, ...]:
        return (sys.executable, "-m", "felixpy", name, "--config", str(self.config), *arguments)

    def start(self) -> Running:
        running = self.launch()
        eventually(lambda: self.is_well(running), "in sync")
        return running

    def ask(self, name: str, *arguments: str) -> tuple[int, str]:
        """Exit status and output of another command."""
        process = self.node.start(*self.command(name, *arguments))
        text, _ = process.communicate(timeout=PATIENCE)
        return process.returncode, text

    def await_status(self, text: str, code: int) -> None:
        """Until `felixpy status` says so and exits so: its file is written twice a second."""

        def says() -> bool:
            found, said = self.ask("status")
            return found == code and text in said

        eventually(says, f"{text!r} in the status")

    def is_well(self, running: Running) -> bool:
        """Whether this agent, not one before it, says that all is well."""
        assert running.process.poll() is None, running.ended()
        status = self.status()
        return status is not None and status.pid == running.pid and status.state == "running"

    def status(self) -> Status | None:
        return read(Path(self.settings["RunDir"]) / f"netns-{self.node.name}")

    # ---------------------------------------------------------------- what comes of it

    def reaches(self, source: str, target: str) -> bool:
        process = self._probes[source]
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(f"{WORKLOADS[target]} {PORT}\n")
        process.stdin.flush()
        return process.stdout.readline().strip() == "open"

    def flow(self, source: str, target: str) -> Callable[[], bool]:
        """Opens a connection that stays; the result tells whether it still carries data."""
        self.workloads[target].start(sys.executable, "-c", _ECHO)
        eventually(lambda: ":9000" in self.workloads[target].run("ss -tln"), "the echo server")
        talk = self.workloads[source].start(sys.executable, "-c", _TALK, WORKLOADS[target])

        def carries() -> bool:
            assert talk.stdin is not None
            assert talk.stdout is not None
            talk.stdin.write("hello\n")
            talk.stdin.flush()
            return talk.stdout.readline() == "hello\n"

        return carries

    def kernel(self) -> str:
        text = self.node.saved() + self.node.run(
            "iptables-legacy-save; ip6tables-legacy-save;"
            " ipset save | sort; ip neigh show nud permanent;"
            " (ip route show table all; ip -6 route show table all) | grep -v 'proto kernel' || :"
        )
        return re.sub(r"^#.*\n|\[\d+:\d+\]", "", text, flags=re.MULTILINE)

    def rules(self) -> str:
        """With packet counters."""
        return self.node.saved("-c", "iptables")

    def generation(self) -> int:
        """The number of commits that nf_tables has seen in the node's namespace."""
        return int(self.node.run(f"{sys.executable} -c '{_GENERATION}'"))
