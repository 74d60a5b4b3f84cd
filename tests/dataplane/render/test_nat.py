"""Chains made from addresses, against the vectors; and each deliberate difference."""

from __future__ import annotations

from typing import Any

import pytest

from calc_graph.model import NatMapping
from dataplane.chains import Chain
from dataplane.render.errors import RenderError
from dataplane.render.nat import (
    cidr_block_chain,
    egress_dscp_chain,
    floating_ip_chains,
    nat_outgoing_chain,
    rpf_skip_chain,
)
from dataplane.render.overlays import Overlays
from dataplane.render.static import static_chains
from dataplane.settings import RenderSettings
from tests.dataplane.render.vectors import cases, numbered

_FLOATING = (NatMapping("2.2.2.2", "10.0.0.2"), NatMapping("1.1.1.1", "10.0.0.1"))
_FILTERED = RenderSettings(
    nat_outgoing_address="192.0.2.1",
    nat_outgoing_interface="eth+",
    nat_outgoing_exclude_hosts=True,
)


def _incoming_mark() -> Chain:
    chains = static_chains("raw", 4, RenderSettings(), Overlays(wireguard_mark=0x200000))
    return next(chain for chain in chains if chain.name == "cali-wireguard-incoming-mark")


SAME = {
    "nat outgoing, inactive": nat_outgoing_chain(4, RenderSettings(), active=False),
    "nat outgoing, port range 99:100": nat_outgoing_chain(
        4, RenderSettings(nat_port_range=(99, 100)), active=True
    ),
    "nat outgoing, fixed address, interface filter, host IPs excluded": nat_outgoing_chain(
        4, _FILTERED, active=True
    ),
    "floating IPs, DNAT (external to internal 2.2.2.2->10.0.0.2, 1.1.1.1->10.0.0.1)": (
        floating_ip_chains(_FLOATING, 4, RenderSettings())[0]
    ),
    "floating IPs, SNAT (internal to external 10.0.0.2->2.2.2.2, 10.0.0.1->1.1.1.1)": (
        floating_ip_chains(_FLOATING, 4, RenderSettings())[1]
    ),
    "service loop prevention": cidr_block_chain(
        ("192.168.40.0/24", "fd00::/112", "10.96.0.0/12"), 4, RenderSettings()
    ),
    "service loop prevention, Reject": cidr_block_chain(
        ("10.96.0.0/12",), 4, RenderSettings(service_loop_prevention="Reject")
    ),
    "wireguard incoming mark": _incoming_mark(),
}
MENDED = {
    "DSCP": "D5",
    "nat outgoing for v6 with a v4 fixed address"
    " (upstream defect: refused by ip6tables and nft)": "D6",
}


@pytest.mark.parametrize("what", SAME)
def test_same_text_and_ids(what: str) -> None:
    [case] = [case for case in cases("chain-hashes-endpoints") if case["what"] == what]
    assert SAME[what].name == case["chain"]
    assert numbered(SAME[what]) == case["iptables"]


def test_d5_one_dscp_rule_a_net() -> None:
    """Vector "DSCP": a list of nets, which iptables splits into rules of one id."""
    values = [("10.65.0.2/32", 0), ("10.65.0.1/32", 46), ("10.65.0.3/32", 0), ("fd00::1/128", 46)]
    assert egress_dscp_chain(values, 4).rules == (
        "--source 10.65.0.1/32 --jump DSCP --set-dscp 46",
        "--source 10.65.0.2/32 --jump DSCP --set-dscp 0",
        "--source 10.65.0.3/32 --jump DSCP --set-dscp 0",
    )
    assert len(egress_dscp_chain(values, 6).rules) == 1


