"""Three nodes and a ToR, in both families: what the sessions bring, and what disturbs them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.kernel.bgp_lab import Lab, laboratory
from tests.kernel.bgp_routers import Node, Router, comes_to, eventually
from tests.kernel.bgp_texts import (
    BEHIND_TOR,
    BEYOND,
    FAMILIES,
    SERVICES,
    TOR,
    block,
    documents,
    endpoint,
    mesh,
    node,
    outside,
    resource,
    workload,
)

pytestmark = pytest.mark.kernel


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with laboratory() as made:
        made.furnish()
        made.start()
        made.await_established()
        yield made


def settled(router: Router) -> tuple[str, ...]:
    """Since when the sessions are as they are, and the configuration is in force."""
    (configured,) = [
        line for line in router.birdc("show status").splitlines() if "reconfiguration" in line
    ]
    return (configured, *sorted(f"{name} {s}" for name, s in router.sessions().items()))


def written(found: Node) -> tuple[int, int]:
    status = found.file.stat()
    return status.st_ino, status.st_mtime_ns


def test_packets_follow_what_the_sessions_bring(lab: Lab) -> None:
    n1 = lab.nodes[1]
    for family in FAMILIES:
        services = {SERVICES} if family == 4 else set()
        for n in (2, 3):
            comes_to({block(n, family)} | services, n1.learned, mesh(n, family))
        comes_to({BEHIND_TOR[family]}, n1.learned, outside(TOR, family))
        for n in lab.nodes:
            comes_to({block(n, family)} | services, lab.tor.learned, f"p{n}_{family}")
        for source, target in ((1, 2), (2, 3), (3, 1)):
            comes_to(True, lab.pings, source, workload(target, family))
        comes_to(True, lab.tor.reaches, workload(1, family))
        comes_to(True, lab.pings, 1, BEYOND[family])
        kernel = n1.kernel(family)
        assert block(2, family) in kernel
        assert BEHIND_TOR[family] in kernel
        assert "10.96." not in kernel  # a service's range is kube-proxy's business


def test_nothing_is_written_or_sent_when_nothing_has_changed(lab: Lab) -> None:
    for found in lab.nodes.values():
        comes_to("in sync", found.configuration)
    before = {n: (settled(found), written(found)) for n, found in lab.nodes.items()}
    lab.write("tor.yaml", (lab.manifests / "tor.yaml").read_text() + "\n# seen again\n")
    lab.write("set.yaml", resource("GlobalNetworkSet", "others", "{nets: [192.0.2.0/24]}"))
    n1 = lab.nodes[1]
    for _ in range(2):
        n1.stop()
        n1.start()
        comes_to(True, n1.is_well)
        comes_to("in sync", n1.configuration)
    assert {n: (settled(found), written(found)) for n, found in lab.nodes.items()} == before


def test_a_change_that_concerns_one_peer_leaves_the_others_alone(lab: Lab) -> None:
    n1, n2 = lab.nodes[1], lab.nodes[2]
    peer = outside(TOR, 4)
    before = n1.sessions()
    usual = (lab.manifests / "tor.yaml").read_text()
    lab.write("tor.yaml", usual.replace("ttlSecurity: 1", "ttlSecurity: 1, keepaliveTime: 70s", 1))
    eventually(lambda: n1.sessions()[peer].since != before[peer].since, "another keepalive time")
    n1.await_established([peer])
    assert "keepalive time 70" in n1.file.read_text()
    after = n1.sessions()
    assert {name for name in after if after[name] != before[name]} == {peer}

    lab.await_established()
    n2_before = n2.sessions()
    lab.write("more.yaml", documents(*_more_of(2)))  # addresses for n2: no session is touched
    lab.plug(2, "caliborrower")
    usual_of_n2 = {block(2, 4), SERVICES}
    comes_to(usual_of_n2 | {"10.65.20.0/26", "10.65.3.9/32"}, n1.learned, mesh(2, 4))
    assert n1.sessions() == after
    assert n2.sessions() == n2_before
    lab.remove("more.yaml")
    comes_to(usual_of_n2, n1.learned, mesh(2, 4))
    lab.write("tor.yaml", usual)
    eventually(lambda: n1.sessions()[peer].since != after[peer].since, "the usual keepalive time")
    lab.await_established()


def _more_of(n: int) -> tuple[str, ...]:
    """A second block, and an address out of another node's block."""
    return (
        resource(
            "IPAMBlock",
            "b4-20",
            f'{{cidr: 10.65.20.0/26, affinity: "host:n{n}", allocations: [], attributes: []}}',
        ),
        resource(
            "BlockAffinity", "n2-20", f"{{node: n{n}, cidr: 10.65.20.0/26, state: confirmed}}"
        ),
        endpoint(n, "borrower", "10.65.3.9/32"),
    )


def test_a_node_that_goes_takes_its_sessions_along_and_no_others(lab: Lab) -> None:
    n1 = lab.nodes[1]
    before = n1.sessions()
    lab.write("nodes.yaml", documents(node(1), node(2)))
    gone = {mesh(3, family) for family in FAMILIES}
    eventually(lambda: not gone & n1.sessions().keys(), "no session with n3")
    assert n1.sessions() == {name: s for name, s in before.items() if name not in gone}
    lab.write("nodes.yaml", documents(node(1), node(2), node(3)))
    lab.await_established()
    after = n1.sessions()
    assert {name: after[name] for name in after.keys() - gone} == {
        name: before[name] for name in before.keys() - gone
    }
