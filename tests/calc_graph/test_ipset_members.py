"""Members of sets: what endpoints and network sets bring, and how changes are told."""

from __future__ import annotations

import pytest

from calc_graph.ipset_members import IpsetMembers
from calc_graph.model import (
    EndpointPort,
    HostEndpoint,
    HostEndpointKey,
    NetworkSet,
    NetworkSetKey,
    WorkloadEndpoint,
    WorkloadEndpointKey,
)
from calc_graph.rule_scanner import IpsetSpec
from calc_graph.selector import parse
from calc_graph.updates import IpsetDelta, IpsetRemove, IpsetType, IpsetUpdate

ALL = IpsetSpec("all", IpsetType.NET, parse("all()"))
HTTP_TCP = IpsetSpec("http-tcp", IpsetType.IP_PORT, parse("all()"), "http", "tcp")
HTTP_ANY = IpsetSpec("http-any", IpsetType.IP_PORT, parse("all()"), "http", "any")
SERVICE = IpsetSpec("svc", IpsetType.IP_PORT)
PORTS = (
    EndpointPort("http", "tcp", 80),
    EndpointPort("http", 17, 8080),
    EndpointPort("http", 6, 81),
    EndpointPort("dns", "udp", 53),
)
W1, W2 = (WorkloadEndpointKey("there", "k8s", f"ns/{name}", "eth0") for name in "ab")
H1 = HostEndpointKey("there", "eth0")
SET = NetworkSetKey("set")


def workload(*nets: str, **fields: object) -> WorkloadEndpoint:
    return WorkloadEndpoint("cali1", nets, **fields)  # type: ignore[arg-type]


def whole(spec: IpsetSpec, *members: str) -> IpsetUpdate:
    return IpsetUpdate(spec.id, spec.type, frozenset(members))


def delta(spec: IpsetSpec, added: set[str], removed: set[str]) -> IpsetDelta:
    return IpsetDelta(spec.id, frozenset(added), frozenset(removed))


BROUGHT = [
    # nets of a workload    of a host     nets of a set     in all()
    (("10.0.0.1/32",),      (),           (),               {"10.0.0.1/32"}),
    (("10.0.0.64/26",),     (),           (),               {"10.0.0.64/32"}),
    (("fd00::/64",),        (),           (),               {"fd00::/128"}),
    ((),                    ("1.2.3.4", "::1"), (),         {"1.2.3.4/32", "::1/128"}),
    ((),                    (),           ("0.0.0.0/0",),   {"0.0.0.0/1", "128.0.0.0/1"}),
    ((),                    (),           ("::/0",),        {"::/1", "8000::/1"}),
    (("10.0.0.1/32",),      ("10.0.0.1",), ("10.0.0.1/32",), {"10.0.0.1/32"}),
    (("10.0.0.1/32",),      ("1.0.0.1",), ("10.0.0.0/8",),  {"10.0.0.0/8", "1.0.0.1/32"}),
]  # fmt: skip


@pytest.mark.parametrize(("nets", "addresses", "of_set", "members"), BROUGHT)
def test_what_each_kind_brings_to_a_set_of_nets(
    nets: tuple[str, ...], addresses: tuple[str, ...], of_set: tuple[str, ...], members: set[str]
) -> None:
    found = IpsetMembers()
    found.put_workload(W1, workload(*nets))
    found.put_host(H1, HostEndpoint("eth0", addresses))
    found.put_network_set(SET, NetworkSet(of_set))
    found.use(ALL)
    assert found.flush() == [whole(ALL, *members)]


def test_named_ports() -> None:
    found = IpsetMembers()
    found.put_workload(W1, workload("10.0.0.1/32", "fd00::1/128", ports=PORTS))
    found.put_host(H1, HostEndpoint("eth0", ("1.1.1.1",), ports=PORTS[:1]))
    found.put_network_set(SET, NetworkSet(("10.0.0.0/8",)))
    for spec in (HTTP_TCP, HTTP_ANY, SERVICE):
        found.use(spec)
    tcp = {f"{a},tcp:{p}" for a in ("10.0.0.1", "fd00::1") for p in (80, 81)} | {"1.1.1.1,tcp:80"}
    udp = {"10.0.0.1,udp:8080", "fd00::1,udp:8080"}
    assert found.flush() == [whole(HTTP_TCP, *tcp), whole(HTTP_ANY, *tcp, *udp), whole(SERVICE)]


def test_a_shared_member_stays_until_the_last_holder_goes() -> None:
    found = IpsetMembers()
    found.use(ALL)
    found.put_workload(W1, workload("10.0.0.1/32"))
    found.put_workload(W2, workload("10.0.0.1/32", "10.0.0.1/32"))
    found.flush()
    found.discard(W1)
    assert found.flush() == []
    found.discard(W2)
    assert found.flush() == [delta(ALL, set(), {"10.0.0.1/32"})]


def test_what_cancels_out_is_not_told() -> None:
    found = IpsetMembers()
    found.use(ALL)
    found.put_workload(W1, workload("10.0.0.1/32"))
    found.flush()
    found.discard(W1)
    found.put_workload(W2, workload("10.0.0.1/32"))
    found.put_workload(W1, workload("10.0.0.2/32"))
    found.discard(W1)
    assert found.flush() == []


def test_a_net_hides_and_shows_what_it_covers() -> None:
    found = IpsetMembers()
    found.use(ALL)
    found.put_workload(W1, workload("10.0.0.1/32"))
    found.flush()
    found.put_network_set(SET, NetworkSet(("10.0.0.0/8",)))
    assert found.flush() == [delta(ALL, {"10.0.0.0/8"}, {"10.0.0.1/32"})]
    found.discard(SET)
    assert found.flush() == [delta(ALL, {"10.0.0.1/32"}, {"10.0.0.0/8"})]


def test_a_set_is_there_while_it_has_users() -> None:
    found = IpsetMembers()
    found.use(ALL)
    found.use(ALL)
    found.put_workload(W1, workload("10.0.0.1/32"))
    assert found.flush() == [whole(ALL, "10.0.0.1/32")]
    found.release(ALL.id)
    assert found.flush() == []
    found.release(ALL.id)
    found.use(ALL)
    assert found.flush() == []
    found.release(ALL.id)
    found.put_workload(W1, workload("10.0.0.2/32"))
    assert found.flush() == [IpsetRemove(ALL.id)]
    found.use(ALL)
    assert found.flush() == [whole(ALL, "10.0.0.2/32")]
    found.use(SERVICE)
    found.release(SERVICE.id)
    assert found.flush() == []


def test_labels_of_a_namespace_move_its_network_sets() -> None:
    found = IpsetMembers()
    spec = IpsetSpec("x", IpsetType.NET, parse("pcns.team == 'x'"))
    found.use(spec)
    found.put_network_set(NetworkSetKey("p/n"), NetworkSet(("10.0.0.0/8",), {}, ("kns.p",)))
    assert found.flush() == [whole(spec)]
    found.put_profile("kns.p", {"pcns.team": "x"})
    assert found.flush() == [delta(spec, {"10.0.0.0/8"}, set())]
    found.put_profile("kns.p", {})
    assert found.flush() == [delta(spec, set(), {"10.0.0.0/8"})]