_SETS6 = (
    "-m set --match-set cali60masq-ipam-pools src -m set ! --match-set cali60network-ip-pools dst "
)
_ADDRESSES: list[tuple[Any, str, Any, list[str]]] = [
    # family, address, ports   actions
    (6, "192.0.2.1", None, ["MASQUERADE --random-fully"]),  # the vector
    (6, "2001:db8::1", None, ["SNAT --to-source 2001:db8::1 --random-fully"]),
    (
        6,
        "2001:db8::1",
        (99, 100),
        [
            "SNAT --to-source [2001:db8::1]:99-100 --random-fully",
            "RETURN",
            "SNAT --to-source [2001:db8::1]:99-100 --random-fully",
            "RETURN",
            "SNAT --to-source 2001:db8::1 --random-fully",
        ],
    ),
    (
        4,
        "192.0.2.1",
        (99, 100),
        [
            "SNAT --to-source 192.0.2.1:99-100 --random-fully",
            "RETURN",
            "SNAT --to-source 192.0.2.1:99-100 --random-fully",
            "RETURN",
            "SNAT --to-source 192.0.2.1 --random-fully",
        ],
    ),
    (
        4,
        "2001:db8::1",
        (99, 100),
        [
            "MASQUERADE --to-ports 99-100 --random-fully",
            "RETURN",
            "MASQUERADE --to-ports 99-100 --random-fully",
            "RETURN",
            "MASQUERADE --random-fully",
        ],
    ),
]


@pytest.mark.parametrize(("family", "address", "ports", "actions"), _ADDRESSES)
def test_d6_the_outgoing_address_stays_in_its_family(
    family: Any, address: str, ports: Any, actions: list[str]
) -> None:
    """Vector "nat outgoing for v6 with a v4 fixed address": SNAT to it, refused by ip6tables."""
    settings = RenderSettings(nat_outgoing_address=address, nat_port_range=ports)
    chain = nat_outgoing_chain(family, settings, active=True)
    assert [body.split("--jump ")[1] for body in chain.rules] == actions


def test_d11_spoofable_sources_are_sorted() -> None:
    """No vector: the original follows a map, so its order changes."""
    sources = [("cali2", "10.0.0.0/8"), ("cali1", "fd00::/8"), ("cali1", "10.1.0.0/16")]
    wanted = (
        "--in-interface cali1 --source 10.1.0.0/16 --jump ACCEPT",
        "--in-interface cali2 --source 10.0.0.0/8 --jump ACCEPT",
    )
    assert rpf_skip_chain(sources, 4) == Chain("cali-rpf-skip", wanted)
    assert rpf_skip_chain(reversed(sources), 4) == Chain("cali-rpf-skip", wanted)
    assert len(rpf_skip_chain(sources, 6).rules) == 1


def test_spoofable_sources_of_no_interface_are_refused() -> None:
    with pytest.raises(RenderError):
        rpf_skip_chain([("cali+", "10.0.0.0/8")], 4)


def test_of_several_floating_addresses_the_lowest_wins() -> None:
    mappings = [
        NatMapping("2.2.2.2", "10.0.0.9"),
        NatMapping("2.2.2.2", "10.0.0.10"),  # lower as text
        NatMapping("1.1.1.1", "10.0.0.10"),
        NatMapping("fd00::1", "fd65::1"),
    ]
    dnat, snat = floating_ip_chains(mappings, 4, RenderSettings(random_fully=False))
    assert dnat.rules == (
        "--destination 1.1.1.1 --jump DNAT --to-destination 10.0.0.10",
        "--destination 2.2.2.2 --jump DNAT --to-destination 10.0.0.10",
    )
    assert snat.rules == (
        "--destination 10.0.0.10 --source 10.0.0.10 --jump SNAT --to-source 1.1.1.1",
    )
    assert len(floating_ip_chains(mappings, 6, RenderSettings())[0].rules) == 1


def test_service_loops_may_be_left_alone() -> None:
    settings = RenderSettings(service_loop_prevention="Disabled")
    assert cidr_block_chain(["10.96.0.0/12"], 4, settings) == Chain("cali-cidr-block")
