"""The table against Felix's own, and what a change of configuration asks for."""

import dataclasses
import json
import re
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import fields

from felixpy.config.etcd import ETCD
from felixpy.config.parameters import (
    FIELD_ALIASES,
    PARAMETERS,
    WITHOUT_EFFECT,
    Config,
    canonical,
    canonical_field,
    closest,
    diff,
    openstack_mode,
)
from felixpy.config.render import resource_field
from felixpy.datastore.resources.felix_configuration import FelixConfigurationSpec

FELIX = json.loads((Path(__file__).parent / "felix_parameters.json").read_text())
OWN = {
    *("DatastorePath", "RunDir", "LogFormat", "EtcdUsername", "EtcdPassword"),
    *("WorkloadToHostPacketRate", "WorkloadToHostPacketBurst", "FabricSpoofProtection"),
    "ConntrackFlushOnPolicyChange",
    "MTUFile",
    *("EmptyDatastoreGraceSecs", "LockoutGuard"),
    *("BGPEnabled", "BirdConfigFile", "BirdControlSocket", "SecretsPath"),
    *("BirdConfirmTimeoutSecs", "BGPRouterID", "BGPBfdPeers", "BGPUnguardedPeers"),
    *("WireguardStrict", "WireguardClearHosts"),
}
OTHER_DEFAULTS = {"DatastoreType": "file", "LogFilePath": ""}
# A name that is nobody's must not become another node's.
# A mistake in what leads to etcd must not lead to another one, nor to believing anybody.
# A mistake in what switches encryption on must not leave it off.
OTHER_FLAGS = {
    "FelixHostname": "LDZ",
    **dict.fromkeys(ETCD, "LD"),
    **dict.fromkeys(("WireguardEnabled", "WireguardEnabledV6"), "D"),
}


def test_all_of_felix_and_our_own() -> None:
    assert set(PARAMETERS) == set(FELIX["parameters"]) | OWN
    assert set(FELIX["without_effect"]) == WITHOUT_EFFECT
    assert len(FELIX["parameters"]) + len(WITHOUT_EFFECT) == 218


@pytest.mark.parametrize(("name", "facts"), FELIX["parameters"].items())
def test_default_and_flags_are_felix_s(name: str, facts: dict[str, str]) -> None:
    parameter = PARAMETERS[name]
    text = OTHER_DEFAULTS.get(name, facts["default"])
    assert parameter.default == (parameter.type.parse(text) if text else parameter.type.zero)
    flags = (
        "L" * parameter.local,
        "D" * parameter.fatal,
        "Z" * parameter.required,
    )
    assert "".join(flags) == OTHER_FLAGS.get(name, facts["flags"])


@pytest.mark.parametrize(("name", "facts"), FELIX["parameters"].items())
def test_types_take_what_felix_s_take(name: str, facts: dict[str, str]) -> None:
    parse = PARAMETERS[name].type.parse
    kind, _, arguments = facts["type"].rstrip(")").partition("(")
    if kind == "oneof":
        for word in arguments.split(","):
            assert parse(word.swapcase()) == word
    if kind == "int" and arguments:
        low, high = re.split("[:,]", arguments)
        assert (parse(low), parse(high)) == (int(low), int(high))
        with pytest.raises(ValueError, match="out of range"):
            parse(str(int(high) + 1))
    if kind in ("bool", "*bool"):
        assert parse("Y") is True


def test_config_is_made_of_the_table() -> None:
    config = Config()
    assert {field.name for field in dataclasses.fields(config)} == {
        parameter.attribute for parameter in PARAMETERS.values()
    }
    for parameter in PARAMETERS.values():
        assert getattr(config, parameter.attribute) == parameter.default
        assert parameter.meaning.endswith(".")


@pytest.mark.parametrize("name", PARAMETERS)
def test_attributes_are_the_names_in_small_letters(name: str) -> None:
    assert PARAMETERS[name].attribute.replace("_", "") == name.lower()


@pytest.mark.parametrize("alias", FIELD_ALIASES)
def test_aliases_lead_to_known_names(alias: str) -> None:
    name = canonical_field(alias.upper())
    assert name == FIELD_ALIASES[alias]
    assert canonical(name) == name


@pytest.mark.parametrize("field", [field.name for field in fields(FelixConfigurationSpec)])
def test_each_field_of_the_resource_is_a_parameter_of_the_datastore(field: str) -> None:
    if field == "nodeSelector":  # says whom the resource is for
        return
    name = canonical(canonical_field(field))
    assert name is not None
    assert name in WITHOUT_EFFECT or not PARAMETERS[name].local
    assert name in WITHOUT_EFFECT or resource_field(name) == field


def test_names_of_fields_and_unknown_ones() -> None:
    assert canonical_field("bpfEnabled") == "BPFEnabled"
    assert canonical_field("wireguardEnabledV6") == "WireguardEnabledV6"
    assert canonical_field("whatever") == "whatever"
    assert closest("LogSeverityScren")[0] == "LogSeverityScreen"
    assert closest("xyzzy") == []


OPENSTACK: list[tuple[dict[str, Any], bool]] = [
    ({}, False),
    ({"cluster_type": "k8s,bgp"}, False),
    ({"cluster_type": "openstack,bgp"}, True),
    ({"metadata_addr": "10.0.0.1"}, True),
    ({"cluster_type": "OpenStack"}, True),
    ({"metadata_addr": ""}, False),
    ({"metadata_port": 0}, False),
    ({"metadata_port": 80}, True),
    ({"interface_prefix": ("cali", "tap")}, True),
    ({"interface_prefix": ("tapx",)}, False),
]


@pytest.mark.parametrize(("values", "expected"), OPENSTACK)
def test_openstack_mode(values: dict[str, Any], expected: bool) -> None:
    assert openstack_mode(Config(**values)) is expected


CHANGES: list[tuple[dict[str, Any], tuple[str, ...], bool]] = [
    ({}, (), True),
    ({"log_severity_screen": "DEBUG"}, ("LogSeverityScreen",), True),
    ({"iptables_refresh_interval": 2.0}, ("IptablesRefreshInterval",), True),
    ({"health_timeout_overrides": (("a", 1.0),)}, ("HealthTimeoutOverrides",), True),
    ({"chain_insert_mode": "append"}, ("ChainInsertMode",), False),
    (
        {"chain_insert_mode": "append", "log_severity_sys": ""},
        ("LogSeveritySys", "ChainInsertMode"),
        False,
    ),
    ({"cluster_type": "k8s"}, ("ClusterType",), True),
    ({"cluster_type": "openstack"}, ("ClusterType",), False),
    ({"wireguard_mtu": 1400}, ("WireguardMTU",), False),
    ({"nftables_mode": "Enabled"}, ("NFTablesMode",), True),
]


@pytest.mark.parametrize(("values", "names", "live"), CHANGES)
def test_diff(values: dict[str, Any], names: tuple[str, ...], live: bool) -> None:
    assert diff(Config(), Config(**values)) == (names, live)
    assert diff(Config(**values), Config()) == (names, live)
