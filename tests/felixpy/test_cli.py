"""The command line: what it prints, and its exit statuses."""

from __future__ import annotations

import asyncio
import errno
import importlib
import json
import logging
import os
import shlex
import subprocess
import sys
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
import structlog
from msgspec import structs

from dataplane.dropped import Dropped
from dataplane.netlink import NetlinkError
from felixpy import exits, status
from felixpy.cli import main
from felixpy.control import Control
from felixpy.holds import Hold, Holds
from felixpy.holds_control import register as register_holds
from felixpy.rundir import Lock, run_directory
from felixpy.status import (
    BgpStatus,
    DataplaneStatus,
    DatastoreStatus,
    Problem,
    Status,
    WireguardStatus,
)

POLICY = """\
apiVersion: projectcalico.org/v3
kind: GlobalNetworkPolicy
metadata: {name: p}
spec: {selector: all()}
"""
FELIX = """\
apiVersion: projectcalico.org/v3
kind: FelixConfiguration
metadata: {name: default}
spec: {routeRefreshInterval: 5s}
"""


@pytest.fixture(autouse=True)
def as_before(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name in [name for name in os.environ if name.lower().startswith("felix_")]:
        monkeypatch.delenv(name)
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:], root.level = handlers, level
    structlog.reset_defaults()


@pytest.fixture
def config(tmp_path: Path) -> Path:
    manifests = tmp_path / "manifests"
    manifests.mkdir()
    (manifests / "policy.yaml").write_text(POLICY)
    (manifests / "felix.yaml").write_text(FELIX)
    path = tmp_path / "felixpy.cfg"
    path.write_text(
        f"[global]\nFelixHostname = n1\nDatastorePath = {manifests}\nRunDir = {tmp_path / 'run'}\n"
    )
    return path


COMMANDS = [
    "run",
    "status",
    "confirm",
    "config",
    "check",
    "cleanup",
    "etcd",
    "demo",
    "install",
    "uninstall",
    "completion",
]


