"""What each source says, before anybody asks what it means."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from calc_graph.model import ClusterInformation, FelixConfiguration
from felixpy.config.problems import ConfigError
from felixpy.config.sources import (
    Rank,
    Source,
    parse_file,
    read_datastore,
    read_environment,
    read_file,
    read_local,
    read_machine,
)


def texts(source: Source) -> dict[str, str]:
    return {setting.name: setting.text for setting in source.settings}


LINES = [
    # text, settings
    ("[global]\nA = b\n[other]\nC: d", {"A": "b", "C": "d"}),
    ("A = b # c", {"A": "b"}),
    ("A = b;c", {"A": "b"}),
    ("# A = b\n; C = d\n\n   \n", {}),
    ("A=", {"A": ""}),
    ("A = b = c : d", {"A": "b = c : d"}),
    ("A : b = c", {"A": "b = c"}),
    ('A = "0x10"', {"A": "0x10"}),
    ("A = 'b c'", {"A": "b c"}),
    ("A = `b # c`", {"A": "b # c"}),
    ('A = "b', {"A": '"b'}),
    ("A = b \\\n  c", {"A": "b c"}),
    ("A = b\\", {"A": "b"}),
    ("A = b\r\nC = d\r\n", {"A": "b", "C": "d"}),
    ("A = b\na = c", {"a": "c"}),
]


@pytest.mark.parametrize(("text", "settings"), LINES)
def test_file(text: str, settings: dict[str, str]) -> None:
    source = parse_file(text, "f")
    assert texts(source) == settings
    assert source.rank is Rank.FILE


def test_file_says_where_and_warns_of_duplicates() -> None:
    source = parse_file("[global]\nHealthPort = 1\n\nhealthport = 2\n", "f.cfg")
    (setting,) = source.settings
    assert (setting.text, setting.where) == ("2", "f.cfg:4")
    assert [str(problem) for problem in source.problems] == [
        "f.cfg:2: HealthPort is set again at f.cfg:4, which counts"
    ]


@pytest.mark.parametrize("line", ["HealthPort 9099", "= 3", "[global", "word"])
def test_malformed_lines_name_file_and_line(line: str) -> None:
    with pytest.raises(ConfigError, match=r"^f\.cfg:2: ") as caught:
        parse_file(f"A = b\n{line}\n", "f.cfg")
    assert len(caught.value.problems) == 1


@pytest.mark.parametrize("line", ["EtcdPassword swordfish", "=swordfish", ": swordfish"])
def test_what_may_be_a_password_is_not_repeated(line: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_file(line, "f.cfg")
    assert "swordfish" not in str(caught.value)


def test_files_absent_unreadable_and_with_a_byte_order_mark(tmp_path: Path) -> None:
    assert read_file(tmp_path / "absent") == Source(Rank.FILE)
    with pytest.raises(ConfigError, match="cannot be read"):
        read_file(tmp_path)
    path = tmp_path / "f.cfg"
    path.write_bytes(b"\xef\xbb\xbf[global]\nA = b\n")
    assert texts(read_file(path)) == {"A": "b"}
    path.write_bytes(b"A = \xff\n")
    with pytest.raises(ConfigError, match="cannot be read"):
        read_file(path)


@given(st.text() | st.text(alphabet="aB=:#;[]\\\n'\"` ", max_size=40))
def test_a_file_is_read_or_refused(text: str) -> None:
    try:
        parse_file(text, "f")
    except ConfigError as refused:
        assert refused.problems


def test_environment() -> None:
    felix, client = read_environment(
        {
            "FELIX_LOGSEVERITYSCREEN": "debug",
            "felix_HealthPort": " 1 ",
            "Felix_UNKNOWN_thing": "x",
            "PATH": "/bin",
            "ETCD_ENDPOINTS": "http://a:1",
            "CALICO_ETCD_ENDPOINTS": "http://b:1",
            "DATASTORE_TYPE": "etcdv3",
            "ETCD_KEY_FILE": "",
        }
    )
    assert felix.rank is Rank.ENVIRONMENT
    assert texts(felix) == {
        "LogSeverityScreen": "debug",
        "HealthPort": "1",
        "UNKNOWN_thing": "x",
    }
    assert felix.settings[0].where == "environment FELIX_LOGSEVERITYSCREEN"
    assert client.rank is Rank.CLIENT
    assert texts(client) == {"DatastoreType": "etcdv3", "EtcdEndpoints": "http://b:1"}


CLIENT = [
    ("DATASTORE_TYPE", "DatastoreType"),
    ("ETCD_ENDPOINTS", "EtcdEndpoints"),
    ("ETCD_DISCOVERY_SRV", "EtcdDiscoverySrv"),
    ("ETCD_USERNAME", "EtcdUsername"),
    ("ETCD_PASSWORD", "EtcdPassword"),
    ("ETCD_KEY_FILE", "EtcdKeyFile"),
    ("ETCD_CERT_FILE", "EtcdCertFile"),
    ("ETCD_CA_CERT_FILE", "EtcdCaFile"),
]


@pytest.mark.parametrize(("variable", "name"), CLIENT)
def test_each_variable_of_the_datastore_s_clients(variable: str, name: str) -> None:
    _, client = read_environment({variable: " x\n"})
    assert texts(client) == {name: "x"}
    _, client = read_environment({variable: "x", f"CALICO_{variable}": "y"})
    assert texts(client) == {name: "y"}
    _, client = read_environment({variable: "x", f"CALICO_{variable}": " "})
    assert texts(client) == {name: "x"}


def test_one_variable_in_two_cases_is_mentioned() -> None:
    felix, _ = read_environment({"FELIX_HEALTHPORT": "1", "felix_healthport": "2"})
    assert texts(felix) == {"HealthPort": "2"}
    assert len(felix.problems) == 1


MACHINES = [
    # name of the kernel, environment, settings
    ("Node-1", {}, {"FelixHostname": "node-1"}),
    ("", {"HOSTNAME": "Other"}, {"FelixHostname": "other"}),
    ("", {}, {}),
]


@pytest.mark.parametrize(("kernel", "environ", "settings"), MACHINES)
def test_machine(kernel: str, environ: dict[str, str], settings: dict[str, str]) -> None:
    assert texts(read_machine(environ, kernel)) == settings


def test_local_sources(tmp_path: Path) -> None:
    path = tmp_path / "f.cfg"
    path.write_text("HealthPort = 1\n")
    ranks = [source.rank for source in read_local(path, {})]
    assert sorted(ranks) == [Rank.MACHINE, Rank.CLIENT, Rank.FILE, Rank.ENVIRONMENT]


# ---------------------------------------------------------------- datastore

CONFIGURATIONS = {
    "default": FelixConfiguration(
        values={"logSeverityScreen": "Info", "ipipMTU": "1400", "clusterType": "k8s"}
    ),
    "node.n1": FelixConfiguration(values={"HealthPort": "1"}),
    "node.n2": FelixConfiguration(values={"HealthPort": "2"}),
    "young": FelixConfiguration({"a": "1"}, "rack == 'x'", "2026-02-01T00:00:00Z"),
    "old-b": FelixConfiguration({"a": "2"}, "rack == 'x'", "2026-01-01T00:00:00Z"),
    "old-a": FelixConfiguration({"a": "3"}, "has(rack)", "2026-01-01T00:00:00Z"),
    "older": FelixConfiguration({"a": "4"}, "rack == 'y'", "2025-01-01T00:00:00Z"),
    "broken": FelixConfiguration({"a": "5"}, "rack ==", "2025-01-01T00:00:00Z"),
    "nowhere": FelixConfiguration({"a": "6"}),
}

SELECTED = [
    # labels of the node, value of the selected resource
    ({"rack": "x"}, {"a": "3"}),
    ({"rack": "y"}, {"a": "4"}),
    ({}, {}),
    (None, {}),
]


@pytest.mark.parametrize(("labels", "values"), SELECTED)
def test_selected_configuration(labels: dict[str, str] | None, values: dict[str, str]) -> None:
    sources = {each.rank: each for each in read_datastore("n1", labels, CONFIGURATIONS)}
    assert texts(sources[Rank.SELECTED]) == values
    assert texts(sources[Rank.NODE]) == {"HealthPort": "1"}


def test_cluster_information_and_default() -> None:
    cluster = ClusterInformation({"clusterType": "openstack", "clusterGUID": "g", "variant": ""})
    sources = {each.rank: each for each in read_datastore("n3", None, CONFIGURATIONS, cluster)}
    assert texts(sources[Rank.NODE]) == {}
    assert texts(sources[Rank.CLUSTER]) == {
        "ClusterType": "openstack",
        "ClusterGUID": "g",
        "LogSeverityScreen": "Info",
        "IpInIpMtu": "1400",
    }


FIELDS = [
    # values of the resource, settings
    ({"reportingInterval": "1m30s"}, {"ReportingIntervalSecs": "90.0"}),
    ({"reportingInterval": "90"}, {"ReportingIntervalSecs": "90"}),
    ({"iptablesLockProbeInterval": "0.05s"}, {"IptablesLockProbeIntervalMillis": "50.0"}),
    ({"IptablesLockProbeIntervalMillis": "50"}, {"IptablesLockProbeIntervalMillis": "50"}),
    ({"routeRefreshInterval": "soon"}, {"RouteRefreshInterval": "soon"}),
    ({"config.projectcalico.org/HealthPort": "2", "healthPort": "1"}, {"HealthPort": "2"}),
    ({"config.projectcalico.org/Whatever": "x"}, {"Whatever": "x"}),
    ({"bpfConntrackMode": "Auto"}, {"BPFConntrackCleanupMode": "Auto"}),
]


@pytest.mark.parametrize(("values", "settings"), FIELDS)
def test_fields_of_a_resource(values: dict[str, str], settings: dict[str, str]) -> None:
    configurations = {"default": FelixConfiguration(values)}
    *_, everywhere = read_datastore("n1", None, configurations)
    assert texts(everywhere) == settings
    assert {each.where for each in everywhere.settings} == {"FelixConfiguration default"}
