"""What people see: the table, JSON, one parameter, the sample file."""

import json
from pathlib import Path

import pytest

from felixpy.config.parameters import PARAMETERS, Config
from felixpy.config.render import (
    UnknownParameterError,
    explain,
    render_json,
    render_sample,
    render_table,
    rows,
)
from felixpy.config.resolve import Resolved, examine, resolve
from felixpy.config.sources import parse_file, read_environment, read_machine

SAMPLE = Path(__file__).parents[3] / "etc" / "felixpy.cfg"


def resolved(file: str = "", **variables: str) -> Resolved:
    sources = (parse_file(file, "f.cfg"), *read_environment(variables), read_machine({}, "n1"))
    return examine(sources)


def test_rows_say_value_source_default() -> None:
    found = {row.name: row for row in rows(resolved("RouteRefreshInterval = 2.5"))}
    row = found["RouteRefreshInterval"]
    assert (row.value, row.source, row.default) == ("2.5 s", "f.cfg:1", "90 s")
    assert row.changed
    assert row.live
    assert row.built
    assert found["NATPortRange"].value == "none"
    assert not found["NATPortRange"].changed
    assert "NFTablesMode" not in found


def test_only_what_changed() -> None:
    shown = rows(resolved("HealthPort = 1\nHealthHost = localhost"), only_changed=True)
    assert [(row.name, row.changed) for row in shown] == [
        ("FelixHostname", True),
        ("HealthHost", False),
        ("HealthPort", True),
    ]


def test_what_is_not_built_is_shown_where_it_was_set_or_asked_for() -> None:
    shown = {row.name: row for row in rows(resolved("NFTablesMode = enabled"))}
    assert not shown["NFTablesMode"].built
    assert {row.name for row in rows(resolved(), everything=True)} == set(PARAMETERS)


def test_json_has_every_field() -> None:
    shown = rows(resolved("HealthPort = 1"), only_changed=True)
    assert json.loads(render_json(shown))[1] == {
        "name": "HealthPort",
        "value": "1",
        "source": "f.cfg:1",
        "meaning": "Port on which health is served.",
        "default": "9099",
        "allowed": "a whole number from 0 to 65535",
        "unit": "",
        "live": True,
        "built": True,
        "changed": True,
        "group": "Logs, health, metrics, reports",
    }


def test_table() -> None:
    shown = rows(resolved("HealthPort = 1\nNFTablesMode = enabled"), only_changed=True)
    assert render_table(shown, 80, color=False) == (
        "Datastore and identity\n"
        "  FelixHostname  n1       host name of the kernel\n"
        "      Name of this node in the datastore; unset: the kernel's host name in lower\n"
        "      case.\n"
        "\n"
        "Logs, health, metrics, reports\n"
        "  HealthPort     1        f.cfg:1\n"
        "      Port on which health is served. (default 9099)\n"
        "\n"
        "Policy, tables, IP sets, NAT\n"
        "  NFTablesMode   Enabled  f.cfg:2\n"
        "      Use nftables itself instead of iptables. (not built yet; default Auto)\n"
    )


@pytest.mark.parametrize("width", [0, 60, 80, 100, 200])
def test_meanings_and_lists_fit_the_width(width: int) -> None:
    table = render_table(rows(resolved()), width, color=False)
    limit = max(width, 86)  # below that, name and value need what they need
    assert max(len(line) for line in table.splitlines()) <= limit
    assert "tcp:6667" in table


def test_colours_only_when_asked_for() -> None:
    shown = rows(resolved("HealthPort = 1"))
    assert "\x1b" not in render_table(shown, 80, color=False)
    assert "\x1b[1mHealthPort\x1b[0m" in render_table(shown, 80, color=True)
    assert render_table([], 80, color=True) == ""


def test_secrets_are_shown_as_set_or_unset() -> None:
    outcome = resolved("EtcdPassword = swordfish", FELIX_ETCDPASSWORD="herring")
    shown = rows(outcome)
    texts = (
        render_table(shown, 80, color=False),
        render_json(shown),
        explain(outcome, "EtcdPassword"),
        "\n".join(str(problem) for problem in outcome.problems),
    )
    assert not any("swordfish" in text or "herring" in text for text in texts)
    assert {row.name: row.value for row in shown}["EtcdPassword"] == "set"
    assert "unset" in explain(resolved(), "EtcdPassword")


