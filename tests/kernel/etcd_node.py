"""A node with workloads whose agent reads etcd, and its twin.

lab = EtcdLab(netns, directory, cluster)   see Lab; `write` and `remove` go to etcd
lab.member()                      the number of the member that the agent is connected to
with lab.unharmed(): ...          a stream of packets that policy allows loses none meanwhile
with lab.stream(): ...            resources change all the time meanwhile
lab.check_as_fresh()              the kernel is what a fresh agent makes of the datastore
"""

from __future__ import annotations

import contextlib
import difflib
import json
import random
import re
import subprocess
import sys
import threading
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import yaml

from tests.kernel.agent_lab import MAC, WORKLOADS, Lab, Running, eventually
from tests.kernel.conftest import Namespace
from tests.kernel.etcd_lab import PORT, Cluster, Namespaces

_PLURALS: Final = {
    "ClusterInformation": "clusterinformations",
    "NetworkPolicy": "networkpolicies",
    "GlobalNetworkPolicy": "globalnetworkpolicies",
}
_NAMESPACED: Final = ("NetworkPolicy", "WorkloadEndpoint", "NetworkSet")

CLUSTER = """\
apiVersion: projectcalico.org/v3
kind: ClusterInformation
metadata: {name: default}
spec: {clusterGUID: 6e8d1f1d5d8c4b43a7d6c1f0b7c0a001, datastoreReady: %s}
"""
# What the stream of packets relies on; nothing that changes during a test has to do with it.
GUARD = """\
apiVersion: projectcalico.org/v3
kind: NetworkPolicy
metadata: {name: guard, namespace: default}
spec:
  order: 10
  selector: role == 'w2'
  ingress: [{action: Allow, source: {selector: role == 'w1'}}]
"""

_UDP_ECHO = """
import socket
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
    server.bind(("", 9001))
    while True:
        data, address = server.recvfrom(100)
        server.sendto(data, address)
"""
# The first answer begins the count; a line on standard input ends it, and the last get their time.
_UDP_SEND = """
import select, socket, sys, time
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
    client.connect((sys.argv[1], 9001))
    client.settimeout(0.05)
    while True:
        try:
            client.send(b"hello")
            if client.recv(100) == b"hello":
                break
        except OSError:
            pass
    print("flowing", flush=True)
    sent, back, due, ending = 0, set(), time.monotonic(), 0.0
    while not ending or (len(back) < sent and time.monotonic() < ending):
        if not ending and time.monotonic() >= due:
            client.send(b"%d" % sent)
            sent += 1
            due = max(due + 0.005, time.monotonic() - 0.05)
        wait = max(0.0, due - time.monotonic()) if not ending else 0.05
        ready, _, _ = select.select([client, sys.stdin], [], [], wait)
        if client in ready:
            back.add(client.recv(100))
        if sys.stdin in ready and not ending:
            sys.stdin.readline()
            ending = time.monotonic() + 2.0
    print(sent, sent - len(back - {b"hello"}), flush=True)
"""


def etcd_key(document: dict[str, Any]) -> str:
    kind, metadata = document["kind"], document["metadata"]
    plural = _PLURALS.get(kind, kind.lower() + "s")
    space = f"{metadata.get('namespace', 'default')}/" if kind in _NAMESPACED else ""
    return f"/calico/resources/v3/projectcalico.org/{plural}/{space}{metadata['name']}"


def stored(document: dict[str, Any]) -> str:
    """As calicoctl leaves it in etcd."""
    kind, metadata, spec = document["kind"], dict(document["metadata"]), dict(document["spec"])
    name = metadata["name"]
    metadata |= {
        "uid": str(uuid.uuid5(uuid.NAMESPACE_URL, name)),
        "creationTimestamp": "2026-01-01T00:00:00Z",
    }
    labels = metadata.setdefault("labels", {}) or {}
    if kind in ("NetworkPolicy", "GlobalNetworkPolicy"):
        spec.setdefault("tier", "default")
        spec.setdefault("types", ["Ingress"])
        labels["projectcalico.org/tier"] = spec["tier"]
        metadata["annotations"] = {"projectcalico.org/metadata": json.dumps({"name": name})}
    if kind == "WorkloadEndpoint":
        labels["projectcalico.org/namespace"] = metadata["namespace"]
        labels["projectcalico.org/orchestrator"] = spec["orchestrator"]
    return json.dumps({**document, "metadata": {**metadata, "labels": labels}, "spec": spec})


