"""WireGuard's parameters in the dataplane's words, and those that it could not work with."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from dataplane.settings import WireguardSettings
from felixpy.config.parameters import Config
from felixpy.config.problems import ConfigError
from felixpy.config.resolve import resolve
from felixpy.config.sources import Rank, Setting, Source
from felixpy.config.to_wireguard import to_wireguard

MAPPED: list[tuple[dict[str, Any], dict[str, Any]]] = [
    # configuration, what differs from the default settings
    ({"wireguard_enabled": True}, {"families": frozenset({4})}),
    ({"wireguard_enabled_v6": True}, {"families": frozenset({6})}),
    (
        {"wireguard_enabled": True, "wireguard_enabled_v6": True, "ipv6_support": False},
        {"families": frozenset({4})},
    ),
    ({"wireguard_listening_port": 1}, {"ports": (1, 51821)}),
    ({"wireguard_listening_port_v6": 1}, {"ports": (51820, 1)}),
    ({"wireguard_interface_name": "wg0"}, {"devices": ("wg0", "wg-v6.cali")}),
    ({"wireguard_interface_name_v6": "wg6"}, {"devices": ("wireguard.cali", "wg6")}),
    ({"wireguard_mtu": 1400}, {"mtus": (1400, 0)}),
    ({"wireguard_mtu_v6": 1380}, {"mtus": (0, 1380)}),
    ({"wireguard_routing_rule_priority": 7}, {"rule_priority": 7}),
    ({"wireguard_persistent_keep_alive": 25.0}, {"keepalive": 25}),
    ({"wireguard_persistent_keep_alive": 0.1}, {"keepalive": 1}),
    ({"wireguard_persistent_keep_alive": 1e6}, {"keepalive": 65535}),
    ({"wireguard_threading_enabled": True}, {"threading": True}),
    ({"wireguard_strict": True}, {"strict": True}),
    ({"wireguard_host_encryption_enabled": True}, {"host_encryption": True}),
    ({"wireguard_clear_hosts": ("10.0.0.1/32",)}, {"clear_hosts": ("10.0.0.1/32",)}),
    ({"route_table_range": (9, 20)}, {"table": 9}),
    ({"route_table_ranges": ((100, 200), (50, 60))}, {"table": 50}),
    ({"iptables_mark_mask": 0x00FF0000, "wireguard_enabled": True}, {"families": frozenset({4})}),
    ({"iptables_mark_mask": 0x7F}, {"mark": 0x20}),
    ({"iptables_mark_mask": 0x3F}, {"mark": 0}),
]


@pytest.mark.parametrize(("values", "different"), MAPPED)
def test_each_parameter_reaches_its_setting(
    values: dict[str, Any], different: dict[str, Any]
) -> None:
    expected = msgspec.structs.replace(WireguardSettings(), **different)
    assert to_wireguard(Config(**values)) == expected


BOTH = {"WireguardEnabled": "true", "WireguardEnabledV6": "true"}
FAULTS: list[tuple[dict[str, str], str]] = [
    ({"RouteTableRanges": "253-255"}, "RouteTableRanges"),
    ({"WireguardRoutingRulePriority": "0"}, "WireguardRoutingRulePriority"),
    ({"WireguardRoutingRulePriority": "32766"}, "WireguardRoutingRulePriority"),
    ({"WireguardListeningPort": "0"}, "WireguardListeningPort"),
    ({"WireguardListeningPortV6": "none"}, "WireguardListeningPortV6"),
    ({"WireguardListeningPortV6": "51820"}, "WireguardListeningPortV6"),
    ({"WireguardInterfaceName": "wg+"}, "WireguardInterfaceName"),
    ({"WireguardInterfaceName": "cali-wg"}, "WireguardInterfaceName"),
    ({"WireguardInterfaceNameV6": "wireguard.cali"}, "WireguardInterfaceNameV6"),
    ({"WireguardEnabledV6": "ture"}, "WireguardEnabledV6"),
    ({"WireguardStrict": "perhaps"}, "WireguardStrict"),
    ({"WireguardClearHosts": "10.0.0.1, etcd"}, "WireguardClearHosts"),
]


def says(**texts: str) -> Source:
    given = {"FelixHostname": "n1", **texts}
    return Source(Rank.FILE, tuple(Setting(name, text, name) for name, text in given.items()))


@pytest.mark.parametrize(("texts", "name"), FAULTS)
def test_what_cannot_be_stops_the_start_and_changes_nothing_later(
    texts: dict[str, str], name: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        resolve([says(**(BOTH | texts))])
    assert [problem.name for problem in caught.value.problems] == [name]
    running = resolve([says(**BOTH)]).config
    resolved = resolve([says(**(BOTH | texts))], running)
    assert resolved.config == running
    assert [problem.name for problem in resolved.errors] == [name]


def test_what_wireguard_could_not_work_with_is_nobodys_business_while_it_is_off() -> None:
    off = {name: text for texts, name in FAULTS[:9] for name, text in texts.items()}
    assert resolve([says(**off)]).problems == ()


def test_hosts_that_stay_in_clear_are_nets() -> None:
    found = resolve([says(WireguardClearHosts="10.0.0.1, fd00::1,192.0.2.7/24")]).config
    assert found.wireguard_clear_hosts == ("10.0.0.1/32", "fd00::1/128", "192.0.2.0/24")


def test_only_this_machine_says_what_stays_in_clear() -> None:
    for name, text in (("WireguardStrict", "true"), ("WireguardClearHosts", "10.0.0.1")):
        cluster = Source(Rank.CLUSTER, (Setting(name, text, "default"),))
        resolved = resolve([says(), cluster])
        assert resolved.config == Config(felix_hostname="n1")
        assert [problem.name for problem in resolved.problems] == [name]
