"""Who decides, and what a mistake leads to, at the start and while the agent runs."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataplane.settings import FailsafePort
from felixpy.config.parameters import PARAMETERS, WITHOUT_EFFECT, Config
from felixpy.config.problems import ConfigError
from felixpy.config.resolve import Resolved, examine, resolve
from felixpy.config.sources import Rank, Setting, Source, parse_file, read_environment

HOST = Source(Rank.MACHINE, (Setting("FelixHostname", "n1", "host name of the kernel"),))


def says(rank: Rank, **values: str) -> Source:
    where = rank.name.lower()
    return Source(rank, tuple(Setting(name, text, where) for name, text in values.items()))


def from_texts(file: str = "", **variables: str) -> tuple[Source, ...]:
    return (parse_file(file, "f.cfg"), *read_environment(variables), HOST)


def warnings_of(resolved: Resolved) -> list[str]:
    return [str(problem) for problem in resolved.problems]


def test_nothing_said() -> None:
    resolved = resolve([HOST])
    assert resolved.config == Config(felix_hostname="n1")
    assert resolved.origins == {"FelixHostname": "host name of the kernel"}
    assert resolved.problems == ()


@pytest.mark.parametrize("silent", range(7))
def test_precedence(silent: int) -> None:
    """With the highest `silent` sources taken away, the next one decides."""
    ranks = [Rank.CLUSTER, Rank.SELECTED, Rank.NODE, Rank.FILE, Rank.ENVIRONMENT]
    speaking = ranks[: len(ranks) - silent] if silent <= len(ranks) else []
    sources = [says(rank, HealthPort=str(1000 + rank)) for rank in speaking]
    config = resolve([*sources, HOST]).config
    assert config.health_port == (1000 + speaking[-1] if speaking else 9099)


FELIX_ANSWERS = [
    # what Felix itself answered: file, environment, attribute, value
    ("HealthPort=1234", {"FELIX_HEALTHPORT": "abc"}, "health_port", 9099),
    ("", {"FELIX_FAILSAFEINBOUNDHOSTPORTS": "none"}, "failsafe_inbound_host_ports", ()),
    ("", {"FELIX_METADATAADDR": "none"}, "metadata_addr", ""),
    ("InterfacePrefix=tap", {"FELIX_INTERFACEPREFIX": ""}, "interface_prefix", ("tap",)),
    ("InterfacePrefix=tap # x", {}, "interface_prefix", ("tap",)),
    ('HealthPort = "0x10"', {}, "health_port", 16),
    ("IptablesBackend = NFT", {}, "iptables_backend", "nft"),
    ("LogSeverityFile = none", {}, "log_severity_file", ""),
    ("logfilepath: NONE", {}, "log_file_path", ""),
    ("ServiceLoopPrevention = none", {}, "service_loop_prevention", "Disabled"),
    ("IpInIpEnabled = no", {}, "ip_in_ip_enabled", False),
    ("HealthPort = none", {}, "health_port", 0),
]


@pytest.mark.parametrize(("file", "environ", "attribute", "value"), FELIX_ANSWERS)
def test_values(file: str, environ: dict[str, str], attribute: str, value: object) -> None:
    assert getattr(resolve(from_texts(file, **environ)).config, attribute) == value


FATAL = [
    # file, environment, parameter at fault
    ("ChainInsertMode=foo", {"FELIX_CHAININSERTMODE": "append"}, "ChainInsertMode"),
    ("", {"FELIX_INTERFACEPREFIX": "none"}, "InterfacePrefix"),
    ("FailsafeInboundHostPorts = sctp:1", {}, "FailsafeInboundHostPorts"),
    ("IptablesFilterDenyAction = accept", {}, "IptablesFilterDenyAction"),
    ("MaxIpsetSize = none", {}, "MaxIpsetSize"),
    ("FelixHostname = a b", {}, "FelixHostname"),
    ("DatastoreType = zookeeper", {}, "DatastoreType"),
    ("DatastoreType = kubernetes", {}, "DatastoreType"),
    ("EtcdCaFile = /nonexistent", {}, "EtcdCaFile"),
    ("EtcdEndpoints = http://a/x", {}, "EtcdEndpoints"),
    ("EtcdUsername = a", {"ETCD_ENDPOINTS": "http://a"}, "EtcdUsername"),
    ("IptablesMarkMask = 0x1f0000", {}, "IptablesMarkMask"),
    ("FabricSpoofProtection = Maybe", {}, "FabricSpoofProtection"),
    ("WorkloadToHostPacketRate = 10001", {}, "WorkloadToHostPacketRate"),
    ("WorkloadToHostPacketBurst = none", {}, "WorkloadToHostPacketBurst"),
    ("IptablesMarkMask = 0x3f0000\nWireguardEnabled = true", {}, "IptablesMarkMask"),
]


@pytest.mark.parametrize(("file", "environ", "name"), FATAL)
def test_what_stops_the_start(file: str, environ: dict[str, str], name: str) -> None:
    with pytest.raises(ConfigError, match=name) as caught:
        resolve(from_texts(file, **environ))
    assert [each.name for each in caught.value.problems if each.severity == "error"] == [name]


def test_all_errors_are_told_at_once() -> None:
    with pytest.raises(ConfigError) as caught:
        resolve(from_texts("ChainInsertMode = a\nMetadataPort = b\nHealthPort = c"))
    assert str(caught.value).splitlines() == [
        "f.cfg:1: ChainInsertMode = a: not one of the words it can be; allowed: insert or append",
        "f.cfg:2: MetadataPort = b: not a whole number; allowed: a whole number from 0 to 65535",
    ]
    assert len(caught.value.problems) == 3


@pytest.mark.parametrize(
    ("file", "said"),
    [
        ("IptablesMarkMask = 0x1f0000", "has 5 bits set, and at least 6 are needed"),
        (
            "IptablesMarkMask = 0x3f0000\nWireguardEnabled = true",
            "has 6 bits set, and at least 7 are needed",
        ),
    ],
)
def test_a_mask_with_too_few_bits_is_refused_in_figures(file: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said) as caught:
        resolve(from_texts(file))
    assert str(caught.value).startswith("f.cfg:1: IptablesMarkMask = 0x")


def test_without_a_name_there_is_no_start() -> None:
    with pytest.raises(ConfigError, match="FelixHostname is not set"):
        resolve([])


SAID = [
    # file, what is said, "" for nothing
    (
        "HealthPort = abc",
        "f.cfg:1: HealthPort = abc: not a whole number; "
        "allowed: a whole number from 0 to 65535; the default is kept: 9099",
    ),
    (
        "LogSeverityScren = info",
        "f.cfg:1: LogSeverityScren is not a parameter; "
        "is LogSeverityScreen or LogSeveritySys or LogSeverityFile meant?",
    ),
    ("Xyzzy = 1", "f.cfg:1: Xyzzy is not a parameter"),
    (
        "DropActionOverride = Drop",
        "f.cfg:1: DropActionOverride has no effect: "
        "Felix has given it up; IptablesFilterDenyAction takes its place",
    ),
    (
        "typhaaddr = t:5473",
        "f.cfg:1: typhaaddr has no effect: felixpy asks the datastore itself, not Typha",
    ),
    (
        "BPFEnabled = yes",
        "f.cfg:1: BPFEnabled has no effect: felixpy has no eBPF dataplane and uses iptables",
    ),
    (
        "NFTablesMode = enabled",
        "f.cfg:1: NFTablesMode = Enabled has no effect: "
        "this version of felixpy does not do that yet",
    ),
    ("WireguardEnabled = true\nVXLANEnabled = false\nNFTablesMode = disabled", ""),
    ("BPFEnabled = false\nBPFLogLevel = debug\nUsageReportingEnabled = false", ""),
    ("TyphaAddr = none\nXDPEnabled = true\nGoGCThreshold = 10", ""),
    ("LogSeverityFile = none\nLogSeveritySys = none\nLogFilePath = none", ""),
    ("ReportingIntervalSecs = 30\nEndpointStatusPathPrefix = none", ""),
    ("ClusterGUID = g\nCalicoVersion = v3\nVariant = Calico", ""),
]


def test_the_file_of_a_felix_without_a_word() -> None:
    file = """[global]
