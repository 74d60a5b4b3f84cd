"""Which of several routes to one destination is to be in the kernel."""

from __future__ import annotations

import pytest
from msgspec import structs

from dataplane.drivers.route_wishes import Owner, Route, RouteWishes
from dataplane.interfaces import Interface
from dataplane.rtnetlink import BLACKHOLE, LINK_SCOPE, KernelRoute, RouteKey

DST = "10.65.0.2/32"
KEY = RouteKey(b"\x0a\x41\0\x02", 32, 1024)
INTERFACES = {
    "cali1": Interface("cali1", 5, up=True),
    "cali2": Interface("cali2", 6, up=False),
    "tunl0": Interface("tunl0", 7, up=True),
    "vxlan.calico": Interface("vxlan.calico", 8, up=False),
}
WORKLOAD = Route(DST, "cali1")
REMOTE = Route(DST, "tunl0", metric=0, gateway="172.30.0.2", protocol=80, mtu=1480)

CASES: list[tuple[str, dict[Owner, Route], int | None, str]] = [
    # case, what is wanted, the device of the choice, what is awaited
    ("nothing", {}, None, ""),
    ("a workload", {Owner.WORKLOAD: WORKLOAD}, 5, ""),
    ("the cluster", {Owner.CLUSTER: REMOTE}, 7, "tunl0"),
    ("both", {Owner.CLUSTER: REMOTE, Owner.WORKLOAD: WORKLOAD}, 5, "tunl0"),
    ("a workload that is down", {Owner.WORKLOAD: Route(DST, "cali2")}, None, ""),
    ("one that is not there", {Owner.WORKLOAD: Route(DST, "cali9")}, None, ""),
    (
        "the cluster meanwhile",
        {Owner.WORKLOAD: Route(DST, "cali2"), Owner.CLUSTER: REMOTE},
        7,
        "tunl0",
    ),
    ("a tunnel that is down", {Owner.CLUSTER: Route(DST, "vxlan.calico")}, None, "vxlan.calico"),
    ("an end not known", {Owner.CLUSTER: Route(DST, "tunl0", known=False)}, None, "tunl0"),
    ("a blackhole", {Owner.CLUSTER: Route(DST, "", kind="blackhole")}, 0, ""),
]


@pytest.mark.parametrize(("case", "wanted", "device", "awaited"), CASES, ids=[c[0] for c in CASES])
def test_the_choice(case, wanted, device, awaited) -> None:
    wishes = RouteWishes(4)
    for owner, route in wanted.items():
        assert wishes.put(DST, owner, route)
        assert not wishes.put(DST, owner, route)
    chosen = wishes.choose(DST, INTERFACES.get)
    assert (None if chosen is None else chosen.device) == device
    assert wishes.awaits(DST) == awaited
    assert (DST in wishes) == bool(wanted)
    assert sorted(wishes.all()) == sorted((DST, owner) for owner in wanted)
    for owner, route in wanted.items():
        assert DST in wishes.over(route.interface)
        assert wishes.put(DST, owner, None)
    assert DST not in wishes
    assert not any(wishes.over(name) for name in ("", *INTERFACES))


def test_what_it_is_in_the_kernel() -> None:
    wishes = RouteWishes(4)
    wishes.put(DST, Owner.WORKLOAD, WORKLOAD)
    assert wishes.choose(DST, INTERFACES.get) == KernelRoute(KEY, 5, 3, LINK_SCOPE)
    wishes.put(DST, Owner.WORKLOAD, REMOTE)
    gateway = b"\xac\x1e\0\x02"
    assert wishes.choose(DST, INTERFACES.get) == KernelRoute(
        structs.replace(KEY, metric=0), 7, 80, 0, gateway=gateway, on_link=True, mtu=1480
    )
    wishes.put(DST, Owner.WORKLOAD, Route(DST, "", metric=0, kind="blackhole", source="9.9.9.9"))
    blackhole = KernelRoute(structs.replace(KEY, metric=0), 0, 3, 0, b"\x09" * 4, BLACKHOLE)
    assert wishes.choose(DST, INTERFACES.get) == blackhole


def test_ipv6_has_a_metric_always_and_a_scope_never() -> None:
    wishes = RouteWishes(6)
    wishes.put("fd65::/122", Owner.CLUSTER, Route("fd65::/122", "cali1", metric=0))
    chosen = wishes.choose("fd65::/122", INTERFACES.get)
    assert chosen is not None
    assert (chosen.key.metric, chosen.scope) == (1024, 0)


@pytest.mark.parametrize("dst", ["fd65::2/128", "10.65.0.2", "10.65.0.999/32"])
def test_what_is_no_destination_is_refused(dst: str) -> None:
    with pytest.raises(ValueError, match="is not"):
        RouteWishes(4).put(dst, Owner.WORKLOAD, Route(dst, "cali1"))