@pytest.mark.parametrize("command", [None, *COMMANDS])
def test_help_says_what_exit_statuses_mean(
    command: str | None, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main([*([command] if command else []), "--help"])
    assert ended.value.code == exits.OK
    said = capsys.readouterr().out
    assert exits.HELP.splitlines()[-1] in said
    if command is None:
        assert [name for name in COMMANDS if name in said] == COMMANDS


@pytest.mark.parametrize("argv", [[], ["nonsense"], ["run", "--nonsense"], ["completion", "tcsh"]])
def test_a_wrong_command_line(argv: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(argv)
    assert ended.value.code == exits.REFUSED
    assert "usage: felixpy" in capsys.readouterr().err


GROUPS = {
    "bgp": ("rejected", "config", "rbac", "upstream"),
    "wireguard": ("key",),
    "doctor": ("wireguard",),
}


@pytest.mark.parametrize("group", GROUPS)
def test_a_group_names_its_commands(group: str, capsys: pytest.CaptureFixture[str]) -> None:
    for words in ([], ["--help"], *([name, "--help"] for name in GROUPS[group])):
        with pytest.raises(SystemExit) as ended:
            main([group, *words])
        assert ended.value.code == (exits.OK if words else exits.REFUSED)
        said = capsys.readouterr()
        if words == ["--help"]:
            assert all(f"    {name}" in said.out for name in GROUPS[group])
        elif words:
            assert "--json" in said.out
            assert "--config" in said.out
    with pytest.raises(SystemExit):
        main(["--help"])
    assert f"    {group}" in capsys.readouterr().out


def test_every_command_has_its_module() -> None:
    for command in COMMANDS:
        module = importlib.import_module(f"felixpy.commands.{command}")
        assert callable(module.run)


# ---------------------------------------------------------------- config


def test_config_prints_nothing_but_json(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["config", "--config", str(config), "--set", "--json"]) == exits.OK
    out, err = capsys.readouterr()
    values = {row["name"]: (row["value"], row["source"]) for row in json.loads(out)}
    assert values["RouteRefreshInterval"] == ("5 s", "FelixConfiguration default")
    assert values["FelixHostname"] == ("n1", f"{config}:2")
    assert err == ""


@pytest.mark.parametrize("width", [60, 80, 120])
def test_the_table_fits_the_terminal(
    width: int, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", str(width))
    Path("f.cfg").write_text("[global]\nFelixHostname = n1\nDatastorePath = .\n")
    assert main(["config", "-c", "f.cfg"]) == exits.OK
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) > 100
    assert [line for line in lines if len(line) > width] == []


def test_one_parameter(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["config", "-c", str(config), "routerefreshinterval"]) == exits.OK
    out = capsys.readouterr().out
    assert out.startswith("RouteRefreshInterval\n")
    assert "FelixConfiguration default" in out


def test_a_parameter_that_is_not_there(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["config", "-c", str(config), "RouteRefreshIntervall"]) == exits.REFUSED
    assert "is RouteRefreshInterval or" in capsys.readouterr().err


def test_config_shows_a_configuration_that_would_not_start(
    config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config.write_text(config.read_text() + "ChainInsertMode = sideways\nFoo = 1\n")
    assert main(["config", "-c", str(config), "--set"]) == exits.REFUSED
    out, err = capsys.readouterr()
    assert "ChainInsertMode" in out
    assert "error: " in err
    assert "Foo is not a parameter" in err


# ---------------------------------------------------------------- check, run


def test_check_counts(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", "-c", str(config), "--json"]) == exits.OK
    assert json.loads(capsys.readouterr().out) == {
        "errors": [],
        "warnings": [],
        "resources": {"FelixConfiguration": 1, "GlobalNetworkPolicy": 1},
    }


def test_check_says_that_an_agent_would_wait(
    config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (config.parent / "manifests/cluster.yaml").write_text(
        "apiVersion: projectcalico.org/v3\nkind: ClusterInformation\n"
        "metadata: {name: default}\nspec: {datastoreReady: false}\n"
    )
    assert main(["check", "-c", str(config)]) == exits.OK
    out, err = capsys.readouterr()
    assert out.endswith(": 1 ClusterInformation, 1 FelixConfiguration, 1 GlobalNetworkPolicy\n")
    assert err.startswith("warning: ClusterInformation default: datastoreReady is not true")


MISTAKES = [
    # in the file      in the manifest                  what is said
    ("", ("selector", "selectr"), "policy.yaml:4:8: spec.selectr: unknown field"),
    ("", ("NetworkPolicy", "NetworkPolicie"), "policy.yaml:2"),
    ("ChainInsertMode = sideways\n", ("", ""), "ChainInsertMode = sideways"),
    ("junk\n", ("", ""), "'junk' is not of the form name = value"),
]


@pytest.mark.parametrize(("more", "change", "said"), MISTAKES)
def test_check_finds_mistakes_and_run_refuses_them(
    config: Path,
    capsys: pytest.CaptureFixture[str],
    more: str,
    change: tuple[str, str],
    said: str,
) -> None:
    config.write_text(config.read_text() + more)
    (config.parent / "manifests/policy.yaml").write_text(POLICY.replace(*change))
    assert main(["check", "-c", str(config)]) == exits.REFUSED
    assert said in capsys.readouterr().err
    done = subprocess.run(
        [sys.executable, "-m", "felixpy", "run", "-c", str(config)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == exits.REFUSED
    assert said in done.stderr
    assert done.stderr.endswith("felixpy: not started; the kernel is as it was\n")
    assert "Traceback" not in done.stderr


def test_all_errors_of_a_configuration_are_said_at_once(
    config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config.write_text(
        config.read_text() + "ChainInsertMode = sideways\nIptablesMarkMask = 0x1\nFoo = 1\n"
    )
    assert main(["run", "-c", str(config)]) == exits.REFUSED
    said = capsys.readouterr().err
    assert "ChainInsertMode" in said
    assert "IptablesMarkMask" in said


# ---------------------------------------------------------------- etcd

# Port 1 of the loopback address: nobody listens there, and the answer comes at once.
NOBODY = "EtcdEndpoints = http://127.0.0.1:1\n"


@pytest.fixture
def away(tmp_path: Path) -> Path:
    path = tmp_path / "etcd.cfg"
    path.write_text(f"[global]\nFelixHostname = n1\nRunDir = {tmp_path / 'run'}\n{NOBODY}")
    return path


def test_check_says_that_etcd_is_away(away: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", "-c", str(away), "--json"]) == exits.FAILED
    out, err = capsys.readouterr()
    reason = "etcd cannot be read: 127.0.0.1:1: connection refused"
    assert json.loads(out)["errors"] == [reason]
    assert err == f"felixpy: {reason}\n"


def test_check_of_a_directory_asks_no_etcd(
    away: Path, config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["check", "-c", str(away), str(config.parent / "manifests")]) == exits.OK
    assert "1 GlobalNetworkPolicy" in capsys.readouterr().out


def test_a_mistake_about_etcd_sends_check_nowhere_else(
    away: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    away.write_text(away.read_text() + "EtcdUsername = u\n")
    assert main(["check", "-c", str(away)]) == exits.REFUSED
    out, err = capsys.readouterr()
    assert out == ""
    assert [line for line in err.splitlines() if line.startswith("error: ")] == [
        f"error: {away}:5: EtcdUsername is set without EtcdPassword: "
        "each is of use only with the other"
    ]
    assert main(["config", "-c", str(away), "FelixHostname"]) == exits.REFUSED


def test_config_shows_what_the_machine_says_where_etcd_is_away(
    away: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["config", "-c", str(away), "--set", "--json"]) == exits.FAILED
    out, err = capsys.readouterr()
    assert "FelixHostname" in {row["name"] for row in json.loads(out)}
    assert err.endswith("cannot be read: 127.0.0.1:1: connection refused\n")
    assert "without FelixConfiguration resources" in err


ROLES = [
    # arguments                             user          role          what is said
    ([], "felixpy-n1", "felixpy-n1", "--interactive=false"),
    (["--node", "n7"], "felixpy-n7", "felixpy-n7", "/host/n7/status"),
    (["--user", "u u", "--no-password"], "u u", "felixpy-n1", "--no-password -- 'u u'"),
    (["--role", "it's"], "felixpy-n1", "it's", shlex.quote("it's")),
]


@pytest.mark.parametrize(("more", "user", "role", "said"), ROLES)
def test_roles(
    away: Path,
    capsys: pytest.CaptureFixture[str],
    more: list[str],
    user: str,
    role: str,
    said: str,
) -> None:
    argv = ["etcd", "roles", "-c", str(away), *more]
    assert main(argv) == exits.OK
    script = capsys.readouterr().out
    assert said in script
    assert main([*argv, "--json"]) == exits.OK
    found = json.loads(capsys.readouterr().out)
    assert (found["user"], found["role"], found["script"]) == (user, role, script)
    assert {"type": "read", "key": NODES, "prefix": True} in found["permissions"]


NODES = "/calico/resources/v3/projectcalico.org/nodes/"


@pytest.mark.parametrize(
    ("line", "more", "writes"),
    [
        ("", [], False),
        ("WireguardEnabled = true", [], True),
        ("WireguardEnabledV6 = true", [], True),
        ("", ["--wireguard"], True),
        ("WireguardEnabled = perhaps", ["--wireguard"], True),
    ],
)
def test_a_role_for_a_node_that_publishes_a_key(
    away: Path, capsys: pytest.CaptureFixture[str], line: str, more: list[str], writes: bool
) -> None:
    away.write_text(f"{away.read_text()}{line}\n")
    assert main(["etcd", "roles", "-c", str(away), "--json", *more]) == exits.OK
    allowed = json.loads(capsys.readouterr().out)["permissions"]
    assert ({"type": "write", "key": f"{NODES}n1", "prefix": False} in allowed) is writes


def test_no_role_rests_on_a_wireguard_that_is_misspelt(
    away: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    away.write_text(f"{away.read_text()}WireguardEnabled = perhaps\n")
    assert main(["etcd", "roles", "-c", str(away)]) == exits.REFUSED
    assert "WireguardEnabled" in capsys.readouterr().err


@pytest.mark.parametrize("more", [["--node", "a/b"], ["--node", ""], ["--user", "root"]])
def test_roles_that_cannot_be(
    away: Path, capsys: pytest.CaptureFixture[str], more: list[str]
) -> None:
    assert main(["etcd", "roles", "-c", str(away), *more]) == exits.REFUSED
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith(f"felixpy: {more[0].removeprefix('--')} ")


def test_a_role_for_a_node_whose_name_is_wrong(
    away: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    away.write_text(away.read_text().replace("n1", "n/1"))
    assert main(["etcd", "roles", "-c", str(away)]) == exits.REFUSED
    assert "FelixHostname" in capsys.readouterr().err
    assert main(["etcd", "roles", "-c", str(away), "--node", "n1"]) == exits.OK


def test_a_client_certificate_stands_for_a_password(
    away: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = away.read_text().replace("http:", "https:")
    for name in ("EtcdCertFile", "EtcdKeyFile"):
        path = tmp_path / name
        path.touch()
        text += f"{name} = {path}\n"
    away.write_text(text)
    assert main(["etcd", "roles", "-c", str(away)]) == exits.OK
    assert "etcdctl user add --no-password -- felixpy-n1" in capsys.readouterr().out


@pytest.mark.parametrize("command", ["status", "cleanup", "config", "etcd"])
def test_a_file_that_is_no_configuration(
    away: Path, capsys: pytest.CaptureFixture[str], command: str
) -> None:
    away.write_text("junk\nmore junk\n")
    assert main([command, *(["roles"] if command == "etcd" else []), "-c", str(away)]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert [line.startswith(f"felixpy: {away}:") for line in lines] == [True, True]


# ---------------------------------------------------------------- status

KNOWN = Status(
    node="n1",
    pid=os.getpid(),
    version="1",
    started=status.now(),
    datastore=DatastoreStatus("file", "/m", "in sync"),
    dataplane=DataplaneStatus(state="in sync", last_write=status.now()),
)
PROBLEM = Problem("datastore", "/m/p.yaml", "/m/p.yaml:1:1: wrong", status.now())


@pytest.mark.parametrize(
    ("runs", "written", "code", "said"),
    [
        (False, None, exits.NOT_RUNNING, "stopped"),
        (False, KNOWN, exits.NOT_RUNNING, "stopped"),
        (True, None, exits.NOT_WELL, "starting"),
        (True, KNOWN, exits.OK, "running: felixpy 1 on n1"),
    ],
)
def test_status(
    config: Path,
    capsys: pytest.CaptureFixture[str],
    runs: bool,
    written: Status | None,
    code: int,
    said: str,
) -> None:
    directory = run_directory(config.parent / "run")
    with Lock(directory):
        if written is not None:
            status.write(directory, written)
        if runs:
            assert main(["status", "-c", str(config)]) == code
    if not runs:
        assert main(["status", "-c", str(config)]) == code
    assert capsys.readouterr().out.startswith(said)
    assert main(["status", "-c", str(config), "--json"]) == exits.NOT_RUNNING
    assert json.loads(capsys.readouterr().out) == {"state": "stopped"}


def test_status_names_what_is_wrong(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    directory = run_directory(config.parent / "run")
    with Lock(directory):
        status.write(directory, structs.replace(KNOWN, problems=(PROBLEM,)))
        assert main(["status", "-c", str(config)]) == exits.NOT_WELL
        assert PROBLEM.text in capsys.readouterr().out
        assert main(["status", "-c", str(config), "--json"]) == exits.NOT_WELL
    found = json.loads(capsys.readouterr().out)
    assert found["state"] == "degraded"
    assert found["problems"][0]["text"] == PROBLEM.text


BGP_LINES = [
    (None, None),
    (BgpStatus("waiting"), "waiting for datastore and dataplane"),
    (BgpStatus("in sync", 5, 5), "5 of 5 sessions up"),
    (BgpStatus("in sync", 5, 4, 1, ("rr",)), "4 of 5 sessions up; 1 refused; unguarded: rr"),
    (BgpStatus("away", 5), "0 of 5 sessions up; BIRD does not answer"),
    (BgpStatus("undone", 2, 2), "2 of 2 sessions up; the new configuration was undone"),
]


@pytest.mark.parametrize(("bgp", "said"), BGP_LINES)
def test_status_has_a_line_for_bgp(
    config: Path, capsys: pytest.CaptureFixture[str], bgp: BgpStatus | None, said: str | None
) -> None:
    directory = run_directory(config.parent / "run")
    with Lock(directory):
        status.write(directory, structs.replace(KNOWN, bgp=bgp))
        assert main(["status", "-c", str(config)]) == exits.OK
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("  bgp ")]
    assert lines == ([] if said is None else [f"  bgp         {said}"])


WIREGUARD_LINES = [
    ((), []),
    (
        (WireguardStatus(4, {"no key": 1, "ready": 3}),),
        ["3 of 4 peers encrypted; 1 without a key"],
    ),
    (
        (WireguardStatus(4, {"leaving": 1, "waiting": 2}), WireguardStatus(6, {"ready": 2})),
        [
            "0 of 2 peers encrypted; 1 leaving; 2 waiting for a handshake",
            "IPv6: 2 of 2 peers encrypted",
        ],
    ),
    (
        (WireguardStatus(4, {"waiting": 1}, "this kernel has no WireGuard"),),
        ["0 of 1 peers encrypted; 1 waiting for a handshake; this kernel has no WireGuard"],
    ),
]


@pytest.mark.parametrize(("wireguard", "said"), WIREGUARD_LINES)
def test_status_has_a_line_for_wireguard(
    config: Path,
    capsys: pytest.CaptureFixture[str],
    wireguard: tuple[WireguardStatus, ...],
    said: list[str],
) -> None:
    directory = run_directory(config.parent / "run")
    with Lock(directory):
        status.write(directory, structs.replace(KNOWN, wireguard=wireguard))
        assert main(["status", "-c", str(config)]) == exits.OK
    start = "  wireguard   "
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith(start)]
    assert lines == [f"{start}{line}" for line in said]


DROPPED = Dropped(
    {(4, "default/w1"): 3, (6, "default/w1"): 4, (4, "default/w2"): 0},
    {(4, "address of a local workload"): 5},
    {(4, "came in clear"): 1, (6, "came in clear"): 1, (4, "to leave in clear"): 0},
)


@pytest.mark.parametrize(
    ("dropped", "said"),
    [
        (Dropped(), []),
        (
            DROPPED,
            [
                "  limited     7 packets to the host dropped: default/w1",
                "  forged      5 packets from the fabric: address of a local workload",
                "  unencrypted 2 packets dropped that must be encrypted: came in clear",
            ],
        ),
        (None, ["  limited     unknown: the kernel tells its counters to root alone"]),
    ],
)
def test_status_says_what_was_refused_besides_policy(
    config: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    dropped: Dropped | None,
    said: list[str],
) -> None:
    async def read(families: object) -> Dropped:
        if dropped is None:
            raise NetlinkError("listing chains", errno.EPERM)
        return dropped

    monkeypatch.setattr("felixpy.commands.status.read_dropped", read)
    config.write_text(config.read_text() + "FabricSpoofProtection = Drop\n")
    directory = run_directory(config.parent / "run")
    with Lock(directory):
        status.write(directory, KNOWN)
        main(["status", "-c", str(config)])
        lines = capsys.readouterr().out.splitlines()
        main(["status", "-c", str(config), "--json"])
    assert [line for line in lines if line.startswith(("  limited", "  forged", "  unenc"))] == said
    found = json.loads(capsys.readouterr().out)
    assert found.get("limited", {}) == ({"default/w1": 7} if dropped is DROPPED else {})


PLACES = [
    (DatastoreStatus("file", "/m", "in sync"), "  datastore   file (/m): in sync"),
    (
        DatastoreStatus("etcdv3", "10.0.0.1:2379", "in sync"),
        "  datastore   etcdv3 (10.0.0.1:2379): in sync",
    ),
    (
        DatastoreStatus("etcdv3", "10.0.0.1:2379,[fd00::2]:2379", "unavailable"),
        "  datastore   etcdv3 (10.0.0.1:2379,[fd00::2]:2379): unavailable",
    ),
    (
        DatastoreStatus("etcdv3", "10.0.0.1:2379", "not ready"),
        "  datastore   etcdv3 (10.0.0.1:2379): not ready",
    ),
    (DatastoreStatus("", "", "connecting"), "  datastore   connecting"),
]


@pytest.mark.parametrize(("datastore", "said"), PLACES)
def test_status_tells_where_the_resources_come_from(
    config: Path, capsys: pytest.CaptureFixture[str], datastore: DatastoreStatus, said: str
) -> None:
    directory = run_directory(config.parent / "run")
    with Lock(directory):
        status.write(directory, structs.replace(KNOWN, datastore=datastore))
        main(["status", "-c", str(config)])
    assert said in capsys.readouterr().out.splitlines()


# ---------------------------------------------------------------- confirm


class Listening(threading.Thread):
    """An agent that holds something back, and answers commands."""

    def __init__(self, directory: Path) -> None:
        super().__init__()
        self.directory = directory
        self.loop = asyncio.new_event_loop()
        self.ready = threading.Event()

    def run(self) -> None:
        self.loop.run_until_complete(self._open())
        self.loop.run_forever()
        self.loop.run_until_complete(self.control.close())
        self.loop.close()

    async def _open(self) -> None:
        self.control = Control()
        holds = Holds(lambda: None)
        for name in ("one", "two"):
            holds.place(Hold(name, "kind", f"{name} waits", 1), partial(holds.lift, name, "yes"))
        register_holds(self.control, holds)
        await self.control.open(self.directory)
        self.ready.set()


@pytest.fixture
def listening(config: Path) -> Iterator[None]:
    directory = run_directory(config.parent / "run")
    directory.mkdir(parents=True)
    thread = Listening(directory)
    thread.start()
    thread.ready.wait(10)
    yield
    thread.loop.call_soon_threadsafe(thread.loop.stop)
    thread.join()


CONFIRM = [
    # words, status, what is said, what is held then
    ([], exits.OK, ["one: one waits", "two: two waits", "    confirmed"], []),
    (["--list"], exits.OK, ["one: one waits", "two: two waits"], ["one", "two"]),
    (["--dry-run", "two"], exits.OK, ["two: two waits"], ["one", "two"]),
    (["two"], exits.OK, ["two: two waits", "    confirmed"], ["one"]),
    (["two", "three"], exits.REFUSED, ["nothing is held back as three"], ["one", "two"]),
]


@pytest.mark.parametrize(
    ("words", "code", "said", "held"), CONFIRM, ids=[" ".join(c[0]) for c in CONFIRM]
)
@pytest.mark.usefixtures("listening")
def test_confirm(
    config: Path,
    capsys: pytest.CaptureFixture[str],
    words: list[str],
    code: int,
    said: list[str],
    held: list[str],
) -> None:
    assert main(["confirm", "-c", str(config), *words]) == code
    printed = capsys.readouterr()
    for words_ in said:
        assert words_ in printed.out + printed.err
    assert ("confirmed" in printed.out) == (len(held) < 2)
    assert main(["confirm", "-c", str(config), "--list", "--json"]) == exits.OK
    found = json.loads(capsys.readouterr().out)
    assert [hold["id"] for hold in found["held"]] == held
    assert found["confirmed"] == []


@pytest.mark.usefixtures("listening")
def test_confirm_where_nothing_is_held_back(
    config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["confirm", "-c", str(config), "--json"]) == exits.OK
    assert json.loads(capsys.readouterr().out)["confirmed"] == ["one", "two"]
    assert main(["confirm", "-c", str(config)]) == exits.OK
    assert capsys.readouterr().out == "nothing is held back\n"


def test_confirm_without_an_agent(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["confirm", "-c", str(config)]) == exits.NOT_RUNNING
    assert capsys.readouterr().err == "felixpy: no agent is running on this node\n"


# ---------------------------------------------------------------- pipes


def test_a_reader_who_has_seen_enough_is_no_error(config: Path) -> None:
    command = f"{sys.executable} -m felixpy config -c {config} | head -n 1; echo ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "0"
    assert done.stderr == ""


# ---------------------------------------------------------------- lists of what was done


def test_what_install_does_as_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    argv = ["install", "--root", str(tmp_path), "--dry-run"]
    assert main(argv) == exits.OK
    lines = capsys.readouterr().out.splitlines()
    assert "would write /etc/felixpy.cfg" in lines
    assert main([*argv, "--json"]) == exits.OK
    assert json.loads(capsys.readouterr().out) == {"done": lines}
