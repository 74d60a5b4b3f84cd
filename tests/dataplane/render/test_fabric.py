"""The rules against forged sources from the fabric."""

from __future__ import annotations

from typing import Literal

import pytest

from dataplane.render.fabric import fabric_chains, fabric_rules
from dataplane.render.static import static_chains
from dataplane.settings import RenderSettings

Family = Literal[4, 6]
DROP = RenderSettings(fabric_spoof_protection="Drop")
WARN = RenderSettings(fabric_spoof_protection="Warn")
JUMP = "-m mark --mark 0/0x80000 --jump cali-fabric-spoof"
DEVICES: dict[Family, str] = {4: "wireguard.cali", 6: "wg-mesh6"}
OWN_DEVICES = {
    4: ["lo", "tunl0", "vxlan.calico", "wireguard.cali"],
    6: ["lo", "vxlan-v6.calico", "wg-mesh6"],
}


@pytest.mark.parametrize("family", [4, 6])
def test_off_adds_nothing(family: Family) -> None:
    assert fabric_rules(RenderSettings()) == ()
    assert fabric_chains(family, RenderSettings(), DEVICES[family]) == ()


@pytest.mark.parametrize("family", [4, 6])
def test_it_comes_before_the_policy_of_hosts_and_after_workloads(family: Family) -> None:
    chains = {chain.name: chain.rules for chain in static_chains("raw", family, DROP)}
    off = {chain.name: chain.rules for chain in static_chains("raw", family, RenderSettings())}
    rules = chains["cali-PREROUTING"]
    where = rules.index(JUMP)
    assert rules[where - 1].endswith("--invert --validmark --jump DROP")
    assert rules[where + 1].endswith("--jump cali-from-host-endpoint")
    assert (*rules[:where], *rules[where + 1 :]) == off["cali-PREROUTING"]
    assert set(chains) - set(off) == {"cali-fabric-spoof"}


@pytest.mark.parametrize("family", [4, 6])
def test_what_is_forged_is_dropped(family: Family) -> None:
    [chain] = fabric_chains(family, DROP, DEVICES[family])
    devices = OWN_DEVICES[family]
    comment, sets = '-m comment --comment "Forged source: ', f"-m set --match-set cali{family}0"
    assert chain.rules == (
        *(f"--in-interface {device} --jump RETURN" for device in devices),
        f'{comment}address of a local workload" {sets}local-workloads src --jump DROP',
        f'{comment}pool that arrives by a tunnel only" {sets}tunnelled-pools src'
        f" {sets}network-ip-pools dst --jump DROP",
        f'{comment}its route leads elsewhere" {sets}cross-subnet-pools src'
        f" {sets}network-ip-pools dst -m rpfilter --invert --validmark --jump DROP",
    )


def test_a_warning_is_said_once_and_within_a_rate() -> None:
    spoof, log = fabric_chains(4, WARN, "wireguard.cali")
    [drop] = fabric_chains(4, DROP, "wireguard.cali")
    goto = "--goto cali-fabric-log"
    assert spoof.rules == tuple(rule.replace("--jump DROP", goto) for rule in drop.rules)
    assert log.name == goto.removeprefix("--goto ")
    assert log.rules == (
        "-m limit --limit 10/minute --limit-burst 5"
        ' --jump LOG --log-prefix "calico-packet forged: " --log-level 5',
    )


PREFIXES = [
    # LogPrefix, what the kernel's line begins with
    ("mine", "mine forged: "),
    ("", "calico-packet forged: "),
    ("%t|%k|%n|%p", "||| forged: "),
    ("a-very-long-prefix-of-thirty-ch", "a-very-long-prefix-o forged: "),
]


@pytest.mark.parametrize(("prefix", "begins"), PREFIXES)
def test_a_warning_begins_as_other_lines_do(prefix: str, begins: str) -> None:
    settings = RenderSettings(
        fabric_spoof_protection="Warn",
        log_prefix=prefix,
        log_rate_limit="1/second",
        log_rate_limit_burst=2,
    )
    [rule] = fabric_chains(4, settings, "wireguard.cali")[1].rules
    assert f'"{begins}"' in rule
    assert len(begins) <= 29
    assert rule.startswith("-m limit --limit 1/second --limit-burst 2 ")
