"""ConntrackFlushOnPolicyChange: what a new policy refuses ends, and nothing else."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from dataplane import ctnetlink
from dataplane.drivers.conntrack import Conntrack
from dataplane.families import Family
from tests.kernel.agent_lab import WORKLOADS, eventually
from tests.kernel.conftest import Namespace
from tests.kernel.dual_stack import ADDRESSES, NODE, OUTSIDE, DualStackLab

pytestmark = pytest.mark.kernel

_ECHO = """
import selectors, socket
waiting = selectors.DefaultSelector()
for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
    own = socket.socket(socket.AF_INET6, kind)
    own.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
    own.bind(("::", 9000))
    if kind == socket.SOCK_STREAM:
        own.listen()
    waiting.register(own, selectors.EVENT_READ)
print("ready", flush=True)
while True:
    for key, _ in waiting.select():
        talking = key.fileobj
        if talking.type == socket.SOCK_DGRAM:
            data, peer = talking.recvfrom(100)
            talking.sendto(data, peer)
        elif talking.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
            waiting.register(talking.accept()[0], selectors.EVENT_READ)
        elif data := talking.recv(100):
            talking.sendall(data)
        else:
            waiting.unregister(talking)
"""
_TALK = """
import socket, sys
kind = {"tcp": socket.SOCK_STREAM, "udp": socket.SOCK_DGRAM}[sys.argv[1]]
family = socket.AF_INET6 if ":" in sys.argv[2] else socket.AF_INET
with socket.socket(family, kind) as talking:
    talking.settimeout(5)
    talking.connect((sys.argv[2], 9000))
    talking.settimeout(1)
    print(talking.getsockname()[1], flush=True)
    for line in sys.stdin:
        try:
            talking.sendall(line.encode())
            print(talking.recv(100).decode().strip(), flush=True)
        except OSError:
            print("nothing", flush=True)
"""


def refusing(port: int, protocol: str, peer: str) -> str:
    return f"""\
apiVersion: projectcalico.org/v3
kind: NetworkPolicy
metadata: {{name: guard, namespace: default}}
spec:
  selector: role == 'w2'
  types: [Ingress]
  ingress:
  - action: Deny
    protocol: {protocol}
    source: {{selector: {peer}}}
    destination: {{ports: [{port}]}}
  - {{action: Allow}}
"""


class Talk:
    """A flow that stays; asked whether it carries data."""

    def __init__(self, namespace: Namespace, protocol: str, target: str) -> None:
        self.protocol = protocol
        self.process = namespace.start(sys.executable, "-c", _TALK, protocol, target)
        assert self.process.stdout is not None
        self.port = int(self.process.stdout.readline())

    def carries(self) -> bool:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write("hello\n")
        self.process.stdin.flush()
        return self.process.stdout.readline() == "hello\n"


def serve(namespace: Namespace) -> None:
    echo = namespace.start(sys.executable, "-c", _ECHO)
    assert echo.stdout is not None
    assert echo.stdout.readline() == "ready\n"


def tracked(node: Namespace, family: Family) -> dict[tuple[str, str, int], str]:
    """Flows to port 9000: protocol, source and its port -> the kernel's number of the entry."""
    listed = node.run(f"conntrack -L -f ipv{family} -o id 2>/dev/null")
    found = re.findall(
        r"^(\w+) .*? src=(\S+) dst=\S+ sport=(\d+) dport=9000 .* id=(\d+)", listed, re.MULTILINE
    )
    return {(protocol, source, int(port)): number for protocol, source, port, number in found}


@pytest.fixture
def lab(netns: Callable[[str], Namespace], tmp_path: Path) -> DualStackLab:
    return DualStackLab(netns, tmp_path)


def flows_of(lab: DualStackLab, family: Family) -> dict[str, Talk]:
    addresses = ADDRESSES[family]
    serve(lab.workloads["w2"])
    flows = {
        "refused": Talk(lab.workloads["w1"], "tcp", addresses["w2"]),
        "of another": Talk(lab.workloads["w3"], "tcp", addresses["w2"]),
        "of another protocol": Talk(lab.workloads["w1"], "udp", addresses["w2"]),
    }
    for name, flow in flows.items():
        assert flow.carries(), name
    return flows


