"""IPsec's parameters in the dataplane's words, and those that it could not work with."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from dataplane.settings import IpsecSettings
from felixpy.config.parameters import Config
from felixpy.config.problems import ConfigError
from felixpy.config.resolve import resolve
from felixpy.config.sources import Rank, Setting, Source
from felixpy.config.to_dataplane import to_settings
from felixpy.config.to_ipsec import both_families, to_ipsec

DEFAULT_PORTS = to_ipsec(Config(ipsec_node_encryption=True)).clear_ports
MAPPED: list[tuple[dict[str, Any], dict[str, Any]]] = [
    # configuration, what differs from the default settings
    ({"ipsec_enabled": True}, {"families": frozenset({4, 6})}),
    ({"ipsec_enabled": True, "ipv6_support": False}, {"families": frozenset({4})}),
    ({"ipsec_enabled": True, "wireguard_enabled": True}, {"families": frozenset({6})}),
    ({"ipsec_enabled": True, "wireguard_enabled_v6": True}, {"families": frozenset({4})}),
    ({"ipsec_interface": "eth1"}, {"interface": "eth1"}),
    ({"ipsec_state_layout": "shared"}, {"layout": "shared"}),
    ({"ipsec_req_id": 7}, {"reqid": 7}),
    ({"ipsec_allow_clear": True}, {"allow_clear": True}),
    ({"ipsec_node_encryption": True}, {"node_encryption": True, "clear_ports": DEFAULT_PORTS}),
    ({"ipsec_key_grace": 60.0}, {"key_grace": 60.0}),
    (
        {"ipsec_node_encryption": True, "ipsec_node_clear_ports": (("udp", 53),)},
        {
            "node_encryption": True,
            "clear_ports": (("tcp", 179), ("udp", 53), ("udp", 500), ("udp", 4500)),
        },
    ),
    (
        {
            "ipsec_node_encryption": True,
            "ipsec_node_clear_ports": (),
            "datastore_type": "etcdv3",
            "etcd_endpoints": ("https://etcd:4001", "https://[fd00::1]:2379"),
        },
        {
            "node_encryption": True,
            "clear_ports": (
                ("tcp", 179),
                ("tcp", 2379),
                ("tcp", 4001),
                ("udp", 500),
                ("udp", 4500),
            ),
        },
    ),
]


@pytest.mark.parametrize(("values", "different"), MAPPED)
def test_each_parameter_reaches_its_setting(
    values: dict[str, Any], different: dict[str, Any]
) -> None:
    expected = msgspec.structs.replace(IpsecSettings(), **different)
    assert to_ipsec(Config(**values)) == expected
    assert to_settings(Config(**values)).ipsec == to_ipsec(Config(**values))


def test_nodes_offer_each_other_what_failsafe_ports_keep_open() -> None:
    failsafe = {(each.protocol, each.port) for each in Config().failsafe_inbound_host_ports}
    assert set(DEFAULT_PORTS) == failsafe | {("udp", 500), ("udp", 4500)}


def test_what_wireguard_encrypts_is_not_encrypted_twice() -> None:
    both = Config(ipsec_enabled=True, wireguard_enabled=True, wireguard_enabled_v6=True)
    assert both_families(both) == {4, 6}
    assert both_families(Config(wireguard_enabled=True)) == frozenset()


ON = {"IPsecEnabled": "true", "IPsecKeyFile": "/keys"}
FAULTS: list[tuple[dict[str, str], str]] = [
    ({"IPsecKeyFile": "none"}, "IPsecKeyFile"),
    ({"IPsecKeySecret": "kube-system/cilium-ipsec-keys"}, "IPsecKeySecret"),
    ({"IptablesMarkMask": "0xffffff00"}, "IptablesMarkMask"),
    ({"IPsecInterface": "eth+"}, "IPsecInterface"),
    ({"IPsecInterface": "cali0"}, "IPsecInterface"),
    ({"IPsecReqID": "0"}, "IPsecReqID"),
    ({"IPsecReqID": "none"}, "IPsecReqID"),
    ({"IPsecEnabled": "ture"}, "IPsecEnabled"),
    ({"IPsecAllowClear": "perhaps"}, "IPsecAllowClear"),
    ({"IPsecStateLayout": "both"}, "IPsecStateLayout"),
    ({"IPsecStateLayout": "none"}, "IPsecStateLayout"),
    ({"IPsecNodeClearPorts": "tcp:22,icmp:8"}, "IPsecNodeClearPorts"),
    ({"IPsecNodeClearPorts": "tcp:0"}, "IPsecNodeClearPorts"),
    ({"IPsecNodeClearPorts": "udp:65536"}, "IPsecNodeClearPorts"),
    ({"IPsecKeyGrace": "5m"}, "IPsecKeyGrace"),
    ({"IPsecKeySecret": "../../etc/passwd"}, "IPsecKeySecret"),
]


def says(**texts: str) -> Source:
    given = {"FelixHostname": "n1", **texts}
    return Source(Rank.FILE, tuple(Setting(name, text, name) for name, text in given.items()))


@pytest.mark.parametrize(("texts", "name"), FAULTS)
def test_what_cannot_be_stops_the_start_and_changes_nothing_later(
    texts: dict[str, str], name: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        resolve([says(**(ON | texts))])
    assert [problem.name for problem in caught.value.problems] == [name]
    running = resolve([says(**ON)]).config
    resolved = resolve([says(**(ON | texts))], running)
    assert resolved.config == running
    assert [problem.name for problem in resolved.errors] == [name]


def test_what_ipsec_could_not_work_with_is_nobodys_business_while_it_is_off() -> None:
    off = {name: text for texts, name in FAULTS[:5] for name, text in texts.items()}
    assert resolve([says(**off)]).problems == ()


def test_that_wireguard_takes_a_family_is_a_warning() -> None:
    wireguard = {"WireguardEnabled": "true", "WireguardEnabledV6": "true"}
    resolved = resolve([says(**ON, **wireguard)])
    assert [(each.severity, each.name) for each in resolved.problems] == [
        ("warning", "IPsecEnabled"),
        ("warning", "IPsecEnabled"),
    ]
    assert len(resolve([says(**ON, **wireguard, Ipv6Support="false")]).problems) == 1


def cluster(**texts: str) -> Source:
    settings = tuple(Setting(name, text, "FelixConfiguration x") for name, text in texts.items())
    return Source(Rank.CLUSTER, settings)


NOT_FOLLOWED: list[tuple[dict[str, str], dict[str, str]]] = [
    # what the datastore says, and what is said of it
    (
        {"WireguardEnabled": "true"},
        {"WireguardEnabled": "of the datastore is not followed: IPsec encrypts IPv4 here"},
    ),
    (
        {"WireguardEnabledV6": "true"},
        {"WireguardEnabledV6": "of the datastore is not followed: IPsec encrypts IPv6 here"},
    ),
    (
        {"Ipv6Support": "false"},
        {
            "Ipv6Support": "of the datastore is not followed: IPsec encrypts IPv6 here,"
            " which would be left alone, and in clear"
        },
    ),
    ({"WireguardEnabled": "false", "Ipv6Support": "true"}, {}),
]


@pytest.mark.parametrize(("texts", "said"), NOT_FOLLOWED)
@pytest.mark.parametrize("running", [False, True])
def test_the_datastore_takes_nothing_away_from_ipsec(
    texts: dict[str, str], said: dict[str, str], *, running: bool
) -> None:
    here = says(**ON)
    alone = resolve([here]).config
    resolved = resolve([here, cluster(**texts)], alone if running else None)
    assert to_ipsec(resolved.config) == to_ipsec(alone)
    assert to_settings(resolved.config) == to_settings(alone)
    assert {each.name: each.reason for each in resolved.problems} == said
    assert all(each.severity == "warning" and each.standing for each in resolved.problems)
    assert all("IPsecEnabled" in resolved.origins[name] for name in said)
    # without IPsec it is followed
    followed = resolve([says(), cluster(**texts)])
    assert followed.problems == ()
    assert bool(said) == (followed.config != resolve([says()]).config)


def test_what_is_set_beside_ipsec_goes_before_it() -> None:
    beside = {"WireguardEnabled": "true", "Ipv6Support": "false"}
    # without IPv6 nothing is to be said of it
    resolved = resolve([says(**ON, **beside), cluster(WireguardEnabledV6="true")])
    assert both_families(resolved.config) == {4}
    assert to_ipsec(resolved.config).families == frozenset()
    assert [each.name for each in resolved.problems] == ["IPsecEnabled"]


def test_wireguard_of_the_datastore_goes_when_ipsec_comes_and_stays_when_it_cannot() -> None:
    told = cluster(WireguardEnabled="true")
    before = resolve([says(), told]).config
    assert before.wireguard_enabled
    assert not resolve([says(**ON), told], before).config.wireguard_enabled
    resolved = resolve([says(IPsecEnabled="true"), told], before)
    assert resolved.config == before
    assert [each.severity for each in resolved.problems] == ["error"]


def test_a_mask_without_a_bit_for_wireguard_is_enough_where_the_datastore_is_not_followed() -> None:
    mask = {"IptablesMarkMask": "0x3f0000"}
    resolved = resolve([says(**ON, **mask), cluster(WireguardEnabled="true")])
    assert [each.name for each in resolved.problems] == ["WireguardEnabled"]


def test_ports_are_tcp_ports_where_nothing_else_is_said() -> None:
    found = resolve([says(IPsecNodeClearPorts="22, UDP:500,tcp:80")]).config
    assert found.ipsec_node_clear_ports == (("tcp", 22), ("udp", 500), ("tcp", 80))


def test_only_this_machine_says_what_is_encrypted() -> None:
    for name, text in (("IPsecEnabled", "true"), ("IPsecAllowClear", "true")):
        cluster = Source(Rank.CLUSTER, (Setting(name, text, "default"),))
        resolved = resolve([says(), cluster])
        assert resolved.config == Config(felix_hostname="n1")
        assert [problem.name for problem in resolved.problems] == [name]
