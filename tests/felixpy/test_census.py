"""Counting resources by kind, whatever the order of what comes."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from calc_graph.bgp import resources as bgp
from calc_graph.model import IpPool, IpPoolKey, Key, Profile, ProfileKey, Tier, TierKey, Value
from felixpy.census import Census

VALUES: dict[Key, Value] = {
    TierKey("a"): Tier(),
    TierKey("b"): Tier(),
    ProfileKey("p"): Profile(),
    IpPoolKey("not counted"): IpPool("10.0.0.0/8"),
    bgp.BgpPeerKey("nor this"): bgp.BgpPeer(),
    bgp.BgpFilterKey("nor this"): bgp.BgpFilter(),
    bgp.BgpConfigurationKey("default"): bgp.BgpConfiguration(),
    bgp.BlockAffinityKey("n1", "10.0.0.0/26"): bgp.BlockAffinity(),
    bgp.NodeStatusKey("nor this"): bgp.NodeStatusRequest("n1", ("BGP",), 10),
}


@given(st.lists(st.tuples(st.sampled_from(list(VALUES)), st.booleans())))
def test_counts_are_those_of_the_last_word_on_each(steps: list[tuple[Key, bool]]) -> None:
    census = Census()
    there: set[Key] = set()
    for key, present in steps:
        census.note(key, VALUES[key] if present else None)
        (there.add if present else there.discard)(key)
    counts = census.counts()
    assert counts["tiers"] == sum(isinstance(key, TierKey) for key in there)
    assert counts["profiles"] == sum(isinstance(key, ProfileKey) for key in there)
    assert all(counts[name] == 0 for name in counts.keys() - {"tiers", "profiles"})