@pytest.mark.parametrize("family", [4, 6])
def test_what_is_refused_now_ends_and_the_others_go_on(lab: DualStackLab, family: Family) -> None:
    lab.configure(ConntrackFlushOnPolicyChange="true", LogSeverityScreen="debug")
    running = lab.start()
    flows = flows_of(lab, family)
    refused = flows.pop("refused")
    before = tracked(lab.node, family)
    ours = ("tcp", ADDRESSES[family]["w1"], refused.port)
    assert ours in before
    lab.write("guard.yaml", refusing(9000, "TCP", "role == 'w1'"))

    def is_gone() -> bool:
        for name, flow in flows.items():
            assert flow.carries(), name
        return ours not in tracked(lab.node, family)

    eventually(is_gone, "the end of the flow")
    assert not refused.carries()
    after = tracked(lab.node, family)
    assert after == {entry: number for entry, number in before.items() if entry != ours}
    assert all(flow.carries() for flow in flows.values())
    _, text = running.end(15)
    assert len(re.findall(r"flow\.ended", text)) == 1
    assert re.search(r"flows\.ended.*count=1\b", text)


def test_a_flow_goes_on_where_nobody_asked_for_its_end(lab: DualStackLab) -> None:
    running = lab.start()
    flows = flows_of(lab, 4)
    before = tracked(lab.node, 4)
    lab.write("guard.yaml", refusing(9000, "TCP", "role == 'w1'"))
    eventually(lambda: not _opens(lab, "w1"), "the policy")
    assert all(flow.carries() for flow in flows.values())
    assert before.items() <= tracked(lab.node, 4).items()
    assert "flows.ended" not in running.end(15)[1]


def test_a_member_that_joins_a_set(lab: DualStackLab) -> None:
    """The rules stay: the selector's set gets another member."""
    lab.write("guard.yaml", refusing(9000, "TCP", "role == 'refused'"))
    lab.configure(ConntrackFlushOnPolicyChange="true")
    lab.start()
    flows = flows_of(lab, 4)
    lab.label("w1", "refused")
    ours = ("tcp", WORKLOADS["w1"], flows["refused"].port)
    eventually(lambda: ours not in tracked(lab.node, 4), "the end of the flow")
    assert flows["of another"].carries()
    assert flows["of another protocol"].carries()


def _opens(lab: DualStackLab, source: str) -> bool:
    done = lab.workloads[source].run(
        f"timeout 1 {sys.executable} -c 'import socket;"
        f' socket.create_connection(("{WORKLOADS["w2"]}", 9000), 0.5); print("open")\'',
        check=False,
    )
    return "open" in done


def test_a_service_is_judged_by_the_workload_behind_it(lab: DualStackLab) -> None:
    for service, name in (("203.0.113.2", "w2"), ("203.0.113.3", "w3")):
        lab.node.run(
            f"iptables-nft -t nat -A PREROUTING -d {service} -j DNAT --to {WORKLOADS[name]}"
        )
    lab.configure(ConntrackFlushOnPolicyChange="true")
    lab.start()
    for name in ("w2", "w3"):
        serve(lab.workloads[name])
    flow = Talk(lab.workloads["w1"], "tcp", "203.0.113.2")
    other = Talk(lab.workloads["w1"], "tcp", "203.0.113.3")
    assert flow.carries()
    assert other.carries()
    lab.write("guard.yaml", refusing(9000, "TCP", "role == 'w1'"))
    ours = ("tcp", WORKLOADS["w1"], flow.port)
    eventually(lambda: ours not in tracked(lab.node, 4), "the end of the flow")
    assert not flow.carries()
    assert other.carries()


# ---------------------------------------------------------------- host endpoints


_HOST_ENDPOINT = """\
apiVersion: projectcalico.org/v3
kind: HostEndpoint
metadata: {name: uplink, labels: {kind: uplink}}
spec: {node: n1, interfaceName: eth0, profiles: [open]}
"""
_HOST_POLICY = """\
apiVersion: projectcalico.org/v3
kind: GlobalNetworkPolicy
metadata: {name: uplink}
spec:
  selector: kind == 'uplink'
  types: [Ingress]
  ingress:
  - {action: Deny, protocol: TCP, destination: {ports: [9000]}}
  - {action: Allow}
"""


