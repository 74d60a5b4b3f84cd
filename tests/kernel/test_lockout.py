"""The lockout guard with the real agent: sessions go on, and what else comes is in force.

    admin ── eth0 ══ eth0 ── node, with sshd, the agent and two workloads

The node has no failsafe port, so that only policy decides.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from signal import SIGHUP, SIGTERM

import pytest

from tests.kernel.agent_lab import Lab, Running, eventually
from tests.kernel.conftest import Namespace
from tests.kernel.etcd_lab import Cluster
from tests.kernel.etcd_node import EtcdLab

pytestmark = pytest.mark.kernel

Veth = Callable[[Namespace, str, Namespace, str], None]

# An ssh daemon as far as its name goes: it sends back what it gets.
_SSHD = """
import ctypes, socket, threading
ctypes.CDLL(None).prctl(15, b"sshd", 0, 0, 0)
def serve(connection):
    while data := connection.recv(100):
        connection.sendall(data)
server = socket.create_server(("", 22))
print("listening", flush=True)
while True:
    threading.Thread(target=serve, args=(server.accept()[0],), daemon=True).start()
"""
_SESSION = """
import socket, sys
with socket.create_connection(("172.30.0.10", 22), timeout=5) as connection:
    connection.settimeout(3)
    for line in sys.stdin:
        try:
            connection.sendall(line.encode())
            print(connection.recv(100).decode().strip(), flush=True)
        except TimeoutError:
            print("silence", flush=True)
"""
_TRY = """
import socket, sys
try:
    socket.create_connection(("172.30.0.10", 22), timeout=1).close()
    print("open")
except OSError:
    print("closed")
"""
_ENDPOINT = """\
apiVersion: projectcalico.org/v3
kind: HostEndpoint
metadata: {name: eth0, labels: {host: "yes"}}
spec: {node: n1, interfaceName: eth0}
"""
_POLICY = """\
apiVersion: projectcalico.org/v3
kind: GlobalNetworkPolicy
metadata: {name: %s}
spec:
  order: %d
  selector: %s
  types: [Ingress, Egress]
  doNotTrack: %s
  applyOnForward: %s
  ingress: [%s]
  egress: [%s]
"""
_NO_SSH = "{action: Deny, protocol: TCP, destination: {ports: [22]}}"
_ALLOW = "{action: Allow}"


def policy(
    name: str, ingress: str, egress: str = _ALLOW, *, order: int = 100,
    selector: str = "has(host)", raw: bool = False,
) -> str:  # fmt: skip
    flag = str(raw).lower()
    return _POLICY % (name, order, selector, flag, flag, ingress, egress)


class Session:
    """An ssh session from the admin's machine."""

    def __init__(self, admin: Namespace) -> None:
        self._process: subprocess.Popen[str] = admin.start(sys.executable, "-c", _SESSION)
        assert self.lives()

    def lives(self) -> bool:
        process = self._process
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write("hello\n")
        process.stdin.flush()
        return process.stdout.readline() == "hello\n"

    def end(self) -> None:
        self._process.kill()
        self._process.communicate()


class Host:
    """A node with an admin's machine beside it."""

    def __init__(self, lab: Lab, admin: Namespace) -> None:
        self.lab = lab
        self.admin = admin
        for space, last in ((lab.node, "10"), (admin, "1")):
            space.run(f"ip addr add 172.30.0.{last}/24 dev eth0")
        sshd = lab.node.start(sys.executable, "-c", _SSHD)
        assert sshd.stdout is not None
        assert sshd.stdout.readline() == "listening\n"
        self.session = Session(admin)

    def reachable(self) -> bool:
        """Whether a new session would come about."""
        return self.admin.run(f"{sys.executable} -c '{_TRY}'").strip() == "open"

    def own_chains(self) -> str:
        """What is in the kernel about the endpoint eth0 and the policies of hosts."""
        rules = self.lab.node.run("iptables-save")
        wanted = ("cali-th-eth0", "cali-fh-eth0", "cali-pi-", "cali-po-")
        return "\n".join(line for line in rules.splitlines() if any(w in line for w in wanted))

    def problem(self) -> str:
        status = self.lab.status()
        return "\n".join(each.text for each in status.problems) if status else ""

    def await_hold(self, resource: str) -> None:
        eventually(lambda: f"{resource} waits" in self.problem(), f"a hold of {resource}")


@pytest.fixture
def host(netns: Callable[[str], Namespace], veth: Veth, tmp_path: Path) -> Host:
    lab = Lab(netns, tmp_path)
    lab.configure(FailsafeInboundHostPorts="none", FailsafeOutboundHostPorts="none")
    admin = netns("admin")
    veth(lab.node, "eth0", admin, "eth0")
    return Host(lab, admin)


def guarded(host: Host) -> Running:
    """In force: an endpoint, and a policy that lets everything through."""
    host.lab.write("open.yaml", policy("open", _ALLOW, order=1000))
    host.lab.write("endpoint.yaml", _ENDPOINT)
    running = host.lab.start()
    assert host.reachable()
    return running


