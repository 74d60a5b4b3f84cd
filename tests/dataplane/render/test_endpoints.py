"""Endpoint and group chains against the vectors; and each deliberate difference."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from calc_graph.model import HostEndpoint, PolicyKey, QosControls, WorkloadEndpoint
from calc_graph.updates import TierPolicies
from dataplane.chains import Chain
from dataplane.render import names
from dataplane.render.endpoints import (
    EndpointChains,
    host_filter_chains,
    host_mangle_chains,
    host_raw_chains,
    workload_chains,
)
from dataplane.render.errors import RenderError
from dataplane.settings import RenderSettings
from tests.dataplane.render.vectors import Case, cases, numbered, params

_G1 = PolicyKey("GlobalNetworkPolicy", "", "g1")
_P1, _P2, _P3 = (PolicyKey("NetworkPolicy", "fv", f"p{n}") for n in (1, 2, 3))
_S1 = PolicyKey("StagedNetworkPolicy", "fv", "s1")
_TWELVE = tuple(PolicyKey("GlobalNetworkPolicy", "", letter) for letter in "abcdefghijkl")
_SELECTORS = {_G1: "all()", _P1: "has(a)", _P2: "has(a)", _P3: "has(b)", _S1: "has(a)"}
_DEFAULT = RenderSettings()


def _default(ingress: Any = (), egress: Any = (), action: Any = "Deny") -> TierPolicies:
    return TierPolicies("default", action, ingress, egress)


_TWO_TIERS = (
    TierPolicies("sec", "Pass", (_G1,), (_G1,)),
    _default((_P1, _P2, _P3), (_P1, _P2)),
)
_FV = WorkloadEndpoint("cali1234", (), profiles=("kns.fv",))
_BARE = WorkloadEndpoint("cali1234", ())
_HOST = HostEndpoint("eth0", profiles=("prof1",))


def _workload(
    endpoint: WorkloadEndpoint,
    *tiers: TierPolicies,
    settings: RenderSettings = _DEFAULT,
) -> EndpointChains:
    return workload_chains("cali1234", endpoint, tiers, _SELECTORS.__getitem__, settings)


def _host_filter(
    endpoint: HostEndpoint, tiers: Any, forward: Any, interface: str = "eth0"
) -> EndpointChains:
    return host_filter_chains(interface, endpoint, tiers, forward, _SELECTORS.__getitem__, _DEFAULT)


def _host_mangle(tiers: Any, pre_dnat: Any, settings: RenderSettings = _DEFAULT) -> EndpointChains:
    return host_mangle_chains("eth0", _HOST, tiers, pre_dnat, _SELECTORS.__getitem__, settings)


def _group(*keys: PolicyKey) -> EndpointChains:
    """The chain of a group that consists of these policies."""
    walk = workload_chains("cali1234", _FV, (_default(keys),), lambda _key: "all()", _DEFAULT)
    return EndpointChains(walk.groups)


_TIERED = "workload, tier sec (default action Pass) with one policy, tier default with a"
_TIERED += " two-policy group and a single policy"
_QOS = QosControls(1000, 2000, 50, 60, 7, 8)
RENDERED = {
    "workload, no tiers, two profiles": _workload(
        WorkloadEndpoint("cali1234", (), profiles=("kns.default", "ksa.default.default"))
    ),
    _TIERED: _workload(_FV, *_TWO_TIERS),
    "workload, only a staged policy in the tier": _workload(_FV, _default((_S1,))),
    "workload, staged and enforced policy in one group": _workload(_BARE, _default((_S1, _P1))),
    "workload, admin down": _workload(msgspec.structs.replace(_FV, admin_up=False)),
    "workload, packet rate 1000/2000, packet burst 50/60, connections 7/8": _workload(
        msgspec.structs.replace(_FV, qos=_QOS)
    ),
    "workload, allow action RETURN, deny action REJECT": _workload(
        _FV,
        _default((_G1,)),
        settings=RenderSettings(filter_allow_action="RETURN", filter_deny_action="REJECT"),
    ),
    "workload, encapsulated packets allowed, no INVALID check": _workload(
        _BARE,
        settings=RenderSettings(
            allow_vxlan_from_workloads=True,
            allow_ipip_from_workloads=True,
            conntrack_invalid_check=False,
        ),
    ),
    "host endpoint, filter: normal tiers and one forward tier with ingress only": _host_filter(
        _HOST, _TWO_TIERS, (_default((_G1,)),)
    ),
    "host endpoint, filter: no tiers at all": _host_filter(HostEndpoint("eth0"), (), ()),
    "wildcard host endpoint, filter": _host_filter(
        HostEndpoint("*"), (_default((_G1,)),), (_default((_G1,)),), names.ANY_INTERFACE
    ),
    "host endpoint, mangle egress": _host_mangle(_TWO_TIERS, ()),
    "host endpoint, mangle ingress (pre-DNAT)": _host_mangle(
        (), (_default((_G1,), action="Pass"),)
    ),
    "host endpoint, raw (untracked)": host_raw_chains(
        "eth0", (_default((_G1,), (_G1,), "Pass"),), _SELECTORS.__getitem__, _DEFAULT
    ),
    "policy group of 12": _group(*_TWELVE),
    "policy group with a staged policy in the middle": _group(_P1, _S1, _P2),
}

_ALL = cases("chain-hashes-endpoints")
_LEFT_OUT = {"same with flow logs": "not built"}
_ELSEWHERE = ("nat outgoing", "floating IPs", "service loop", "DSCP", "wireguard")  # test_nat
# Defect D12: the direction without policies decides nothing.
_MENDED = {
    "host endpoint, filter: normal tiers and one forward tier with ingress only": "cali-thfw-eth0",
    "wildcard host endpoint, filter": "cali-thfw-_Nqh4HyA73udmyanQI",
}
_HERE = [
    case
    for case in _ALL
    if case["what"] not in _LEFT_OUT and not case["what"].startswith(_ELSEWHERE)
]
_SAME = [case for case in _HERE if case["chain"] != _MENDED.get(case["what"])]


def test_every_case_is_covered() -> None:
    left_out = [case for case in _ALL if case["what"] in _LEFT_OUT]
    elsewhere = [case for case in _ALL if case["what"].startswith(_ELSEWHERE)]
    assert (len(_ALL), len(left_out), len(elsewhere)) == (46, 2, 10)
    assert (len(_HERE), len(_SAME)) == (34, 32)
    assert {case["what"] for case in _HERE} == RENDERED.keys()


def rendered(case: Case) -> Chain:
    [chain] = [chain for chain in RENDERED[case["what"]].chains if chain.name == case["chain"]]
    return chain


@pytest.mark.parametrize("case", params(_SAME, "what", "chain"))
def test_same_text_and_ids(case: Case) -> None:
    assert numbered(rendered(case)) == case["iptables"]


# ---------------------------------------------------------------- deliberate differences

_FORWARD_ALLOWED = (
    '-m comment --comment "Allow forwarded traffic by default"'
    " --jump MARK --set-mark 0x10000/0x10000",
    '-m comment --comment "Return for accepted forward traffic" --jump RETURN',
)


@pytest.mark.parametrize("case", params([c for c in _HERE if c not in _SAME], "what", "chain"))
def test_d12_a_direction_without_forward_policy_is_open(case: Case) -> None:
    """Vectors of _MENDED: the chain ends without a verdict."""
    theirs = tuple(rule["text"].split("HASH ")[1] for rule in case["iptables"])
    assert rendered(case).rules == (*theirs, *_FORWARD_ALLOWED)


def test_d12_a_staged_policy_does_not_close_forwarding() -> None:
    """No vector: staged policies must not be felt, and the original's chain decides nothing."""
    chains = _host_filter(_HOST, (), (_default((_S1,)),)).chains
    assert chains[3].name == "cali-fhfw-eth0"
    assert chains[3].rules[-2:] == _FORWARD_ALLOWED


