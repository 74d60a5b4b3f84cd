"""BGP's parameters: what their texts may be, and what BIRD's part of the dataplane is told."""

from __future__ import annotations

from pathlib import Path

import pytest

from dataplane.bird.settings import BirdSettings
from felixpy.config import (
    Config,
    ConfigError,
    resolve,
    secrets_namespace,
    to_bird_settings,
    to_felix_settings,
)
from felixpy.config.sources import parse_file, read_environment, read_machine

HOST = read_machine({}, "n1")


def config(text: str, environ: dict[str, str] | None = None) -> Config:
    sources = (parse_file(text, "felixpy.cfg"), *read_environment(environ or {}), HOST)
    return resolve(sources).config


def settings(text: str, environ: dict[str, str] | None = None) -> BirdSettings:
    return to_bird_settings(config(text, environ))


DEFAULTS = BirdSettings(device_route_protocol=3)  # Felix's default


def test_defaults_are_those_of_the_dataplane() -> None:
    assert settings("") == DEFAULTS


def test_each_parameter_reaches_the_dataplane() -> None:
    text = """
    BirdConfigFile = /tmp/b.conf
    BirdControlSocket = /tmp/b.ctl
    BirdConfirmTimeoutSecs = 20
    BGPRouterID = 192.0.2.1
    BGPBfdPeers = tor-a, mesh,
    BGPUnguardedPeers = rr
    InterfacePrefix = cali,tap
    DeviceRouteProtocol = 81
    """
    assert settings(text) == BirdSettings(
        config_file=Path("/tmp/b.conf"),
        control_socket=Path("/tmp/b.ctl"),
        confirm_seconds=20.0,
        interface_prefixes=("cali", "tap"),
        device_route_protocol=81,
        router_id="192.0.2.1",
        bfd=frozenset(("tor-a", "mesh")),
        unguarded=frozenset(("rr",)),
    )


def test_the_graph_is_told_which_bgppeers_are_named() -> None:
    text = "BGPBfdPeers = tor-a, mesh, *\nBGPUnguardedPeers = rr, mesh"
    assert to_felix_settings(config(text)).named_peers == {
        ("BGPBfdPeers", "tor-a"),
        ("BGPUnguardedPeers", "rr"),
        ("BGPUnguardedPeers", "mesh"),
    }


ROUTER_IDS = [
    # file           CALICO_ROUTER_ID   in force
    ("", "", ""),
    ("", "hash", "hash"),
    ("", "192.0.2.9", "192.0.2.9"),
    ("BGPRouterID = HASH", "192.0.2.9", "hash"),
    ("BGPRouterID = 192.0.2.1", "hash", "192.0.2.1"),
]


@pytest.mark.parametrize(("text", "variable", "expected"), ROUTER_IDS)
def test_calico_s_variable_counts_where_the_parameter_is_unset(
    text: str, variable: str, expected: str
) -> None:
    assert settings(text, {"CALICO_ROUTER_ID": variable}).router_id == expected


@pytest.mark.parametrize(
    "line",
    [
        "BGPEnabled = perhaps",
        "BGPRouterID = fd00::1",
        "BGPRouterID = 0.0.0.0",
        "BirdConfigFile = none",
        "BirdControlSocket = none",
    ],
)
def test_a_mistake_that_would_take_sessions_down_stops_the_start(line: str) -> None:
    with pytest.raises(ConfigError):
        settings(line)


WITHOUT_EFFECT = ["BGPUnguardedPeers = *", "BGPUnguardedPeers = a b", "BGPBfdPeers = A"]


@pytest.mark.parametrize("line", WITHOUT_EFFECT)
def test_other_mistakes_fall_back_to_the_guarded_default(line: str) -> None:
    assert settings(line) == DEFAULTS


NAMESPACES = [({}, "calico-system"), ({"NAMESPACE": "kube-system"}, "kube-system")]


@pytest.mark.parametrize(
    ("environ", "expected"), [*NAMESPACES, ({"NAMESPACE": " "}, "calico-system")]
)
def test_secrets_are_looked_for_where_calico_node_would_run(
    environ: dict[str, str], expected: str
) -> None:
    assert secrets_namespace(environ) == expected