PASSWORDS = [
    # file, environment
    ("EtcdPassword = swordfish", {}),
    ("etcdpassword: swordfish", {"ETCD_PASSWORD": "swordfish2"}),
    ("", {"FELIX_ETCDPASSWORD": "swordfish"}),
    ("", {"felix_EtcdPassword": "swordfish", "FELIX_ETCDPASSWORD": "swordfish2"}),
    ("", {"ETCD_PASSWORD": "swordfish", "CALICO_ETCD_PASSWORD": "swordfish2"}),
    ("EtcdEndpoints = http://node:swordfish@a:1", {}),
    ("EtcdEndpoints = http://a:1", {"ETCD_ENDPOINTS": "http://node:swordfish@a:1"}),
    ("EtcdAddr = node:swordfish@a:1", {}),
    ("EtcdUsername = node", {"ETCD_ENDPOINTS": "http://a", "ETCD_PASSWORD": "swordfish"}),
]


@pytest.mark.parametrize(("file", "environ"), PASSWORDS)
def test_no_password_is_shown_wherever_it_was_given(file: str, environ: dict[str, str]) -> None:
    outcome = resolved(file, **environ)
    shown = rows(outcome, everything=True)
    texts = (
        render_table(shown, 80, color=False),
        render_json(shown),
        *(explain(outcome, name) for name in PARAMETERS),
        *(str(problem) for problem in outcome.problems),
        repr(outcome.config),
    )
    assert not any("swordfish" in text for text in texts)


def test_explain() -> None:
    outcome = resolved("reportingintervalsecs = 5", FELIX_REPORTINGINTERVALSECS="6")
    assert explain(outcome, "ReportingIntervalSecs") == (
        "ReportingIntervalSecs\n"
        "  Time between two reports of this node's status to the datastore; 0: none.\n"
        "\n"
        "  value:       6 s\n"
        "  from:        environment FELIX_REPORTINGINTERVALSECS\n"
        "  also set:    5 at f.cfg:1, which is overruled\n"
        "  default:     30 s\n"
        "  allowed:     a number of seconds; none\n"
        "  a change:    takes effect at once\n"
        "  environment: FELIX_REPORTINGINTERVALSECS\n"
        "  datastore:   FelixConfiguration, field reportingInterval\n"
    )


EXPLAINED = [
    # name, what is in the text
    ("natportrange", "field natPortRange"),
    ("NFTablesMode", "field nftablesMode"),
    ("VXLANMTU", "field vxlanMTU"),
    ("IPv4NormalRoutePriority", "field ipv4NormalRoutePriority"),
    ("FelixHostname", "datastore:   no"),
    ("ClusterGUID", "none in felixpy"),
    ("BPFEnabled", "no effect in felixpy"),
    ("DropActionOverride", "IptablesFilterDenyAction takes its place"),
]


@pytest.mark.parametrize(("name", "text"), EXPLAINED)
def test_explained(name: str, text: str) -> None:
    assert text in explain(resolved(), name)


def test_explain_an_unknown_name() -> None:
    with pytest.raises(UnknownParameterError, match=r"HealthPrt; is HealthPort") as caught:
        explain(resolved(), "HealthPrt")
    assert caught.value.closest[0] == "HealthPort"


# ---------------------------------------------------------------- the sample file


def test_the_sample_file_is_as_rendered() -> None:
    """To renew it: write what `felixpy.config.render.render_sample` returns to it."""
    assert SAMPLE.read_text() == render_sample()


def uncommented(text: str) -> str:
    """Settings are commented out without a space after the #."""
    lines = text.splitlines()
    return "\n".join(
        line[1:] if line[:1] == "#" and line[1:2].isalpha() else line for line in lines
    )


def test_the_sample_file_changes_nothing() -> None:
    host = read_machine({}, "n1")
    for text in (render_sample(), uncommented(render_sample())):
        outcome = resolve((parse_file(text, "felixpy.cfg"), host))
        assert outcome.config == Config(felix_hostname="n1")
        assert outcome.problems == ()


def test_the_sample_file_has_all_that_is_honoured() -> None:
    settings = parse_file(uncommented(render_sample()), "felixpy.cfg").settings
    assert [setting.name for setting in settings] == [
        name for name, parameter in PARAMETERS.items() if parameter.effect == "honoured"
    ]
