"""`felixpy status bgp`, `felixpy bgp rejected` and `felixpy bgp config`: what they print."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from dataplane.bird.settings import BirdSettings
from felixpy import exits
from felixpy.bgp import report
from felixpy.bgp.offline import read_offline
from felixpy.bgp.report import Details
from felixpy.cli import main
from felixpy.commands.bgp import rejected, status
from felixpy.control_client import ControlClientError, NoAgentError
from tests.felixpy.bgp.bird_socket import ALL_UP, NOEXPORT, SESSIONS, Bird, bird_at
from tests.felixpy.bgp.bird_values import MESH, SECRET, TOR
from tests.felixpy.bgp.test_report import SEEN, WELL, disabled

RESOURCES = """\
apiVersion: projectcalico.org/v3
kind: Node
metadata: {name: n1}
spec: {bgp: {ipv4Address: 10.0.0.1/24}}
---
apiVersion: projectcalico.org/v3
kind: Node
metadata: {name: n2}
spec: {bgp: {ipv4Address: 10.0.0.2/24}}
---
apiVersion: projectcalico.org/v3
kind: IPPool
metadata: {name: pool}
spec: {cidr: 10.65.0.0/16}
---
apiVersion: projectcalico.org/v3
kind: BGPConfiguration
metadata: {name: default}
spec:
  nodeMeshPassword: {secretKeyRef: {name: bgp-secrets, key: mesh}}
