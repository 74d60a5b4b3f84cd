"""What a workload may always send its host, with a limit and without."""

from __future__ import annotations

from typing import Any, Literal

import msgspec
import pytest

from dataplane.render.dispatch import limit_dispatch
from dataplane.render.static import static_chains
from dataplane.render.workload_limit import shared_limit_chain, workload_limit_chain
from dataplane.settings import RenderSettings

PLAIN = RenderSettings()
OPENSTACK = RenderSettings(openstack=True, metadata_addr="10.0.0.1")
ACCEPT, LIMIT = "--jump ACCEPT", "--goto cali-wl-limit"


def limited(settings: RenderSettings, **more: Any) -> RenderSettings:
    return msgspec.structs.replace(
        settings, workload_to_host_rate=100, workload_to_host_burst=20, **more
    )


def to_host(family: Literal[4, 6], settings: RenderSettings) -> tuple[str, ...]:
    chains = {chain.name: chain for chain in static_chains("filter", family, settings)}
    return chains["cali-wl-to-host"].rules


ALWAYS = [
    # family, settings, how many kinds of packets a workload may always send
    (4, PLAIN, 0),
    (6, PLAIN, 6),  # multicast listeners, solicitations, advertisements
    (4, OPENSTACK, 3),  # metadata, DHCP, names
    (6, OPENSTACK, 8),
]


@pytest.mark.parametrize(("family", "settings", "kinds"), ALWAYS)
def test_a_limit_takes_the_place_of_the_verdict(family, settings, kinds) -> None:
    before, after = to_host(family, settings), to_host(family, limited(settings))
    assert after == tuple(
        rule.replace(ACCEPT, LIMIT) if which < kinds else rule for which, rule in enumerate(before)
    )
    assert sum(rule.endswith(LIMIT) for rule in after) == kinds
    assert after[kinds] == "--jump cali-from-wl-dispatch"


def test_a_workload_s_chain() -> None:
    chain = workload_limit_chain("cali1", "default/w 1", limited(PLAIN))
    assert chain.name == "cali-lw-cali1"
    assert chain.rules == (
        "-m limit --limit 100/sec --limit-burst 20 --jump ACCEPT",
        '-m comment --comment "Drop over WorkloadToHostPacketRate: default/w 1" --jump DROP',
    )


def test_what_is_within_the_limit_meets_the_configured_action() -> None:
    settings = limited(PLAIN, filter_allow_action="RETURN", filter_deny_action="REJECT")
    within, over = shared_limit_chain(settings).rules
    assert within.endswith("--jump RETURN")
    assert over.endswith('no endpoint" --jump DROP')  # an answer would be more work, not less


def test_dispatch_ends_in_the_shared_limit() -> None:
    shared = "--goto cali-lw-any-interface-at-all"
    chains = limit_dispatch(["cali2", "cali1b", "cali1a"])
    assert {chain.name: chain.rules for chain in chains} == {
        "cali-wl-limit-1": (
            "--in-interface cali1a --goto cali-lw-cali1a",
            "--in-interface cali1b --goto cali-lw-cali1b",
            shared,
        ),
        "cali-wl-limit": (
            "--in-interface cali1+ --goto cali-wl-limit-1",
            "--in-interface cali2 --goto cali-lw-cali2",
            shared,
        ),
    }
    assert all(len(chain.name) <= 28 for chain in chains)
    assert shared_limit_chain(limited(PLAIN)).name == shared.removeprefix("--goto ")