class _Logged(Running):
    def __init__(self, process: subprocess.Popen[str], log: Path) -> None:
        super().__init__(process)
        self._log = log

    def ended(self) -> tuple[int, str]:
        code, _ = super().ended()
        return code, self._log.read_text()


class EtcdLab(Lab):
    def __init__(
        self,
        netns: Callable[[str], Namespace],
        directory: Path,
        cluster: Cluster,
        **settings: str,
    ) -> None:
        self.cluster = cluster
        self._texts: dict[str, str] = {}  # name -> what was written last
        self._keys: dict[str, str] = {}
        self._netns = lambda label: netns(f"et{label}")
        super().__init__(self._netns, directory)
        self._directory = directory
        self._launched: list[Running] = []
        self._twins = 0
        self.attach(100)
        del self.settings["DatastorePath"]
        self.configure(DatastoreType="etcdv3", EtcdEndpoints=cluster.endpoints, **settings)

    def attach(self, number: int) -> None:
        self.cluster.attach(self.node, number)
        self._at_the_switch = rf"10\.99\.0\.{number}\b|fd99::{number}\b"

    def populate(self) -> None:
        """Besides profile and endpoints, which are there."""
        self.write("cluster", CLUSTER % "true")
        self.write("tier", _TIER)
        self.write("guard", GUARD)

    def refill(self) -> None:
        """All that was written, into another cluster."""
        for name, text in list(self._texts.items()):
            self.write(name, text)

    def write(self, name: str, text: str) -> None:
        document = yaml.safe_load(text)
        self._texts[name], self._keys[name] = text, etcd_key(document)
        self.cluster.put(self._keys[name], stored(document))

    def remove(self, name: str) -> None:
        del self._texts[name]
        self.cluster.delete(self._keys.pop(name))

    # ---------------------------------------------------------------- the agent

    def member(self) -> int:
        """0: none."""
        connections = self.node.run(f"ss -Htn state established dport = :{PORT}")
        found = re.findall(rf"(?:10\.99\.0\.|fd99::)(\d+)\]?:{PORT}", connections)
        return int(found[0]) if len(set(found)) == 1 else 0

    def launch(self) -> Running:
        log = self.config.with_name(f"agent{len(self._launched)}.log")
        # a pipe that nobody reads would be full one day, and the agent would wait
        script = f'exec "$0" "$@" >{log} 2>&1'
        running = _Logged(self.node.start("sh", "-c", script, *self.command("run")), log)
        self._launched.append(running)
        return running

    def end_all(self) -> None:
        for running in self._launched:
            running.process.kill()
            running.process.communicate()

    def problems(self) -> str:
        """Of the agent that was launched last."""
        status = self.status()
        if status is None or status.pid != self._launched[-1].pid:
            return ""
        return "\n".join(problem.text for problem in status.problems)

    def await_problem(self, text: str) -> None:
        try:
            eventually(lambda: text in self.problems(), f"{text!r} in the status")
        except AssertionError as error:
            raise AssertionError(f"{error}: {self.problems()!r}") from None

    def await_well(self, running: Running) -> None:
        eventually(lambda: self.is_well(running), "a well agent")

    # ---------------------------------------------------------------- what goes on meanwhile

    @contextlib.contextmanager
    def unharmed(self) -> Iterator[None]:
        """200 packets a second from w1 to w2 and back."""
        self.workloads["w2"].start(sys.executable, "-c", _UDP_ECHO)
        sender = self.workloads["w1"].start(sys.executable, "-c", _UDP_SEND, WORKLOADS["w2"])
        assert sender.stdout is not None
        assert sender.stdout.readline() == "flowing\n"
        yield
        text, _ = sender.communicate("end\n", timeout=20)
        sent, lost = text.split()
        assert (int(sent) > 0, int(lost)) == (True, 0)

    @contextlib.contextmanager
    def stream(self) -> Iterator[None]:
        """Policies, sets and endpoints change, one every few milliseconds."""
        done = threading.Event()
        failures: list[BaseException] = []

        def write() -> None:
            dice = random.Random(0)
            try:
                while not done.wait(0.005):
                    self.change(dice)
            except BaseException as error:
                failures.append(error)

        thread = threading.Thread(target=write)
        thread.start()
        try:
            yield
        finally:
            done.set()
            thread.join()
        assert failures == []

    def change(self, dice: random.Random) -> None:
        """Something that has to do with w3 only is made, or is changed, or goes; w3 itself stays:
        what is left at an interface without an endpoint nobody takes back.
        """
        kind, number = dice.choice(list(_MADE)), dice.randrange(6)
        name = f"{kind}-{number}"
        if name in self._keys and kind != "label" and dice.random() < 0.3:
            self.remove(name)
        else:
            self.write(name, _MADE[kind].format(n=number, dice=dice.randrange(1, 200)))

    # ---------------------------------------------------------------- what comes of it

    def kernel(self) -> str:
        """With the settings of the workloads' interfaces."""
        where = " ".join(
            f"/proc/sys/net/{what}/cali{name}"
            for what in ("ipv4/conf", "ipv4/neigh", "ipv6/conf", "ipv6/neigh")
            for name in WORKLOADS
        )
        settings = self.node.run(f"grep -rs . {where} | sort", check=False)
        rules = self.node.run("ip rule; ip -6 rule")
        lines = re.sub(self._at_the_switch, "HERE", super().kernel()).splitlines()
        # neighbours come in the order of a table of hashes
        ordered = sorted(lines, key=lambda line: line if line.endswith("PERMANENT ") else "")
        return "\n".join([*ordered, rules, settings])

    def check_as_fresh(self) -> None:
        """The twin has the same interfaces, and an agent that has just begun."""
        self._twins += 1
        namespaces = Namespaces()
        try:
            twin = _Twin(self, namespaces("twin"), self._directory / f"twin{self._twins}")
            twin.attach(100 + self._twins)
            twin.start()
            self._compare(twin)
        finally:
            namespaces.close()

    def _compare(self, twin: EtcdLab) -> None:
        differences: list[str] = []

        def same() -> bool:
            ours, theirs = self.kernel().splitlines(), twin.kernel().splitlines()
            differences[:] = difflib.unified_diff(ours, theirs, "ours", "fresh", lineterm="", n=1)
            return not differences

        try:
            eventually(same, "what a fresh agent makes of it")
        except AssertionError as error:
            raise AssertionError("\n".join([str(error), *differences])) from None
        assert "cali-tw-caliw2" in self.kernel()


