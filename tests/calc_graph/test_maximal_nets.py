"""The widest nets, against the definition."""

from __future__ import annotations

from collections.abc import Set as AbstractSet
from ipaddress import IPv4Network, IPv6Network, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from calc_graph.maximal_nets import MaximalNets, is_wide

HOSTS = {f"10.0.{i}.{j}/32" for i in range(8) for j in range(0, 256, 16)}

CASES = [
    # before               added              removed            told added      told removed
    ({"10.0.0.1/32"},      {"10.0.0.2/32"},   set(),             {"10.0.0.2/32"}, set()),
    ({"10.0.0.1/32"},      {"10.0.0.0/8"},    set(),             {"10.0.0.0/8"}, {"10.0.0.1/32"}),
    ({"10.0.0.0/8", "10.0.0.1/32"}, set(),    {"10.0.0.0/8"},    {"10.0.0.1/32"}, {"10.0.0.0/8"}),
    ({"10.0.0.0/8", "10.0.0.0/16", "10.0.0.1/32"}, set(), {"10.0.0.0/8"},
     {"10.0.0.0/16"}, {"10.0.0.0/8"}),
    ({"10.0.0.0/8"},       {"10.0.0.0/16"},   set(),             set(),           set()),
    ({"10.0.0.0/8"},       {"10.0.0.0/7"},    {"10.0.0.0/8"},    {"10.0.0.0/7"}, {"10.0.0.0/8"}),
    ({"::/1", "fd00::1/128"}, {"8000::/1"},   set(),             {"8000::/1"},   {"fd00::1/128"}),
    ({"0.0.0.0/1", "128.0.0.0/1"}, {"::1/128"}, set(),           {"::1/128"},    set()),
]  # fmt: skip


@pytest.mark.parametrize(("before", "added", "removed", "told_added", "told_removed"), CASES)
@pytest.mark.parametrize("among", [set(), {f"192.168.{i}.1/32" for i in range(99)}])
def test_difference(
    before: set[str],
    added: set[str],
    removed: set[str],
    told_added: AbstractSet[str],
    told_removed: AbstractSet[str],
    among: set[str],
) -> None:
    nets = MaximalNets()
    nets.start(before | among)
    assert nets.change((before | among | added) - removed, added, removed) == (
        told_added,
        told_removed,
    )


def widest(nets: set[str]) -> set[str]:
    def covered(net: IPv4Network | IPv6Network, other: IPv4Network | IPv6Network) -> bool:
        return net != other and net.version == other.version and net.subnet_of(other)  # type: ignore[arg-type]

    parsed = [ip_network(net) for net in nets]
    wide = [net for net in parsed if is_wide(str(net))]
    return {str(net) for net in parsed if not any(covered(net, other) for other in wide)}


NETS = st.one_of(
    st.builds(
        lambda address, length: str(ip_network((address << 22 | 10 << 24, length), strict=False)),
        st.integers(0, 3),
        st.integers(5, 32),
    ),
    st.builds(
        lambda address, length: str(ip_network((address << 100, length), strict=False)),
        st.integers(0, 3),
        st.integers(1, 128),
    ),
    st.sampled_from(sorted(HOSTS)),
)


@given(
    st.sets(NETS, max_size=10),
    st.lists(st.lists(NETS, min_size=1, max_size=3, unique=True), max_size=10),
    st.booleans(),
)
def test_any_path_ends_in_the_widest(
    start: set[str], steps: list[list[str]], among_many: bool
) -> None:
    """Among many others a small change edits the sorted lists; alone it makes them anew."""
    present = start | (HOSTS if among_many else set())
    nets = MaximalNets()
    told = set(nets.start(present))
    for toggled in steps:
        added = set(toggled) - present
        removed = set(toggled) & present
        present = (present | added) - removed
        told_added, told_removed = nets.change(present, added, removed)
        assert not told_added & told
        assert told_removed <= told
        told = (told | told_added) - told_removed
    assert told == widest(present)
