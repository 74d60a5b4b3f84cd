"""Fixed chains and hooks against the vectors, with and without overlays."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from dataplane.chains import Chain, rule_ids
from dataplane.render.nat import nat_outgoing_chain
from dataplane.render.overlays import NO_OVERLAYS, Overlays
from dataplane.render.static import Hook, hooks, static_chains
from dataplane.settings import FailsafePort, RenderSettings
from tests.dataplane.render.vectors import FAILSAFE, Case, cases, numbered, params

_ALL = cases("chain-hashes-static")
# Of the IPVS configuration only the chains that differ from the default one: it is not built.
_IPVS = {
    ("filter", "cali-INPUT"),
    ("filter", "cali-OUTPUT"),
    ("filter", "cali-forward-check"),
    ("filter", "cali-forward-endpoint-mark"),
    ("mangle", "cali-POSTROUTING"),
}
# Defect D8: the REJECT target is refused outside the filter table.
_MENDED = ("return", "raw", "cali-PREROUTING")


def _of_ipvs(case: Case) -> bool:
    return case["config"]["name"] == "ipvs" and (case["table"], case["chain"]) in _IPVS


def _mended(case: Case) -> bool:
    return (case["config"]["name"], case["table"], case["chain"]) == _MENDED


_SAME = [case for case in _ALL if not _of_ipvs(case) and not _mended(case)]

_SETTINGS = {
    "default": FAILSAFE,
    "ipvs": FAILSAFE,
    "overlay": FAILSAFE,
    "return": msgspec.structs.replace(
        FAILSAFE,
        filter_allow_action="RETURN",
        mangle_allow_action="RETURN",
        filter_deny_action="REJECT",
        endpoint_to_host_action="RETURN",
        interface_prefixes=("cali", "tap"),
    ),
    "openstack": msgspec.structs.replace(
        FAILSAFE,
        openstack=True,
        metadata_addr="10.0.0.1",
        metadata_port=9697,
        interface_prefixes=("tap",),
        conntrack_invalid_check=False,
    ),
}
_OVERLAYS = {
    4: Overlays(
        ipip_device="tunl0",
        ipip_addressed=True,
        vxlan_device="vxlan.calico",
        vxlan_addressed=True,
        wireguard_device="wireguard.cali",
        wireguard_port=51820,
        wireguard_mark=0x200000,
    ),
    6: Overlays(
        vxlan_device="vxlan-v6.calico",
        vxlan_addressed=True,
        wireguard_device="wg-v6.cali",
        wireguard_port=51821,
        wireguard_mark=0x200000,
    ),
}


def render(case: Case) -> Chain:
    config, table, family = case["config"]["name"], case["table"], case["ip_version"]
    settings = _SETTINGS[config]
    if case["chain"] == "cali-nat-outgoing":
        return nat_outgoing_chain(family, settings, active=True)
    kernel_chain, _, appends = case["chain"].partition("*")
    if not kernel_chain.startswith("cali-"):
        [hook] = [h for h in hooks(table, family, settings) if h.kernel_chain == kernel_chain]
        return Chain(case["chain"], hook.appends if appends else hook.inserts)
    overlays = _OVERLAYS[family] if config == "overlay" else NO_OVERLAYS
    chains = static_chains(table, family, settings, overlays)
    [found] = [chain for chain in chains if chain.name == case["chain"]]
    return found


def test_every_case_is_covered() -> None:
    ipvs = [case for case in _ALL if _of_ipvs(case)]
    assert (len(_ALL), len(ipvs), len(_SAME)) == (98, 5, 92)


@pytest.mark.parametrize("case", params(_SAME, "table", "ip_version", "chain"))
def test_same_text_and_ids(case: Case) -> None:
    assert numbered(render(case)) == case["iptables"]


@pytest.mark.parametrize("table", ["raw", "mangle", "nat", "filter"])
@pytest.mark.parametrize("family", [4, 6])
def test_no_chain_that_the_vectors_do_not_have(table: Any, family: Any) -> None:
    known = {case["chain"] for case in _ALL if case["table"] == table}
    chains = static_chains(table, family, FAILSAFE)
    assert {chain.name for chain in chains} <= known
    assert len({chain.name for chain in chains}) == len(chains)


def test_d8_spoofed_packets_are_dropped_in_raw() -> None:
    """Vector "return", raw, cali-PREROUTING: REJECT, which raw refuses."""
    [case] = [case for case in _ALL if _mended(case)]
    theirs = [rule["text"].split("HASH ")[1] for rule in case["iptables"]]
    assert sum("REJECT" in body for body in theirs) == 1
    assert list(render(case).rules) == [body.replace("REJECT", "DROP") for body in theirs]


@pytest.mark.parametrize("family", [4, 6])
def test_hooks(family: Any) -> None:
    placed = {
        (table, hook.kernel_chain): (hook.inserts, hook.appends)
        for table in ("raw", "mangle", "nat", "filter")
        for hook in hooks(table, family, RenderSettings())
    }
    in_front = [
        *[("raw", "PREROUTING"), ("raw", "OUTPUT"), ("mangle", "PREROUTING")],
        *[("mangle", "POSTROUTING"), ("nat", "PREROUTING"), ("nat", "OUTPUT")],
        *[("filter", "INPUT"), ("filter", "FORWARD"), ("filter", "OUTPUT")],
    ]
    for table, chain in in_front:
        assert placed[table, chain][0] == (f"--jump cali-{chain}",)
    assert placed["nat", "POSTROUTING"] == ((), ("--jump cali-POSTROUTING",))
    assert len(placed) == 10
    assert {where for where, (_, appends) in placed.items() if appends} == {
        ("nat", "POSTROUTING"),
        ("filter", "FORWARD"),
    }


def test_a_hook_is_nothing_by_default() -> None:
    assert Hook("INPUT") == Hook("INPUT", (), ())


_NETS = RenderSettings(
    failsafe_inbound=(
        FailsafePort("tcp", 22, "172.30.0.200/32"),
        FailsafePort("udp", 68, "fd00::/8"),
    ),
    failsafe_outbound=(FailsafePort("udp", 53, "10.0.0.0/8"),),
)
_FAILSAFE_NETS = [
    # table, family   incoming, outgoing
    (
        "filter",
        4,
        ["-p tcp -m multiport --destination-ports 22 --source 172.30.0.200/32 --jump ACCEPT"],
        ["-p udp -m multiport --destination-ports 53 --destination 10.0.0.0/8 --jump ACCEPT"],
    ),
    (
        "raw",
        6,
        ["-p udp -m multiport --destination-ports 68 --source fd00::/8 --jump ACCEPT"],
        ["-p udp -m multiport --source-ports 68 --destination fd00::/8 --jump ACCEPT"],
    ),
]


@pytest.mark.parametrize(("table", "family", "incoming", "outgoing"), _FAILSAFE_NETS)
def test_failsafe_nets(table: Any, family: Any, incoming: list[str], outgoing: list[str]) -> None:
    chains = {chain.name: list(chain.rules) for chain in static_chains(table, family, _NETS)}
    assert chains["cali-failsafe-in"] == incoming
    assert chains["cali-failsafe-out"] == outgoing


def test_failsafe_with_a_net_has_felix_s_id() -> None:
    """As Felix left them with FailsafeInboundHostPorts=22,udp:8055,tcp:172.30.0.200/32:8056."""
    ports = (
        FailsafePort("tcp", 22),
        FailsafePort("udp", 8055),
        FailsafePort("tcp", 8056, "172.30.0.200/32"),
    )
    settings = RenderSettings(failsafe_inbound=ports)
    [chain] = [
        chain for chain in static_chains("filter", 4, settings) if chain.name == "cali-failsafe-in"
    ]
    assert rule_ids(chain.name, chain.rules) == (
        "wWFQM43tJU7wwnFZ",
        "d4KsLAJq6gRNqG7d",
        "dfJ112XqpzHe-i8P",
    )


@pytest.mark.parametrize(
    ("port", "ports"),
    [(4789, "4790-65535"), (60000, "1024-59999"), (1, "1024-65535"), (65535, "1024-65534")],
)
def test_masqueraded_ports_keep_away_from_vxlan(port: int, ports: str) -> None:
    overlays = Overlays(vxlan_device="vxlan.calico", vxlan_addressed=True)
    chains = static_chains("nat", 4, RenderSettings(vxlan_port=port), overlays)
    assert f"--to-ports {ports} " in chains[1].rules[2]


_PARTLY = [
    # a tunnel that is on but has no address yet masquerades nothing
    (Overlays(ipip_device="tunl0"), []),
    (Overlays(ipip_device="tunl0", ipip_addressed=True), ["tunl0"]),
    (Overlays(vxlan_device="vxlan.calico"), []),
    (Overlays(wireguard_device="wg"), ["wg"]),
    (Overlays(vxlan_device="vxlan.calico", wireguard_device="wg"), ["wg", "wg"]),
]


@pytest.mark.parametrize(("overlays", "devices"), _PARTLY)
def test_tunnels_masquerade_when_addressed(overlays: Overlays, devices: list[str]) -> None:
    postrouting = static_chains("nat", 4, RenderSettings(), overlays)[1].rules[2:]
    assert [body.split("--out-interface ")[1].split()[0] for body in postrouting] == devices


def test_ipip_is_not_for_ipv6() -> None:
    overlays = Overlays(ipip_device="tunl0")
    assert static_chains("filter", 6, RenderSettings(), overlays) == static_chains(
        "filter", 6, RenderSettings()
    )


def test_without_a_metadata_address_there_is_no_metadata_rule() -> None:
    settings = msgspec.structs.replace(_SETTINGS["openstack"], metadata_addr="")
    rules = [
        rule
        for table in ("nat", "filter")
        for chain in static_chains(table, 4, settings)
        for rule in chain.rules
    ]
    assert not [rule for rule in rules if "9697" in rule or "169.254" in rule]