FelixHostname = n1
LogSeverityScreen = info
LogFilePath = none
LogSeverityFile = none
LogSeveritySys = none
UsageReportingEnabled = false
InterfacePrefix = cali
IptablesBackend = NFT
HealthEnabled = false
BPFEnabled = false
DatastoreType = file
DatastorePath = /tmp/manifests
IptablesFilterDenyAction = Drop
DefaultEndpointToHostAction = Return
ChainInsertMode = Append
IptablesMarkMask = 0x00ff0000
IptablesRefreshInterval = 2
FailsafeInboundHostPorts = tcp:22,udp:8055,tcp:172.30.0.200/32:8056
"""
    resolved = resolve(from_texts(file))
    assert resolved.problems == ()
    assert resolved.config == Config(
        felix_hostname="n1",
        log_severity_file="",
        log_severity_sys="",
        iptables_backend="nft",
        datastore_path="/tmp/manifests",
        default_endpoint_to_host_action="RETURN",
        chain_insert_mode="append",
        iptables_mark_mask=0xFF0000,
        iptables_refresh_interval=2.0,
        failsafe_inbound_host_ports=(
            FailsafePort("tcp", 22),
            FailsafePort("udp", 8055),
            FailsafePort("tcp", 8056, "172.30.0.200/32"),
        ),
    )


@pytest.mark.parametrize(("file", "said"), SAID)
def test_what_is_said(file: str, said: str) -> None:
    assert "\n".join(warnings_of(resolve(from_texts(file)))) == said


def test_a_bad_value_still_hides_the_good_one_below_it() -> None:
    resolved = resolve(from_texts("HealthPort=1234", FELIX_HEALTHPORT="abc"))
    origin = resolved.origins["HealthPort"]
    assert origin == "default, as environment FELIX_HEALTHPORT is not valid"
    assert [setting.text for setting in resolved.given["HealthPort"]] == ["abc", "1234"]


def test_a_bad_value_that_loses_is_mentioned() -> None:
    resolved = resolve(from_texts("HealthPort=abc", FELIX_HEALTHPORT="1234"))
    assert resolved.config.health_port == 1234
    assert warnings_of(resolved)[0].endswith("not used, as it is also set elsewhere")


def test_local_parameters_are_not_the_datastore_s_to_set() -> None:
    resolved = resolve([says(Rank.CLUSTER, FelixHostname="other", RunDir="/x"), HOST])
    assert resolved.config == Config(felix_hostname="n1")
    assert all("is ignored" in text for text in warnings_of(resolved))
    assert len(resolved.problems) == 2


def test_secrets_are_not_repeated() -> None:
    resolved = examine(from_texts("EtcdPassword = swordfish", ETCD_PASSWORD="sword\x01fish"))
    assert "fish" not in "".join(warnings_of(resolved))
    assert "fish" not in repr(resolved.config)


RUNNING = Config(
    felix_hostname="n1",
    health_port=1,
    chain_insert_mode="append",
    iptables_mark_mask=0x3F0000,
)

KEPT: list[tuple[dict[str, str], str, str]] = [
    # what the datastore says now, parameter, severity of the problem
    ({"HealthPort": "abc"}, "HealthPort", "warning"),
    ({"ChainInsertMode": "foo"}, "ChainInsertMode", "error"),
    ({"ChainInsertMode": "none"}, "ChainInsertMode", "error"),
    ({"IptablesMarkMask": "0x3"}, "IptablesMarkMask", "error"),
]


@pytest.mark.parametrize(("values", "name", "severity"), KEPT)
def test_while_running_the_last_good_value_is_kept(
    values: dict[str, str], name: str, severity: str
) -> None:
    resolved = resolve([says(Rank.CLUSTER, **values), HOST], RUNNING)
    attribute = PARAMETERS[name].attribute
    assert getattr(resolved.config, attribute) == getattr(RUNNING, attribute)
    (problem,) = resolved.problems
    assert (problem.severity, problem.name) == (severity, name)
    assert "the value so far is kept" in problem.reason


def test_while_running_a_good_value_above_a_bad_one_counts() -> None:
    sources = [says(Rank.CLUSTER, ChainInsertMode="foo"), says(Rank.NODE, ChainInsertMode="append")]
    resolved = resolve([*sources, HOST], Config(felix_hostname="n1"))
    assert resolved.config.chain_insert_mode == "append"
    assert [problem.severity for problem in resolved.errors] == ["error"]


def test_while_running_no_wireguard_without_a_bit_for_it() -> None:
    sources = [says(Rank.FILE, IptablesMarkMask="0x3f0000"), HOST]
    running = resolve(sources).config
    resolved = resolve([*sources, says(Rank.CLUSTER, WireguardEnabled="true")], running)
    assert resolved.config == running
    assert [problem.name for problem in resolved.errors] == ["IptablesMarkMask"]


def test_while_running_the_datastore_stays() -> None:
    resolved = resolve([says(Rank.FILE, DatastoreType="kubernetes"), HOST], RUNNING)
    assert resolved.config.datastore_type == "file"
    assert len(resolved.errors) == 1


def test_what_is_gone_is_the_default_again() -> None:
    assert resolve([HOST], RUNNING).config == Config(felix_hostname="n1")


NAMES = st.sampled_from([*PARAMETERS, *WITHOUT_EFFECT, "Unknown"])
SOURCES = st.lists(
    st.builds(
        lambda rank, values: says(rank, **values),
        st.sampled_from(list(Rank)),
        st.dictionaries(NAMES, st.sampled_from(["none", "1", "true", "x", "0x3", "1.2.3.4", "é"])),
    ),
    max_size=4,
)


@given(SOURCES, st.sampled_from([None, RUNNING]))
def test_any_settings_are_resolved_or_refused(
    sources: list[Source], running: Config | None
) -> None:
    try:
        resolved: Any = resolve(sources, running)
    except ConfigError as refused:
        assert running is None
        assert str(refused)
        return
    assert isinstance(resolved.config, Config)
    assert resolved.config.iptables_mark_mask.bit_count() >= 6
