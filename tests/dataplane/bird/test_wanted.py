"""What stands is the newest of each, whatever came before."""

from __future__ import annotations

from calc_graph.bgp.resources import BgpFilter, FilterRule, SecretRef
from calc_graph.bgp.updates import (
    BgpFaults,
    BgpFilterRemove,
    BgpFilterUpdate,
    BgpOriginsRemove,
    BgpSessionRemove,
    BgpSpeaker,
)
from dataplane.bird.wanted import Wanted
from tests.dataplane.bird.golden_cases import MESH, N2, N3, SPEAKER, TOR, mesh, tor


def test_nothing_is_known_at_first():
    wanted = Wanted()
    assert wanted.speaker is None
    assert wanted.faults == BgpFaults()
    assert wanted.secrets() == frozenset()
    assert not any((wanted.origins, wanted.sessions, wanted.filters))


def test_the_newest_of_each_stands():
    wanted = Wanted()
    accept = BgpFilter(import_v4=(FilterRule(True),))
    faults = BgpFaults((("Node n3", "has no address"),))
    wanted.apply([SPEAKER, BgpSpeaker("n1"), N2, BgpFilterUpdate("f", BgpFilter())])
    wanted.apply([mesh(N2, password=MESH), mesh(N2, password=TOR), BgpFilterUpdate("f", accept)])
    wanted.apply([faults])
    assert wanted.speaker == BgpSpeaker("n1")
    assert dict(wanted.origins) == {"n2": N2}
    assert dict(wanted.sessions) == {"Mesh_10_0_0_2": mesh(N2, password=TOR)}
    assert dict(wanted.filters) == {"f": accept}
    assert wanted.faults == faults


def test_what_is_removed_is_gone_and_may_be_removed_again():
    wanted = Wanted()
    wanted.apply([N2, N3, mesh(N2), BgpFilterUpdate("f", BgpFilter())])
    removals = [BgpOriginsRemove("n2"), BgpSessionRemove("Mesh_10_0_0_2"), BgpFilterRemove("f")]
    wanted.apply(removals)
    wanted.apply(removals)
    assert dict(wanted.origins) == {"n3": N3}
    assert not wanted.sessions
    assert not wanted.filters


def test_secrets_are_those_that_sessions_name():
    wanted = Wanted()
    wanted.apply([mesh(N2, password=MESH), mesh(N3, password=MESH), tor(password=TOR), tor("::1")])
    assert wanted.secrets() == {MESH, TOR}
    wanted.apply([BgpSessionRemove("Global_10_0_0_254")])
    assert wanted.secrets() == {SecretRef("bgp-secrets", "mesh")}
