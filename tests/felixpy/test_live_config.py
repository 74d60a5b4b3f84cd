"""The configuration as it changes."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given
from hypothesis import strategies as st

from calc_graph.model import (
    ClusterInformation,
    ClusterInformationKey,
    FelixConfiguration,
    FelixConfigurationKey,
    Key,
    Node,
    NodeKey,
    Value,
)
from felixpy.config import ConfigError
from felixpy.live_config import Ask, LiveConfig

HEAD = "[global]\nFelixHostname = n1\n"
DEFAULT, OWN, CHOSEN = (FelixConfigurationKey(name) for name in ("default", "node.n1", "chosen"))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "felixpy.cfg"
    path.write_text(HEAD)
    return path


def settled(path: Path) -> LiveConfig:
    live = LiveConfig(path, {})
    live.settle()
    return live


ASKS = [
    # what the file says then                     what that asks for
    ("", Ask.NOTHING),
    ("LogSeverityScreen = DEBUG\n", Ask.LIVE),
    ("RouteRefreshInterval = 5\nHealthEnabled = true\n", Ask.LIVE),
    ("IptablesFilterDenyAction = Reject\n", Ask.DATAPLANE),
    ("LogSeverityScreen = DEBUG\nIpv6Support = false\n", Ask.DATAPLANE),
    ("DatastorePath = /elsewhere\nIpv6Support = false\n", Ask.EVERYTHING),
    ("EtcdEndpoints = http://a\n", Ask.EVERYTHING),
    ("BGPEnabled = true\n", Ask.EVERYTHING),
    ("WireguardListeningPort = 1\n", Ask.DATAPLANE),
    ("WireguardEnabled = true\n", Ask.DATAPLANE),
    ("WireguardStrict = true\nWireguardClearHosts = 10.0.0.1\n", Ask.DATAPLANE),
    ("IPsecEnabled = true\nIPsecKeyFile = /k\n", Ask.EVERYTHING),
    ("IPsecAllowClear = true\nIPsecKeyGrace = 60\n", Ask.DATAPLANE),
    ("IPsecKeyFile = /k\nIPsecKeyMaxAge = 60\n", Ask.LIVE),
    ("NFTablesMode = enabled\n", Ask.LIVE),  # not built yet
]


@pytest.mark.parametrize(("more", "ask"), ASKS)
def test_what_a_change_asks_for(path: Path, more: str, ask: Ask) -> None:
    live = settled(path)
    path.write_text(HEAD + more)
    live.read_machine()
    assert live.settle().ask is ask
    assert live.settle().ask is Ask.NOTHING


def test_what_the_datastore_is_not_followed_in_is_a_problem_while_it_is_so(path: Path) -> None:
    path.write_text(f"{HEAD}IPsecEnabled = true\nIPsecKeyFile = /k\n")
    live = settled(path)
    live.note(DEFAULT, FelixConfiguration({"wireguardEnabled": "true"}))
    assert live.settle().ask is Ask.NOTHING
    assert list(live.problems().values()) == [
        "FelixConfiguration default: WireguardEnabled of the datastore is not followed: IPsec"
        " encrypts IPv4 here"
    ]
    live.note(DEFAULT, None)
    live.settle()
    assert live.problems() == {}


def test_a_file_that_cannot_be_read_changes_nothing_and_is_said(path: Path) -> None:
    live = settled(path)
    path.write_text(HEAD + "junk\n")
    live.read_machine()
    assert live.settle().ask is Ask.NOTHING
    assert [*live.problems()] == [f"{path}:3"]
    path.write_text(HEAD)
    live.read_machine()
    live.settle()
    assert live.problems() == {}


def test_at_the_start_a_bad_value_in_the_datastore_stops_it(path: Path) -> None:
    live = LiveConfig(path, {})
    live.note(DEFAULT, FelixConfiguration({"defaultEndpointToHostAction": "nonsense"}))
    with pytest.raises(ConfigError):
        live.settle()


def test_later_the_last_good_value_is_kept(path: Path) -> None:
    live = settled(path)
    live.note(DEFAULT, FelixConfiguration({"defaultEndpointToHostAction": "Accept"}))
    assert live.settle().changed == ("DefaultEndpointToHostAction",)
    live.note(DEFAULT, FelixConfiguration({"defaultEndpointToHostAction": "nonsense"}))
    assert live.settle().ask is Ask.NOTHING
    assert live.config.default_endpoint_to_host_action == "ACCEPT"
    assert [*live.problems()] == ["FelixConfiguration default DefaultEndpointToHostAction"]
    live.note(DEFAULT, None)
    assert live.settle().ask is Ask.DATAPLANE
    assert live.problems() == {}


ETCD = "EtcdEndpoints = http://a\nEtcdUsername = u\nEtcdPassword = p\n"


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("EtcdPassword = p", "EtcdPassword = q"),
        ("EtcdUsername = u", "EtcdUsername = v"),
        ("http://a", "http://a,http://b"),
        ("http://a", "https://a"),
        ("http://a", "http://a\nEtcdCaFile = /"),
    ],
)
def test_another_way_to_etcd_begins_anew(path: Path, old: str, new: str) -> None:
    path.write_text(HEAD + ETCD)
    live = settled(path)
    path.write_text(HEAD + ETCD.replace(old, new))
    live.read_machine()
    assert live.settle().ask is Ask.EVERYTHING


def test_what_the_datastore_said_can_be_forgotten(path: Path) -> None:
    live = settled(path)
    live.note(DEFAULT, FelixConfiguration({"logSeverityScreen": "Debug"}))
    live.settle()
    live.forget_datastore()
    live.settle()
    assert live.config.log_severity_screen == "INFO"


def test_other_nodes_and_other_resources_are_no_news(path: Path) -> None:
    live = settled(path)
    live.note(NodeKey("n2"), Node(labels={"a": "b"}))
    live.note(NodeKey("n2"), None)
    live.note(ClusterInformationKey("other"), ClusterInformation({"clusterType": "x"}))
    assert live.settle().ask is Ask.NOTHING


_VALUES = st.sampled_from(["Debug", "Warning", "nonsense"])
_STATES: list[tuple[Key, st.SearchStrategy[Value | None]]] = [
    *(
        (
            key,
            st.none()
            | st.builds(
                lambda level, seconds, chosen: FelixConfiguration(
                    {"logSeverityScreen": level, "routeRefreshInterval": seconds},
                    node_selector=chosen,
                ),
                _VALUES,
                st.sampled_from(["5s", "7s", "x"]),
                st.sampled_from(["", "rack == 'a'"]),
            ),
        )
        for key in (DEFAULT, OWN, CHOSEN)
    ),
    (NodeKey("n1"), st.none() | st.sampled_from([Node(labels={"rack": "a"}), Node()])),
    (
        ClusterInformationKey("default"),
        st.none() | st.just(ClusterInformation({"clusterType": "kvm"}, ready=True)),
    ),
]
NOTES = st.tuples(*(st.tuples(st.just(key), values) for key, values in _STATES))


@given(last=NOTES, earlier=st.lists(NOTES.flatmap(st.permutations), max_size=2), data=st.data())
def test_what_is_noted_counts_and_not_in_which_order(
    last: tuple[tuple[Key, Value | None], ...],
    earlier: list[list[tuple[Key, Value | None]]],
    data: st.DataObject,
) -> None:
    with TemporaryDirectory() as directory:
        path = Path(directory) / "felixpy.cfg"
        path.write_text(HEAD)
        straight, devious = settled(path), settled(path)
    for key, value in last:
        straight.note(key, value)
    for key, value in (note for notes in earlier for note in notes):
        devious.note(key, value)
    for key, value in data.draw(st.permutations(last)):
        devious.note(key, value)
    assert devious.settle() == straight.settle()
