"""Names of chains and IP sets against the vectors, and against names that want to break out."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from calc_graph.interfaces import safe_interface
from calc_graph.model import PolicyKey
from dataplane.render import names
from dataplane.render.groups import PolicyGroup
from dataplane.render.names import Direction
from tests.dataplane.render.vectors import Case, cases, params

_ALL = cases("chain-names")
_POLICIES = [case for case in _ALL if case["what"] == "policy"]
_PROFILES = [case for case in _ALL if case["what"] == "profile"]
_INTERFACES = [case for case in _ALL if case["what"] == "interface"]
_GROUPS = [case for case in _ALL if case["what"] == "group"]
# The other prefixes of the interface cases: cali-sm- is IPVS, cali-arp- is nft.
_BY_PREFIX = {
    "cali-tw-": names.to_workload,
    "cali-fw-": names.from_workload,
    "cali-th-": names.to_host,
    "cali-fh-": names.from_host,
    "cali-thfw-": names.to_host_forward,
    "cali-fhfw-": names.from_host_forward,
}
# Left out: names of temporary sets and of what belongs to whom, which are the IP set driver's, not
# the renderers'.
_IPSETS = [case for case in cases("ipset-names") if "set_id" in case]


def test_every_case_is_covered() -> None:
    assert len(_ALL) == len(_POLICIES) + len(_PROFILES) + len(_INTERFACES) + len(_GROUPS) == 57
    assert len(_IPSETS) == 44


@pytest.mark.parametrize("case", params(_POLICIES, "kind", "namespace", "name"))
def test_policy(case: Case) -> None:
    key = PolicyKey(case["kind"], case["namespace"], case["name"])
    assert names.policy_chain(key, "ingress") == case["ingress"]
    assert names.policy_chain(key, "egress") == case["egress"]


@pytest.mark.parametrize("case", params(_PROFILES, "name"))
def test_profile(case: Case) -> None:
    assert names.profile_chain(case["name"], "ingress") == case["ingress"]
    assert names.profile_chain(case["name"], "egress") == case["egress"]


@pytest.mark.parametrize("case", params(_INTERFACES, "name"))
def test_interface(case: Case) -> None:
    assert {prefix: f(case["name"]) for prefix, f in _BY_PREFIX.items()} == {
        prefix: case[prefix] for prefix in _BY_PREFIX
    }


@pytest.mark.parametrize("case", params(_GROUPS, "selector", "direction", "id"))
def test_group(case: Case) -> None:
    keys = tuple(PolicyKey(p["kind"], p["namespace"], p["name"]) for p in case["policies"])
    direction: Direction = "ingress" if case["direction"] == "inbound" else "egress"
    group = PolicyGroup(case["selector"], direction, keys)
    assert names.group_id(*group) == case["id"]
    assert names.group_chain(*group) == case["chain"]
    assert not case["inlined"]
    assert group.jump_targets() == (case["chain"],)


@pytest.mark.parametrize("case", params(_IPSETS, "what", "set_id"))
def test_ipset(case: Case) -> None:
    assert names.ipset_name(case["set_id"], 4) == case["v4_set"]
    assert names.ipset_name(case["set_id"], 6) == case["v6_set"]


HOSTILE = [
    "a b",
    "a\nCOMMIT",
    'a"b',
    "a'b",
    "a;b",
    "a\\b",
    "a\tb",
    "\N{LATIN SMALL LETTER E WITH ACUTE}",
    "a\x00b",
    "!",
]


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_names_are_hashed(name: str) -> None:
    """Deliberate difference: Felix hashes by length alone and trusts validation."""
    key = PolicyKey("NetworkPolicy", name, name)
    chains = [names.policy_chain(key, "ingress"), names.profile_chain(name, "egress")]
    chains.append(names.to_workload(name))
    assert [chain for chain in chains if len(chain) != 28 or "-_" not in chain] == []


@given(st.text(), st.text(), st.text())
def test_any_name_makes_a_word_of_at_most_28_characters(kind: str, space: str, name: str) -> None:
    chain = names.policy_chain(PolicyKey(kind, space, name), "egress")
    assert len(chain) <= 28
    assert re.fullmatch(r"cali-po-[A-Za-z0-9._/-]+", chain)


def test_a_slash_of_its_own_makes_no_other_policy_s_name() -> None:
    one = PolicyKey("NetworkPolicy", "a/b", "c")
    other = PolicyKey("NetworkPolicy", "a", "b/c")
    assert names.policy_chain(one, "ingress") != names.policy_chain(other, "ingress")


@pytest.mark.parametrize("name", ["eth0", "cali1234", "bond0.100", "a-b_c", "x" * 15, "..."])
def test_safe_interfaces(name: str) -> None:
    assert safe_interface(name)


@pytest.mark.parametrize(
    "name", ["", ".", "..", "x" * 16, "a b", "a\n", "eth+", "a/b", "a:1", names.ANY_INTERFACE]
)
def test_unsafe_interfaces(name: str) -> None:
    assert not safe_interface(name)
