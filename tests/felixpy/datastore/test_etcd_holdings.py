"""What a range has told: differences only, and nothing is kept of what is gone."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from calc_graph.bgp.resources import (
    BgpConfiguration,
    BgpConfigurationKey,
    NodeStatusKey,
    SecretRef,
)
from calc_graph.model import IpsecNode, IpsecNodeKey, Key, Tier, TierKey, Value, WorkloadEndpointKey
from felixpy.datastore.decode import InvalidResourceError, decode_stored
from felixpy.datastore.etcd_holdings import Holdings
from felixpy.datastore.etcd_keys import BGP_RANGES, IPSEC_RANGES, RANGES
from felixpy.datastore.source import Changed, Problems

TIERS = next(each for each in RANGES if each.kind == "Tier")
ENDPOINTS = next(each for each in RANGES if each.kind == "WorkloadEndpoint")
BAD = b"{"


def key_of(name: str) -> bytes:
    return f"{TIERS.prefix}{name}".encode()


def tier(order: float) -> bytes:
    return msgspec.json.encode({"spec": {"order": order, "defaultAction": "Pass"}})


def put(name: str, order: float) -> Changed:
    return Changed(TierKey(name), Tier(order, "Pass"))


def gone(name: str) -> Changed:
    return Changed(TierKey(name), None)


STEPS = [
    # case                     puts and deletes of "a", each with what it changes
    ("new",                    [(tier(1), [put("a", 1)])]),
    ("told again",             [(tier(1), [put("a", 1)]), (tier(1), [])]),
    ("changed",                [(tier(1), [put("a", 1)]), (tier(2), [put("a", 2)])]),
    ("deleted",                [(tier(1), [put("a", 1)]), (None, [gone("a")]), (None, [])]),
    ("back",                   [(tier(1), [put("a", 1)]), (None, [gone("a")]),
                                (tier(1), [put("a", 1)])]),
    ("never there",            [(None, [])]),
    ("never valid",            [(BAD, []), (BAD, []), (None, [])]),
    ("no longer valid",        [(tier(1), [put("a", 1)]), (BAD, [gone("a")]), (None, [])]),
    ("valid at last",          [(BAD, []), (tier(1), [put("a", 1)])]),
]  # fmt: skip


@pytest.mark.parametrize(("steps"), [steps for _, steps in STEPS], ids=[case for case, _ in STEPS])
def test_only_differences_are_told(steps: list[tuple[bytes | None, list[Changed]]]) -> None:
    holdings = Holdings(TIERS, Problems())
    for value, changes in steps:
        told = holdings.delete(key_of("a")) if value is None else holdings.put(key_of("a"), value)
        assert told == changes
        assert holdings.keys() == ({key_of("a")} if value is not None else set())


def test_what_is_wrong_is_said_as_long_as_it_is_there() -> None:
    problems = Problems()
    holdings = Holdings(TIERS, problems)
    mended = [lambda: holdings.put(key_of("a"), tier(1)), lambda: holdings.delete(key_of("a"))]
    for mend in mended:
        holdings.put(key_of("a"), BAD)
        assert list(problems.current) == [key_of("a").decode()]
        mend()
        assert not problems.current


def test_a_configuration_that_turns_bad_leaves_the_mesh_its_password() -> None:
    range_ = next(each for each in RANGES if each.kind == "BGPConfiguration")
    holdings, key = Holdings(range_, Problems()), f"{range_.prefix}default".encode()
    password = {"secretKeyRef": {"name": "bgp", "key": "mesh"}}
    reference = SecretRef("bgp", "mesh")
    told = [
        holdings.put(key, msgspec.json.encode({"spec": {"nodeMeshPassword": password, **more}}))
        for more in ({"asNumber": 65001}, {"asNumber": -1})
    ]
    told.append(holdings.put(key, BAD))
    where = BgpConfigurationKey("default")
    assert told == [
        [Changed(where, BgpConfiguration(as_number=65001, mesh_password=reference))],
        [Changed(where, BgpConfiguration(mesh_password=reference))],
        [Changed(where, None)],
    ]


def test_answers_to_who_asks_how_a_node_is_are_no_news() -> None:
    range_ = next(each for each in BGP_RANGES if each.kind == "CalicoNodeStatus")
    holdings, key = Holdings(range_, Problems()), f"{range_.prefix}s".encode()
    spec = {"node": "n1", "classes": ["BGP"], "updatePeriodSeconds": 10}
    for request, news in (
        ({"spec": spec}, 1),
        ({"spec": spec, "status": {"lastUpdated": "2026-01-05T00:00:00Z"}}, 0),
        ({"spec": spec, "status": {"lastUpdated": "2026-01-05T00:00:10Z"}}, 0),
        ({"spec": {**spec, "updatePeriodSeconds": 20}}, 1),
    ):
        assert len(holdings.put(key, msgspec.json.encode(request))) == news
    assert holdings.put(key, BAD) == [Changed(NodeStatusKey("s"), None)]


def test_what_a_node_publishes_of_ipsec_stays_when_it_turns_bad() -> None:
    (range_,), problems = IPSEC_RANGES, Problems()
    holdings, key = Holdings(range_, problems), f"{range_.prefix}n2".encode()
    good = [msgspec.json.encode({"spec": {"ipv4": f"10.0.0.{last}"}}) for last in (1, 2)]
    where = IpsecNodeKey("n2")
    assert holdings.put(key, BAD) == []  # it was never good
    assert holdings.put(key, good[0]) == [Changed(where, IpsecNode(ipv4="10.0.0.1"))]
    assert not problems.current
    for bad in (BAD, msgspec.json.encode({"spec": {"receive": [{"id": 16, "check": "0" * 16}]}})):
        assert holdings.put(key, bad) == []
        assert [*problems.current] == [key.decode()]
    assert holdings.put(key, good[1]) == [Changed(where, IpsecNode(ipv4="10.0.0.2"))]
    assert not problems.current
    holdings.put(key, BAD)
    assert holdings.delete(key) == [Changed(where, None)]
    assert not problems.current


NO_RESOURCES = [b"", b"a/b", b"\xff"]


@pytest.mark.parametrize("rest", NO_RESOURCES)
def test_a_key_that_is_no_resources_is_passed_over(rest: bytes) -> None:
    holdings = Holdings(TIERS, Problems())
    assert holdings.put(TIERS.prefix.encode() + rest, tier(1)) == []
    assert holdings.delete(TIERS.prefix.encode() + rest) == []


def test_two_names_of_one_endpoint_are_two_resources() -> None:
    """Keys of two namespaces differ; so do those of the graph."""
    holdings = Holdings(ENDPOINTS, Problems())
    value = msgspec.json.encode({"spec": {"interfaceName": "cali1", "ipNetworks": ["10.0.0.1/32"]}})
    for namespace in ("one", "two"):
        (change,) = holdings.put(f"{ENDPOINTS.prefix}{namespace}/n-lab-w-e".encode(), value)
        assert change.key == WorkloadEndpointKey("n", "lab", f"{namespace}/w", "e")
    assert len(holdings.keys()) == 2


def meaning(stored: dict[bytes, bytes]) -> dict[Key, Value]:
    found: dict[Key, Value] = {}
    for key, value in stored.items():
        identity = TIERS.identity(key)
        assert identity is not None
        try:
            found |= dict(decode_stored("Tier", *identity, value))
        except InvalidResourceError:
            continue
    return found


@given(
    st.lists(
        st.tuples(st.sampled_from("ab").map(key_of), st.sampled_from([None, BAD, tier(1), tier(2)]))
    )
)
def test_what_was_told_adds_up_to_what_is_stored(
    steps: list[tuple[bytes, bytes | None]],
) -> None:
    holdings = Holdings(TIERS, Problems())
    stored: dict[bytes, bytes] = {}
    told: dict[Key, Value] = {}
    for key, value in steps:
        if value is None:
            stored.pop(key, None)
            changes = holdings.delete(key)
        else:
            stored[key] = value
            changes = holdings.put(key, value)
        for each, model in changes:
            assert told.get(each) != model
            if model is None:
                del told[each]
            else:
                told[each] = model
        assert told == meaning(stored)
        assert holdings.keys() == set(stored)