def test_d8_mangle_and_raw_drop_what_filter_rejects() -> None:
    """Vector "host endpoint, mangle egress" with REJECT as deny action: refused by the tools."""
    reject = RenderSettings(filter_deny_action="REJECT")
    tiers = (_default((_G1,), (_G1,)),)
    assert _host_mangle(tiers, tiers, reject) == _host_mangle(tiers, tiers)
    raw = [
        host_raw_chains("eth0", tiers, _SELECTORS.__getitem__, settings)
        for settings in (reject, _DEFAULT)
    ]
    assert raw[0] == raw[1]
    host = host_filter_chains("eth0", _HOST, tiers, (), _SELECTORS.__getitem__, reject)
    assert "REJECT" in host.chains[0].rules[-1]


# ---------------------------------------------------------------- the rest


def test_groups_are_there_once() -> None:
    tiers = (_default((_P1, _P2), (_P1, _P2)),)
    chains = _host_filter(_HOST, tiers, tiers)
    assert [group.name[:8] for group in chains.groups] == ["cali-go-", "cali-gi-"]
    targets = {target for chain in chains.chains for target in chain.targets()}
    assert {group.name for group in chains.groups} <= targets


def test_host_chains_only_where_policy_asks_for_them() -> None:
    assert [c.name for c in _host_mangle((), ()).chains] == ["cali-th-eth0"]
    raw = host_raw_chains("eth0", (), _SELECTORS.__getitem__, _DEFAULT)
    assert raw == EndpointChains(())


def test_mangle_allow_action_of_pre_dnat() -> None:
    settings = RenderSettings(mangle_allow_action="RETURN")
    chain = _host_mangle((), (_default((_G1,)),), settings).chains[1]
    assert chain.rules[:2] == (
        "-m conntrack --ctstate RELATED,ESTABLISHED --jump MARK --set-mark 0x10000/0x10000",
        "-m conntrack --ctstate RELATED,ESTABLISHED --jump RETURN",
    )


_LIMITS = [
    QosControls(ingress_packet_rate=10_001, ingress_packet_burst=1),
    QosControls(egress_packet_rate=1, egress_packet_burst=10_001),
    QosControls(egress_packet_rate=-1),
]


@pytest.mark.parametrize("qos", _LIMITS)
def test_limits_that_the_kernel_does_not_take(qos: QosControls) -> None:
    """Defect D21: the tools refuse the whole table."""
    with pytest.raises(RenderError, match=r"cali1234.*packet rate"):
        _workload(msgspec.structs.replace(_FV, qos=qos))


def test_a_rate_without_burst_has_the_kernel_s_own() -> None:
    qos = QosControls(ingress_packet_rate=100)
    to, from_ = _workload(msgspec.structs.replace(_FV, qos=qos)).chains
    assert "-m limit --limit 100/sec --jump MARK" in to.rules[1]
    assert not any("limit" in body for body in from_.rules)


def test_a_tier_s_name_stays_in_its_comment() -> None:
    tier = TierPolicies('x"\n-A INPUT', "Deny", (_G1,))
    to, _ = _workload(_FV, tier).chains
    assert any('"Start of tier x__-A INPUT"' in body for body in to.rules)