@pytest.mark.parametrize("interface", ["eth0", '"*"'])
def test_flows_of_the_host_itself(lab: DualStackLab, interface: str) -> None:
    lab.write("host.yaml", _HOST_ENDPOINT.replace("eth0", interface))
    lab.configure(ConntrackFlushOnPolicyChange="true", LockoutGuard="Off")
    lab.start()
    serve(lab.node)
    flow, other = (Talk(lab.outside, protocol, NODE[4]) for protocol in ("tcp", "udp"))
    assert flow.carries()
    assert other.carries()
    lab.write("policy.yaml", _HOST_POLICY)
    ours = ("tcp", OUTSIDE[4], flow.port)
    eventually(lambda: ours not in tracked(lab.node, 4), "the end of the flow")
    assert not flow.carries()
    assert other.carries()


# ---------------------------------------------------------------- what the kernel lists

_INSERTED = """
conntrack -I -p tcp -s 10.0.0.1 -d 10.0.0.2 --sport 1000 --dport 80 --state ESTABLISHED -t 600 \
    -r 10.0.0.3 -q 10.0.0.1 --reply-port-src 8080 --reply-port-dst 1000
conntrack -I -p tcp -s 10.0.0.1 -d 10.0.0.2 --sport 1001 --dport 80 --state ESTABLISHED -t 600
conntrack -I -p tcp -s 10.0.0.1 -d 10.0.0.2 --sport 1001 --dport 80 --state ESTABLISHED -t 600 -w 7
conntrack -I -p icmp -s 10.0.0.1 -d 10.0.0.2 --icmp-type 8 --icmp-code 0 --icmp-id 5 -t 600
conntrack -I -p udp -s fd00::1 -d fd00::2 --sport 53 --dport 5353 -t 600
"""
_OTHER = "conntrack -I -p udp -s 10.0.0.8 -d 10.0.0.9 --sport {port} --dport 53 -t 600"


@pytest.fixture
def conntrack() -> Iterator[Conntrack]:
    conntrack = Conntrack()
    yield conntrack
    conntrack.close()


async def listed(conntrack: Conntrack, family: Family) -> list[ctnetlink.TrackedFlow]:
    found = []
    for body in await conntrack.flows(family):
        ends = ctnetlink.ends(body)
        assert ends is not None
        found.append(ctnetlink.parse_flow(body, ends))
    return sorted(found, key=lambda flow: (flow.protocol, flow.source_port or 0, flow.zoned))


async def test_flows_are_listed_and_ended_one_by_one(
    inside: Namespace, conntrack: Conntrack
) -> None:
    inside.run(_INSERTED)
    icmp, translated, plain, zoned = await listed(conntrack, 4)
    assert (icmp.protocol, icmp.icmp_type, icmp.icmp_code) == (1, 8, 0)
    assert (icmp.source_port, icmp.destination_port) == (None, None)
    assert translated.ends.reply_source == bytes((10, 0, 0, 3))
    assert translated.ends.destination == bytes((10, 0, 0, 2))
    assert (translated.source_port, translated.destination_port) == (1000, 80)
    assert translated.reply_source_port == 8080
    assert (plain.zoned, zoned.zoned) == (False, True)
    (six,) = await listed(conntrack, 6)
    assert (six.protocol, six.source_port, six.reply_source_port) == (17, 53, 5353)
    assert not any(flow.expected for flow in (icmp, plain, zoned, translated, six))

    assert await conntrack.end(4, [plain.identity, icmp.identity]) == 2
    assert await conntrack.end(6, [six.identity]) == 1
    left = [flow.identity for flow in await listed(conntrack, 4)]
    assert left == [translated.identity, zoned.identity]
    assert await listed(conntrack, 6) == []
    assert await conntrack.end(4, [plain.identity]) == 0


async def test_another_flow_of_the_same_ends_is_left_alone(
    inside: Namespace, conntrack: Conntrack
) -> None:
    inside.run(_INSERTED)
    old = new = (await listed(conntrack, 4))[2]
    for others in range(20):
        # The kernel tells flows of the same ends apart by where in memory they lie, and the place
        # that was freed last is taken again first: other flows take it here.
        inside.run("conntrack -F")
        inside.run("\n".join(_OTHER.format(port=2000 + port) for port in range(others)))
        inside.run(_INSERTED)
        new = next(
            flow for flow in await listed(conntrack, 4) if flow.source_port == old.source_port
        )
        assert new.ends == old.ends
        if new.identity != old.identity:
            break
    assert new.identity != old.identity
    assert await conntrack.end(4, [old.identity]) == 0
    assert new.identity in [flow.identity for flow in await listed(conntrack, 4)]