class _Twin(EtcdLab):
    def __init__(self, other: EtcdLab, node: Namespace, directory: Path) -> None:
        self.cluster = other.cluster
        self.node = node
        self._launched = []
        directory.mkdir()
        self.config = directory / "felixpy.cfg"
        self.settings = {}
        for number, name in enumerate(WORKLOADS):
            self.node.run(
                f"ip link add cali{name} address {MAC} type veth peer name far{number}"
                f" && ip link set cali{name} up && ip link set far{number} addrgenmode none up"
            )
        self.configure(**{**other.settings, "RunDir": str(directory / "run")})


_TIER = """\
apiVersion: projectcalico.org/v3
kind: Tier
metadata: {name: default}
spec: {order: 1000000}
"""
_MADE: Final = {
    "policy": """\
apiVersion: projectcalico.org/v3
kind: NetworkPolicy
metadata: {{name: made-{n}, namespace: default}}
spec:
  order: {dice}
  selector: role == 'w3'
  ingress:
  - {{action: Allow, protocol: TCP, source: {{selector: group == 'g{n}'}},
     destination: {{ports: [{dice}]}}}}
""",
    "set": """\
apiVersion: projectcalico.org/v3
kind: GlobalNetworkSet
metadata: {{name: made-{n}, labels: {{group: g{n}}}}}
spec: {{nets: [192.0.2.{dice}/32, 198.51.100.{dice}/32]}}
""",
    "remote": """\
apiVersion: projectcalico.org/v3
kind: WorkloadEndpoint
metadata: {{name: n2-lab-r{n}-eth0, namespace: default, labels: {{group: g{n}}}}}
spec:
  node: n2
  orchestrator: lab
  workload: r{n}
  endpoint: eth0
  interfaceName: calir{n}
  ipNetworks: [10.65.7.{dice}/32]
  profiles: [open]
""",
    "label": """\
apiVersion: projectcalico.org/v3
kind: WorkloadEndpoint
metadata: {{name: n1-lab-w3-eth0, namespace: default, labels: {{role: w3, group: g{n}}}}}
spec:
  node: n1
  orchestrator: lab
  workload: w3
  endpoint: eth0
  interfaceName: caliw3
  ipNetworks: [10.65.0.3/32]
  mac: 02:65:00:00:00:03
  profiles: [open]
""",
}
