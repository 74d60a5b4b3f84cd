"""Host endpoints: which interface is governed by which, and what each kind of policy judges.

Every story is a table of steps: what there is, what is open then, what is shut; in both families.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any, NamedTuple

import pytest

from tests.kernel.conftest import Namespace
from tests.kernel.host_lab import ADDRESSES, HostLab, host_endpoint, policy

pytestmark = pytest.mark.kernel

ALLOW, DENY, PASS = ([{"action": action}] for action in ("Allow", "Deny", "Pass"))
BOTH = ["Ingress", "Egress"]
FORWARD = {"applyOnForward": True}
PRE_DNAT = {"preDNAT": True, "applyOnForward": True, "types": ["Ingress"]}
UNTRACKED = {"doNotTrack": True, "applyOnForward": True}
SHUT_IN = "x1 -> node tcp 80, x1 -> node udp 80, x1 -> node icmp"
SHUT_OUT = "node -> x1 tcp 80, node -> x1 udp 80, node -> x1 icmp"
BY_ETH1 = "x2 -> node2 tcp 80, node -> x2 tcp 80"
# what no endpoint of the host's own is asked about
PASSING = "x1 -> w1 tcp 80, w1 -> x1 tcp 80, w1 -> w2 tcp 80, node -> w1 udp 80, x1 -> x2 tcp 80"


class Step(NamedTuple):
    """`resources` are all that there are besides workloads; `run` is a command on the node."""

    what: str
    resources: Sequence[str]
    open: str = ""
    shut: str = ""
    heard: str = ""
    run: str = ""


@pytest.fixture
async def lab(inside: Namespace, netns: Callable[[str], Namespace]) -> AsyncIterator[HostLab]:
    lab = HostLab(inside, netns)
    await lab.have()
    await lab.configure(
        FailsafeInboundHostPorts="none",
        FailsafeOutboundHostPorts="none",
        DefaultEndpointToHostAction="Accept",
    )
    yield lab
    await lab.close()


async def tell(lab: HostLab, steps: Sequence[Step]) -> None:
    for step in steps:
        if step.run:
            lab.node.run(step.run)
            await lab.settle(0.3)  # the kernel's message is on its way
        await lab.have(*step.resources)
        expected = {"open": step.open, "shut": step.shut, "heard": step.heard}
        lab.check(step.what, **{state: flows for state, flows in expected.items() if flows})


def ports(action: str, protocol: str, *numbers: int | str, **peer: Any) -> dict[str, Any]:
    where = {"destination": {"ports": list(numbers)}} if numbers else {}
    return {"action": action, "protocol": protocol, **where, **peer}


# ---------------------------------------------------------------- which interface

NAMED = host_endpoint("eth0", interfaceName="eth0")
BY_ADDRESS = host_endpoint("eth0", expectedIPs=list(ADDRESSES["node"]))
LATER = ("172.30.0.99", "fd30::99")
BY_LATER_ADDRESS = host_endpoint("eth0", expectedIPs=list(LATER))
OPENED = host_endpoint("eth0", interfaceName="eth0", profiles=["open"])
EVERYWHERE = host_endpoint("all", interfaceName="*")
LOOPBACK = "node -> loopback tcp 80, node -> node udp 80"
GET_ADDRESS = f"ip addr add {LATER[0]}/24 dev eth0; ip addr add {LATER[1]}/64 dev eth0 nodad"
LOSE_ADDRESS = f"ip addr del {LATER[0]}/24 dev eth0; ip addr del {LATER[1]}/64 dev eth0"
A_BY_ADDRESS, Z_BY_ADDRESS = (
    host_endpoint(name, expectedIPs=list(ADDRESSES["node"]), profiles=["open"])
    for name in ("a", "z")
)
FIRST = host_endpoint("a-first", interfaceName="eth0", profiles=["open"])

INTERFACES = [
    Step("a host without an endpoint is open", (), f"{SHUT_IN},{SHUT_OUT},{BY_ETH1},{PASSING}"),
    Step(
        "one by the name of its interface",
        (NAMED,),
        f"{PASSING},{BY_ETH1}",
        f"{SHUT_IN},{SHUT_OUT}",
    ),
    Step("a profile opens it", (OPENED,), f"{SHUT_IN},{SHUT_OUT},{BY_ETH1},{PASSING}"),
    Step("one by its addresses", (BY_ADDRESS,), f"{PASSING},{BY_ETH1}", f"{SHUT_IN},{SHUT_OUT}"),
    Step("an address that the host has not got", (BY_LATER_ADDRESS,), f"{SHUT_IN},{SHUT_OUT}"),
    Step("until it has", (BY_LATER_ADDRESS,), BY_ETH1, f"{SHUT_IN},{SHUT_OUT}", run=GET_ADDRESS),
    Step("and no longer", (BY_LATER_ADDRESS,), f"{SHUT_IN},{SHUT_OUT}", run=LOSE_ADDRESS),
    Step(
        "one for all interfaces, the loopback too",
        (EVERYWHERE,),
        PASSING,
        f"{SHUT_IN},{SHUT_OUT},{BY_ETH1},{LOOPBACK}",
    ),
    Step(
        "a name comes before it",
        (EVERYWHERE, OPENED),
        f"{PASSING},{SHUT_IN},{SHUT_OUT}",
        f"{BY_ETH1},{LOOPBACK}",
    ),
    Step(
        "so does an address",
        (EVERYWHERE, host_endpoint("x", expectedIPs=list(ADDRESSES["node"]), profiles=["open"])),
        f"{SHUT_IN},{SHUT_OUT}",
        f"{BY_ETH1},{LOOPBACK}",
    ),
    Step("of two that fit, the first by name", (NAMED, FIRST), f"{SHUT_IN},{SHUT_OUT}"),
    Step("which leaves its place to the other", (NAMED,), BY_ETH1, f"{SHUT_IN},{SHUT_OUT}"),
    Step("an address is no less than a name", (NAMED, A_BY_ADDRESS), f"{SHUT_IN},{SHUT_OUT}"),
    Step("nor more", (NAMED, Z_BY_ADDRESS), BY_ETH1, f"{SHUT_IN},{SHUT_OUT}"),
    Step(
        "one of another node",
        (host_endpoint("n2", node="n2", interfaceName="*"),),
        f"{SHUT_IN},{SHUT_OUT},{BY_ETH1},{LOOPBACK}",
    ),
    Step("all gone", (), f"{SHUT_IN},{SHUT_OUT},{BY_ETH1},{PASSING},{LOOPBACK}"),
]


async def test_which_interfaces_an_endpoint_governs(lab: HostLab) -> None:
    await tell(lab, INTERFACES)
    saved = lab.node.saved()
    assert "-fh-" not in saved
    assert "-th-" not in saved


# ---------------------------------------------------------------- what is judged

SERVED = host_endpoint(
    "eth0",
    interfaceName="eth0",
    expectedIPs=list(ADDRESSES["node"]),  # a named port is one of addresses that are known
    ports=[{"name": "web", "protocol": "TCP", "port": 80}],
)
NAMED_PORT = policy(
    "web", "host == 'eth0'", types=["Ingress"], ingress=[ports("Allow", "TCP", "web")]
)
MEMBER = host_endpoint("peer", node="n2", expectedIPs=list(ADDRESSES["x1"]))
FROM_PEER = policy(
    "peers",
    "host == 'eth0'",
    types=["Ingress"],
    ingress=[{"action": "Allow", "source": {"selector": "host == 'peer'"}}],
)
TO_WORKLOADS = policy("late", "host == 'eth0'", types=["Egress"], egress=[ports("Allow", "UDP")])
GATE_IN = policy(
    "gate", "host == 'eth0'", **FORWARD, types=["Ingress"], ingress=[ports("Allow", "TCP", 80)]
)
GATE_OUT = policy(
    "gate", "host == 'eth0'", **FORWARD, types=["Egress"], egress=[ports("Allow", "TCP", 80)]
)
QUIET = policy("quiet", "name == 'w2'", types=["Egress"], egress=[ports("Allow", "TCP", 80)])

NORMAL = [
    Step(
        "a named port",
        (SERVED, NAMED_PORT),
        "x1 -> node tcp 80",
        "x1 -> node tcp 81, x1 -> node udp 80, node -> x1 tcp 80",
    ),
    Step(
        "the addresses of other hosts' endpoints",
        (SERVED, MEMBER, FROM_PEER),
        "x1 -> node tcp 81, x1 -> node udp 80, x1 -> node icmp",
        "node -> x1 tcp 80",
    ),
    Step(
        "and of no others",
        (SERVED, MEMBER, FROM_PEER.replace("'peer'", "'none'")),
        BY_ETH1,
        SHUT_IN,
    ),
    Step(
        "what the host sends",
        (SERVED, TO_WORKLOADS),
        f"node -> x1 udp 80, node -> x1 udp 81, {PASSING}",
        "node -> x1 tcp 80, x1 -> node udp 80",
    ),
    Step(
        "workload to host: its own policy, not the host's",
        (NAMED, EVERYWHERE, QUIET),
        "w1 -> node tcp 80, w1 -> node udp 80, w2 -> node tcp 80, node -> w2 udp 80",
        "w2 -> node udp 80, w2 -> node icmp",
    ),
    Step(
        "what is forwarded, on its way in",
        (OPENED, GATE_IN),
        "x1 -> w1 tcp 80, x1 -> x2 tcp 80, x1 -> node tcp 80, w1 -> x1 udp 81, x2 -> x1 udp 81,"
        "w1 -> w2 udp 81, node -> x1 udp 81",
        "x1 -> w1 udp 80, x1 -> w1 tcp 81, x1 -> x2 udp 80, x1 -> x2 icmp, x1 -> node tcp 81",
    ),
    Step(
        "on its way out",
        (OPENED, GATE_OUT),
        "w1 -> x1 tcp 80, x2 -> x1 tcp 80, node -> x1 tcp 80, x1 -> w1 udp 81, x1 -> x2 udp 81,"
        "w1 -> w2 udp 81, x1 -> node udp 81",
        "w1 -> x1 udp 80, w1 -> x1 tcp 81, x2 -> x1 udp 80, x2 -> x1 icmp, node -> x1 tcp 81",
    ),
    Step(
        "a workload's own policy is asked, too",
        (OPENED, GATE_OUT, QUIET),
        "w1 -> x1 tcp 80, w2 -> x1 tcp 80",
        "w2 -> x2 udp 80, w2 -> x1 udp 80",
    ),
    Step("without policies for it, it is not judged", (NAMED,), PASSING, f"{SHUT_IN},{SHUT_OUT}"),
]


async def test_what_policy_of_a_host_endpoint_judges(lab: HostLab) -> None:
    await tell(lab, NORMAL)


# ---------------------------------------------------------------- before translation

EARLY_DENY = policy(
    "early", "host == 'eth0'", **PRE_DNAT, order=10, ingress=[ports("Deny", "TCP", 3000)]
)
EARLY_ALLOW = policy(
    "early",
    "host == 'eth0'",
    **PRE_DNAT,
    order=10,
    ingress=[ports("Allow", "TCP", 81), ports("Deny", "TCP", 3000)],
)
LATE_DENY = policy("late", "has(host)", **FORWARD, types=["Ingress"], ingress=DENY)
TRANSLATED = "x1 -> node@w1 tcp 3000 to 80"
EARLY = [
    Step("a port of the host leads to a workload", (OPENED,), f"{TRANSLATED}, x1 -> w1 tcp 80"),
    Step(
        "by the port that the client asked for",
        (OPENED, EARLY_DENY),
        "x2 -> node@w1 tcp 3000 to 80, x1 -> w1 tcp 80, x1 -> node tcp 80",
        TRANSLATED,
    ),
    Step(
        "what it allows nothing later forbids",
        (OPENED, EARLY_ALLOW, LATE_DENY),
        "x1 -> node tcp 81, x1 -> w1 tcp 81, x1 -> x2 tcp 81",
        f"{TRANSLATED}, x1 -> node tcp 80, x1 -> w1 tcp 80, x1 -> x2 tcp 82",
    ),
    Step(
        "for all interfaces",
        (EVERYWHERE, EARLY_DENY.replace("eth0", "all")),
        "x1 -> w1 tcp 80",
        f"{TRANSLATED}, x2 -> node@w1 tcp 3000 to 80",
    ),
    Step("taken back", (OPENED,), TRANSLATED),
]


async def test_policy_before_translation(lab: HostLab) -> None:
    for family, command in enumerate(("iptables-nft", "ip6tables-nft")):
        target = (f"{ADDRESSES['w1'][0]}:80", f"[{ADDRESSES['w1'][1]}]:80")[family]
        own = ADDRESSES["node"][family]
        lab.node.run(
            f"{command} -w -t nat -A PREROUTING -d {own} -p tcp --dport 3000"
            f" -j DNAT --to-destination {target}"
        )
    await tell(lab, EARLY)


ALIASES = {"service": ("203.0.113.9", "2001:db8::9"), "own": ("203.0.113.8", "2001:db8::8")}
TO_X1 = policy("out", "has(host)", types=["Egress"], egress=[ports("Allow", "TCP", 80)])
SENT = "node -> service@x1 tcp 3000 to 80"
SENT_ELSEWHERE = "node -> service@x1 tcp 4000 to 81"
TO_OWN = "node -> own@w1 tcp 5000 to 81"
SENDING = [
    Step("nobody is asked", (OPENED,), f"{SENT},{SENT_ELSEWHERE},{TO_OWN}"),
    Step("by the port where it arrives", (NAMED, TO_X1), f"{SENT},{TO_OWN}", SENT_ELSEWHERE),
    Step("for all interfaces", (EVERYWHERE, TO_X1), f"{SENT},{TO_OWN}", SENT_ELSEWHERE),
    Step("nothing allows it", (NAMED,), TO_OWN, f"{SENT},{SENT_ELSEWHERE}"),
]


async def test_what_the_host_sends_to_a_translated_address(lab: HostLab) -> None:
    """What ends at a workload of its own is not judged, as ever."""
    lab.addresses |= ALIASES
    for family, command in enumerate(("iptables-nft", "ip6tables-nft")):
        x1, w1 = (ADDRESSES[name][family] for name in ("x1", "w1"))
        x1, w1 = (f"[{x1}]", f"[{w1}]") if family else (x1, w1)
        for name, port, target in (
            ("service", 3000, f"{x1}:80"),
            ("service", 4000, f"{x1}:81"),
            ("own", 5000, f"{w1}:81"),
        ):
            lab.node.run(
                f"{command} -w -t nat -A OUTPUT -d {ALIASES[name][family]} -p tcp --dport {port}"
                f" -j DNAT --to-destination {target}"
            )
    await tell(lab, SENDING)


# ---------------------------------------------------------------- without connection tracking

ANSWERS = {"source": {"ports": [80]}}
ONE_WAY = policy(
    "quick", "host == 'eth0'", **UNTRACKED, types=["Ingress"], ingress=[ports("Allow", "UDP", 80)]
)
BOTH_WAYS = policy(
    "quick",
    "host == 'eth0'",
    **UNTRACKED,
    types=BOTH,
    order=10,
    ingress=[ports("Allow", "TCP", 80), ports("Allow", "UDP", 80)],
    egress=[ports("Allow", "TCP", **ANSWERS), ports("Allow", "UDP", **ANSWERS)],
)
REFUSED = policy(
    "quick", "host == 'eth0'", **UNTRACKED, types=["Ingress"], ingress=[ports("Deny", "TCP", 80)]
)
STATELESS = [
    Step(
        "one direction alone has no answer",
        (NAMED, ONE_WAY),
        heard="x1 -> node udp 80",
        shut="x1 -> node udp 81, x1 -> node tcp 80",
    ),
    Step(
        "both directions",
        (NAMED, BOTH_WAYS),
        "x1 -> node tcp 80, x1 -> node udp 80",
        "x1 -> node tcp 81, x1 -> node icmp, node -> x1 tcp 80",
    ),
    Step(
        "what is denied goes no further",
        (OPENED, REFUSED),
        "x1 -> node tcp 81, x1 -> x2 tcp 81",
        "x1 -> node tcp 80, x1 -> w1 tcp 80, x1 -> x2 tcp 80",
    ),
    Step(
        "forwarded, both directions",
        (NAMED, BOTH_WAYS, LATE_DENY),
        "x1 -> w1 udp 80",
        "x1 -> w1 udp 81",
    ),
]


async def test_policy_without_connection_tracking(lab: HostLab) -> None:
    await tell(lab, STATELESS)
    await lab.have(NAMED, BOTH_WAYS)
    lab.check("untracked", open="x1 -> node tcp 80, x1 -> node udp 80")
    known = lab.node.run("conntrack -L 2>/dev/null; conntrack -L -f ipv6 2>/dev/null")
    assert not [line for line in known.splitlines() if "dport=80 " in line]


# ---------------------------------------------------------------- tiers


def in_tier(name: str, tier: str, selector: str, /, **spec: Any) -> str:
    return policy(f"{tier}.{name}", selector, tier=tier, **spec)


FRONT = '{"kind": "Tier", "metadata": {"name": "front"}, "spec": {"order": 10}}'
LENIENT = FRONT.replace('"order": 10', '"order": 10, "defaultAction": "Pass"')
PASSING_ON = [ports("Deny", "TCP", 82), ports("Pass", "TCP", 81), ports("Allow", "TCP", 80)]
WAYS: list[tuple[str, dict[str, Any]]] = [
    ("normal", {"types": ["Ingress"]}),
    ("forwarded", {"types": ["Ingress"], **FORWARD}),
    ("before translation", PRE_DNAT),
    ("without tracking", {"types": ["Ingress"], **UNTRACKED}),
]


@pytest.mark.parametrize(("way", "spec"), WAYS, ids=[way for way, _ in WAYS])
async def test_tiers(lab: HostLab, way: str, spec: dict[str, Any]) -> None:
    """Two tiers: what the first one allows is allowed, what it passes is for the second.

    What no policy of a tier matches ends there, unless the policy is early or untracked.
    """
    first = in_tier("first", "front", "host == 'eth0'", **spec, ingress=PASSING_ON)
    second = policy(
        "second",
        "host == 'eth0'",
        **spec,
        ingress=[
            ports("Deny", "TCP", 80),
            ports("Deny", "TCP", 84),
            ports("Allow", "TCP"),
        ],
    )
    target = "w1" if way == "forwarded" else "node"
    allowed, denied = [80, 81], [82, 84]
    (denied if way in ("normal", "forwarded") else allowed).append(83)
    stateless = way == "without tracking"
    endpoint = NAMED if stateless else OPENED
    if stateless:  # replies have to be allowed
        answer = in_tier(
            "answer", "front", "host == 'eth0'", types=["Egress"], **UNTRACKED, egress=ALLOW
        )
        extra: tuple[str, ...] = (answer,)
    else:
        extra = ()

    def flows(numbers: list[int]) -> str:
        return ",".join(f"x1 -> {target} tcp {number}" for number in numbers)

    await tell(
        lab,
        [
            Step(way, (endpoint, FRONT, first, second, *extra), flows(allowed), flows(denied)),
            Step(
                f"{way}, passing by default",
                (endpoint, LENIENT, first, second, *extra),
                flows([80, 81, 83]),
                flows([82, 84]),
            ),
            Step(
                f"{way}, the first alone",
                (endpoint, FRONT, first, *extra),
                flows([80]),
                flows([82]),
            ),
        ],
    )