---
apiVersion: projectcalico.org/v3
kind: FelixConfiguration
metadata: {name: default}
spec: {interfacePrefix: tap}
"""


@pytest.fixture
def config(tmp_path: Path) -> Path:
    manifests, secrets = tmp_path / "manifests", tmp_path / "secrets"
    manifests.mkdir()
    secrets.mkdir(mode=0o700)
    (manifests / "bgp.yaml").write_text(RESOURCES)
    give(secrets, "right-one")
    path = tmp_path / "felixpy.cfg"
    path.write_text(
        f"[global]\nFelixHostname = n1\nDatastorePath = {manifests}\nRunDir = {tmp_path / 'run'}\n"
        f"BGPEnabled = true\nBirdConfigFile = {tmp_path / 'b.conf'}\n"
        f"BirdControlSocket = {tmp_path / 'b.ctl'}\nSecretsPath = {secrets}\n"
    )
    return path


def give(secrets: Path, password: str) -> None:
    path = secrets / "s.yaml"
    path.touch(mode=0o600)
    path.write_text(SECRET % password)


@pytest.fixture
def bird(config: Path) -> Iterator[Bird]:
    with bird_at(config.parent / "b.ctl") as bird:
        bird.replies["show route noexport 'Global_10_0_0_254' all"] = NOEXPORT
        yield bird


def agent_says(
    monkeypatch: pytest.MonkeyPatch, answer: Details | ControlClientError | None
) -> None:
    def ask(_: Path) -> Details | None:
        if isinstance(answer, ControlClientError):
            raise answer
        return answer

    monkeypatch.setattr(status, "ask_details", ask)
    monkeypatch.setattr(rejected, "ask_details", ask)


DETAILS = report.details(WELL, SEEN, BirdSettings())
REFUSED = report.details(
    WELL.__class__(disabled(MESH.name), {MESH.name: MESH}), SEEN, BirdSettings()
)


def printed(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    code = main(words)
    said = capsys.readouterr()
    return code, said.out, said.err


# ---------------------------------------------------------------- status bgp


def test_each_session_has_its_line(
    config: Path, bird: Bird, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    agent_says(monkeypatch, DETAILS)
    code, out, _ = printed(capsys, "status", "bgp", "-c", str(config))
    assert code == exits.NOT_WELL  # one of them is not up
    lines = out.splitlines()
    assert lines[0].startswith("BIRD           2.0.12, router id 10.0.0.1, up since")
    assert lines[1] == f"configuration  in sync: {config.parent / 'b.conf'}"
    rows = {line.split()[0]: line.split() for line in lines[3:] if not line.startswith(" ")}
    assert " ".join(rows[MESH.name][1:]) == (
        "10.0.0.2 64512>64512 mesh Established 19:33:04 240/80 2 (1) 1 4 both set"
    )
    assert rows[TOR.name][1:6] == ["10.0.0.254", "64512>65001", "global", "Active", "2026-11-19"]
    assert rows[TOR.name][-1] == "none"
    assert "    last error: Socket: Connection refused" in lines
    assert max(map(len, lines)) <= 130


def test_all_is_well(
    config: Path, bird: Bird, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    bird.replies["show protocols all"] = ALL_UP
    one = report.details(WELL.__class__(WELL.version, {MESH.name: MESH}), SEEN, BirdSettings())
    agent_says(monkeypatch, one)
    assert printed(capsys, "status", "bgp", "-c", str(config))[0] == exits.OK


@pytest.mark.parametrize(
    ("details", "words"),
    [
        (REFUSED, ["refused", "Secret bgp-secrets/mesh: there is no such Secret"]),
        (
            report.details(WELL, SEEN, BirdSettings(unguarded=frozenset(("tor",)))),
            ["BGPUnguardedPeers"],
        ),
        (
            report.Details("undone", "Mesh_10_0_0_2 is not back", problems={"BIRD": "undone: x"}),
            ["configuration  undone", "problem: undone: x"],
        ),
        (
            report.Details("in sync", waiting=(MESH.name,)),
            ["waiting        for the other end to follow: Mesh_10_0_0_2"],
        ),
    ],
)
def test_what_is_special_is_said(
    config: Path,
    bird: Bird,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    details: Details,
    words: list[str],
) -> None:
    agent_says(monkeypatch, details)
    out = printed(capsys, "status", "bgp", "-c", str(config))[1]
    for word in words:
        assert word in out


def test_bird_away(
    config: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    agent_says(monkeypatch, DETAILS)
    code, out, _ = printed(capsys, "status", "bgp", "-c", str(config))
    assert code == exits.NOT_WELL
    assert "BIRD           away: " in out
    assert "absent" in next(line for line in out.splitlines() if line.startswith(MESH.name))


WITHOUT_AGENT = [
    # why there are no details         a daemon  exit status        said
    (NoAgentError(), True, exits.NOT_RUNNING, "agent          stopped"),
    (NoAgentError(), False, exits.NOT_RUNNING, "BIRD           away"),
    (ControlClientError("only root may"), True, exits.NOT_WELL, "not asked: only root may"),
    (None, False, exits.OK, "BGP is switched off (BGPEnabled)"),
    (None, True, exits.NOT_WELL, "has no part in it: BGPEnabled is off"),
]


@pytest.mark.parametrize(("answer", "daemon", "code", "said"), WITHOUT_AGENT)
def test_without_the_agent_s_knowledge(
    config: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    answer: ControlClientError | None,
    daemon: bool,
    code: int,
    said: str,
) -> None:
    agent_says(monkeypatch, answer)
    replies = {"show status": "0013 up\n"} if not daemon else None
    with bird_at(config.parent / ("b.ctl" if daemon else "other"), *([replies] if replies else [])):
        found, out, _ = printed(capsys, "status", "bgp", "-c", str(config))
    assert found == code
    assert said in out


def test_a_refused_version_is_named(
    config: Path, bird: Bird, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    agent_says(monkeypatch, NoAgentError())
    file = config.parent / "b.conf"
    file.write_text("# Written by felixpy\n")
    (config.parent / "b.conf.refused.why").write_text("line 3: syntax error\n")
    out = printed(capsys, "status", "bgp", "-c", str(config))[1]
    assert f"refused: line 3: syntax error\n               kept as {file}.refused" in out
    assert "what BIRD runs is older than this file" in out


def test_as_json(
    config: Path, bird: Bird, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    agent_says(monkeypatch, DETAILS)
    found: dict[str, Any] = json.loads(
        printed(capsys, "status", "bgp", "--json", "-c", str(config))[1]
    )
    assert found["bird"]["router_id"] == "10.0.0.1"
    assert found["configuration"]["state"] == "in sync"
    tor, mesh = found["sessions"]
    assert (mesh["name"], mesh["state"], mesh["password"]) == (MESH.name, "Established", "set")
    assert (mesh["local_as"], mesh["remote_as"], mesh["imported"]) == (64512, 64512, 2)
    assert (tor["resource"], tor["filters"]) == ("tor", ["narrow", "wide"])
    assert "hidden" not in json.dumps(found)


# ---------------------------------------------------------------- bgp rejected


def test_each_refused_route_is_named(
    config: Path, bird: Bird, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    agent_says(monkeypatch, DETAILS)
    code, out, _ = printed(capsys, "bgp", "rejected", "-c", str(config))
    assert code == exits.OK
    lines = [" ".join(line.split()) for line in out.splitlines()]
    for line in (
        "198.51.100.0/24 in Mesh_10_0_0_2 outside the cluster's pools",
        "10.65.9.0/26 in Global_10_0_0_254 BGPFilter wide, importV4[3]",
        "192.0.2.0/24 kernel kernel kernel: not a route to a local workload",
        "10.65.77.7/32 out Mesh_10_0_0_2 not ours to announce",
        "1 in Mesh_10_0_0_2 outside the cluster's pools",
        "1 out Mesh_10_0_0_2 not ours to announce",
    ):
        assert line in lines
    # the last of them is kept back by BGP's own rule, and by no filter
    ordinary = {"10.0.0.0/24", "10.65.1.7/32", "10.65.2.0/26"}
    assert not ordinary & {line.split(" ")[0] for line in lines}
    out = printed(capsys, "bgp", "rejected", "--all", "-c", str(config))[1]
    assert ordinary & {line.split(" ")[0] for line in out.splitlines()} == {
        "10.0.0.0/24",
        "10.65.1.7/32",
    }


def test_what_several_are_not_told_takes_one_line(
    config: Path, bird: Bird, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    bird.replies["show protocols all"] = SESSIONS.replace(" start ", " up ")
    agent_says(monkeypatch, DETAILS)
    out = printed(capsys, "bgp", "rejected", "-c", str(config))[1]
    assert "10.65.77.7/32 out 2 sessions not ours to announce" in " ".join(out.split())


def test_of_one_session_and_as_json(
    config: Path, bird: Bird, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    agent_says(monkeypatch, NoAgentError())
    code, out, _ = printed(capsys, "bgp", "rejected", TOR.name, "--json", "-c", str(config))
    assert code == exits.OK
    found = json.loads(out)
    (route,) = found["routes"]
    assert route == {
        "net": "10.65.9.0/26",
        "direction": "in",
        "session": TOR.name,
        "peer": "10.0.0.254",
        "reason": "rule 3 of a BGPFilter",
        "code": 2003,
        "path": "65001",
        "next_hop": "10.0.0.254",
    }
    assert found["counts"] == [
        {
            "session": TOR.name,
            "direction": "in",
            "reason": "rule 3 of a BGPFilter",
            "routes": 1,
        }
    ]


def test_nothing_is_refused(
    config: Path, bird: Bird, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    agent_says(monkeypatch, DETAILS)
    bird.replies["show route filtered all"] = "0000 \n"
    out = printed(capsys, "bgp", "rejected", TOR.name, "-c", str(config))[1]
    assert out == "no route is refused\n"


def test_a_session_that_is_none_and_a_daemon_that_is_none(
    config: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    agent_says(monkeypatch, DETAILS)
    with bird_at(config.parent / "b.ctl"):
        code, _, err = printed(capsys, "bgp", "rejected", "nobody", "-c", str(config))
        assert (code, err) == (exits.REFUSED, "felixpy: BIRD has no session nobody\n")
    code, _, err = printed(capsys, "bgp", "rejected", "-c", str(config))
    assert code == exits.FAILED
    assert "b.ctl: No such file or directory" in err


# ---------------------------------------------------------------- bgp config


def test_the_configuration_is_printed_without_passwords(
    config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, err = printed(capsys, "bgp", "config", "-c", str(config))
    assert (code, err) == (exits.OK, "")
    assert "protocol bgp 'Mesh_10_0_0_2'" in out or "protocol bgp Mesh_10_0_0_2" in out
    assert "tap" in out  # FelixConfiguration counts
    assert "right-one" not in out


def test_its_difference_to_the_file(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = config.parent / "b.conf"
    words = ("bgp", "config", "--diff", "-c", str(config))
    code, out, _ = printed(capsys, *words)
    assert code == exits.OK
    assert out.startswith(f"--- {file}\n+++ as the datastore has it\n@@ -0,0 +1,")
    file.write_text(read_offline(config, {}).version.text)
    assert printed(capsys, *words) == (exits.OK, "", "")
    give(config.parent / "secrets", "another-one")
    code, out, _ = printed(capsys, *words)
    changed = [line for line in out.splitlines()[2:] if line[0] in "+-"]
    assert [line.split()[0] for line in changed] == ["-", "+"]
    assert all("password" in line for line in changed)
    assert "right-one" not in out
    assert "another-one" not in out


def test_what_is_wrong_is_said_beside_it(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    give(config.parent / "secrets", "x" * 81)
    code, out, err = printed(capsys, "bgp", "config", "-c", str(config))
    assert code == exits.OK
    assert "disabled;" in out
    assert err.startswith("warning: Mesh_10_0_0_2 disabled: ")
    found = json.loads(printed(capsys, "bgp", "config", "--json", "-c", str(config))[1])
    assert found["sessions"] == {
        "Mesh_10_0_0_2": {"enabled": False, "problem": found["sessions"][MESH.name]["problem"]}
    }
    assert [*found["problems"]] == [f"session {MESH.name}"]


def test_resources_that_are_wrong(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (config.parent / "manifests" / "bad.yaml").write_text("kind: [")
    code, out, err = printed(capsys, "bgp", "config", "-c", str(config))
    assert (code, out) == (exits.REFUSED, "")
    assert "bad.yaml" in err


def test_what_cannot_be_rendered(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    manifest = config.parent / "manifests" / "bgp.yaml"
    manifest.write_text(RESOURCES.replace("ipv4Address: 10.0.0.1/24", "ipv6Address: fd00::1/64"))
    code, _, err = printed(capsys, "bgp", "config", "-c", str(config))
    assert code == exits.REFUSED
    assert "router id" in err