@pytest.mark.parametrize(
    "text",
    [
        policy("cuts", _NO_SSH),
        policy("cuts", _NO_SSH, raw=True),
        policy("cuts", "{action: Deny, protocol: UDP}", "{action: Deny, protocol: TCP}", raw=True),
    ],
    ids=["filter", "raw", "raw, its replies only"],
)
def test_a_session_goes_on_and_so_does_the_rest(host: Host, text: str) -> None:
    running = guarded(host)
    before = host.own_chains()
    closing = policy("workload", "{action: Deny}", selector="role == 'w2'")
    # one rename is one batch
    host.lab.write("both.yaml", f"{text}---\n{closing}")
    host.await_hold("GlobalNetworkPolicy cuts")
    eventually(lambda: not host.lab.reaches("w1", "w2"), "the workload's policy")
    assert host.session.lives()
    assert host.reachable()
    new = [line for line in host.own_chains().splitlines() if line not in before]
    assert all("workload" in line or "cali-pi-" in line or "cali-po-" in line for line in new)
    assert not any("dport 22" in line or "--dports 22" in line for line in new)
    host.lab.await_status("ssh from 172.30.0.1", 4)
    code, output = running.end(SIGTERM)
    assert code == 0, output
    assert output.count("lockout.held_back") == 1


def test_corrected_and_confirmed(host: Host) -> None:
    running = guarded(host)
    host.lab.write("cuts.yaml", policy("cuts", "{action: Deny}"))
    host.await_hold("GlobalNetworkPolicy cuts")
    corrected = "{action: Allow, protocol: TCP, destination: {ports: [22]}}, {action: Deny}"
    host.lab.write("cuts.yaml", policy("cuts", corrected))
    eventually(lambda: host.lab.is_well(running), "a policy that nothing is wrong with")
    assert "--dports 22" in host.own_chains()
    assert host.session.lives()
    host.lab.write("cuts.yaml", policy("cuts", _NO_SSH))
    host.await_hold("GlobalNetworkPolicy cuts")
    code, said = host.lab.ask("confirm", "GlobalNetworkPolicy/cuts")
    assert code == 0, said
    eventually(lambda: not host.reachable(), "what was confirmed")
    eventually(lambda: host.lab.is_well(running), "nothing held back")


def test_at_the_start(host: Host) -> None:
    host.lab.write("cuts.yaml", policy("cuts", _NO_SSH))
    host.lab.write("endpoint.yaml", _ENDPOINT)
    host.lab.write("workload.yaml", policy("w", "{action: Deny}", selector="role == 'w2'"))
    host.lab.launch()
    host.await_hold("HostEndpoint eth0")
    eventually(lambda: not host.lab.reaches("w1", "w2"), "the workload's policy")
    assert host.lab.reaches("w2", "w1")
    assert host.session.lives()
    assert host.reachable()
    host.session.end()  # there is nobody left to lock out
    eventually(lambda: not host.reachable(), "the endpoint")


def test_failsafes_taken_away_by_the_file(host: Host) -> None:
    lab = host.lab
    lab.configure(FailsafeInboundHostPorts="tcp:22")
    lab.write("endpoint.yaml", _ENDPOINT)
    running = lab.start()
    lab.configure(FailsafeInboundHostPorts="none")
    running.process.send_signal(SIGHUP)
    host.await_hold("Configuration of this machine")
    assert host.reachable()
    lab.configure(FailsafeInboundHostPorts="tcp:22")
    running.process.send_signal(SIGHUP)
    eventually(lambda: lab.is_well(running), "a file that nothing is wrong with")


def test_off(host: Host) -> None:
    host.lab.configure(LockoutGuard="Off")
    guarded(host)
    host.lab.write("cuts.yaml", policy("cuts", "{action: Deny}", "{action: Deny}", raw=True))
    eventually(lambda: not host.session.lives(), "the end of the session")


def test_warn(host: Host) -> None:
    host.lab.configure(LockoutGuard="Warn")
    guarded(host)
    host.lab.write("cuts.yaml", policy("cuts", _NO_SSH))
    eventually(lambda: not host.reachable(), "the policy")
    host.lab.await_status("ssh from 172.30.0.1", 4)


# ---------------------------------------------------------------- its own datastore


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    directory = tmp_path / "etcd"
    directory.mkdir()
    with Cluster(directory, members=1) as made:
        yield made


_UPLINK = """\
apiVersion: projectcalico.org/v3
kind: HostEndpoint
metadata: {name: uplink, labels: {host: "yes"}}
spec: {node: n1, expectedIPs: [10.99.0.100]}
"""
_LATER = policy("later", "{action: Deny}", order=1, selector="role == 'w2'")


def has_way_to_etcd(node: Namespace) -> bool:
    said = node.run("timeout 1 bash -c '</dev/tcp/10.99.0.1/2379' && echo open", check=False)
    return said == "open\n"


@pytest.mark.parametrize("guard", ["Enforce", "Off"])
def test_the_datastore(
    netns: Callable[[str], Namespace], tmp_path: Path, cluster: Cluster, guard: str
) -> None:
    lab = EtcdLab(
        netns,
        tmp_path,
        cluster,
        FailsafeInboundHostPorts="none",
        FailsafeOutboundHostPorts="none",
        LockoutGuard=guard,
    )
    lab.populate()
    try:
        running = lab.launch()
        lab.await_well(running)
        lab.write("cuts", policy("cuts", "{action: Deny}", "{action: Deny}", raw=True))
        lab.write("uplink", _UPLINK)
        if guard == "Off":
            eventually(lambda: not has_way_to_etcd(lab.node), "a node that is cut off")
            return
        lab.await_problem("would cut off the datastore 10.99.0.")
        assert has_way_to_etcd(lab.node)
        lab.write("later", _LATER)
        eventually(lambda: not lab.reaches("w1", "w2"), "a policy that came later")
    finally:
        lab.end_all()
