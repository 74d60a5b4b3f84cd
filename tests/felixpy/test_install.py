"""What install puts where, what it leaves alone, and what uninstall takes away."""

from __future__ import annotations

import compileall
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path, PurePosixPath

import pytest

from felixpy import exits
from felixpy.install import InstallError, Layout, Machine, install, uninstall
from felixpy.placing import Placer

COMMAND = "usr/local/bin/felixpy"
UNIT = "usr/local/lib/systemd/system/felixpy.service"
BIRD_UNIT = "usr/local/lib/systemd/system/felixpy-bird.service"
BASH = "usr/local/share/bash-completion/completions/felixpy"
CONFIG = "etc/felixpy.cfg"
EXAMPLE = "etc/felixpy/manifests/example.yaml"
PLACED = (COMMAND, UNIT, BIRD_UNIT, BASH, CONFIG, EXAMPLE)


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A machine's / with felixpy in it; only looked at."""
    root = tmp_path_factory.mktemp("installed")
    assert install(root=root) == exits.OK
    return root


@pytest.fixture(autouse=True)
def uncompiled(monkeypatch: pytest.MonkeyPatch) -> None:
    """Compiling all packages takes most of an installation's time; `installed` does it once."""
    monkeypatch.setattr(compileall, "compile_dir", lambda *_, **__: True)


def text_of(root: Path) -> dict[str, str]:
    """Every file but those of the library."""
    return {
        str(path.relative_to(root)): path.read_text()
        for path in root.rglob("*")
        if path.is_file() and "lib/felixpy" not in str(path) and not path.is_symlink()
    }


def test_everything_is_in_its_place(installed: Path) -> None:
    for name in PLACED:
        assert (installed / name).is_symlink() or (installed / name).is_file()
    assert (installed / COMMAND).resolve() == installed / "usr/local/lib/felixpy/bin/felixpy"
    example = "usr/local/lib/felixpy/share/felixpy/etc/felixpy-hardened.cfg"
    assert "FabricSpoofProtection = Drop" in (installed / example).read_text()
    assert not (installed / "etc/felixpy-hardened.cfg").exists()


def test_it_runs_without_the_checkout(installed: Path) -> None:
    """With the installed packages alone: -I leaves out the working directory and PYTHONPATH."""
    script = "import felixpy.cli, sys; print(felixpy.__file__); print(*sys.path, sep='\\n')"
    python = installed / "usr/local/lib/felixpy/bin/python"
    done = subprocess.run(
        [python, "-I", "-c", script], cwd="/", check=True, capture_output=True, text=True
    )
    package, *path = done.stdout.splitlines()
    assert package.startswith(str(installed))
    assert [each for each in path if each.endswith("site-packages")] == [
        str(Path(package).parents[1])
    ]


def test_development_packages_stay_behind(installed: Path) -> None:
    packages = next(installed.glob("usr/local/lib/felixpy/lib/*/site-packages"))
    names = {path.name for path in packages.iterdir()}
    assert {"felixpy", "dataplane", "calc_graph", "msgspec", "structlog"} <= names
    assert not {"pytest", "_pytest", "mypy", "ruff", "hypothesis"} & names


def test_a_second_time_changes_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    install(root=tmp_path)
    before = text_of(tmp_path)
    capsys.readouterr()
    assert install(root=tmp_path) == exits.OK
    assert capsys.readouterr().out == "kept /etc/felixpy.cfg\n"
    assert text_of(tmp_path) == before


def test_dry_run_only_tells(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert install(root=tmp_path, dry_run=True) == exits.OK
    lines = capsys.readouterr().out.splitlines()
    assert list(tmp_path.iterdir()) == []
    assert all(line.startswith("would ") for line in lines)
    assert {f"/{name}" for name in PLACED} <= {line.split()[2] for line in lines}


def test_configuration_is_the_users(tmp_path: Path) -> None:
    (tmp_path / EXAMPLE).parent.mkdir(parents=True)
    (tmp_path / CONFIG).write_text("[global]\nIpv6Support = false\n")
    install(root=tmp_path)
    assert (tmp_path / CONFIG).read_text() == "[global]\nIpv6Support = false\n"
    assert not (tmp_path / EXAMPLE).exists()  # the directory was there: its content is the user's
    uninstall(root=tmp_path)
    assert set(text_of(tmp_path)) == {CONFIG}


def test_uninstall_takes_away_what_install_put_there(tmp_path: Path) -> None:
    (tmp_path / "usr/local/bin").mkdir(parents=True)
    (tmp_path / "usr/local/bin/other").write_text("not ours")
    install(root=tmp_path)
    assert uninstall(root=tmp_path) == exits.OK
    assert set(text_of(tmp_path)) == {"usr/local/bin/other", CONFIG, EXAMPLE}
    assert not (tmp_path / "usr/local/lib/felixpy").exists()
    assert uninstall(root=tmp_path) == exits.OK


def test_what_was_changed_by_hand_is_kept(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / COMMAND).parent.mkdir(parents=True)
    (tmp_path / COMMAND).write_text("somebody else's")
    install(root=tmp_path)
    (tmp_path / UNIT).write_text("edited")
    capsys.readouterr()
    install(root=tmp_path)
    out = capsys.readouterr().out
    assert f"kept /{UNIT}: it was changed by hand" in out
    assert f"kept /{COMMAND}: it was changed by hand" in out
    uninstall(root=tmp_path)
    assert text_of(tmp_path).items() >= {COMMAND: "somebody else's", UNIT: "edited"}.items()


def test_an_older_version_of_ours_is_replaced(tmp_path: Path) -> None:
    """What the record knows is ours, however it differs from what is written now."""
    path = PurePosixPath("/etc/unit")
    first = Placer(tmp_path, {}, print, dry_run=False)
    first.place(path, "old")
    second = Placer(tmp_path, first.record, print, dry_run=False)
    second.place(path, "new")
    assert (tmp_path / "etc/unit").read_text() == "new"


def test_prefix_reaches_the_unit_and_the_command(tmp_path: Path) -> None:
    install(root=tmp_path, prefix=PurePosixPath("/opt/net"))
    unit = (tmp_path / "opt/net/lib/systemd/system/felixpy.service").read_text()
    assert "ExecStart=/opt/net/bin/felixpy run --config /etc/felixpy.cfg\n" in unit
    command = (tmp_path / "opt/net/bin/felixpy").read_text()
    assert command.startswith("#!/opt/net/lib/felixpy/bin/python -I\n")


# ---------------------------------------------------------------- the live machine


def refuse(words: Sequence[str]) -> None:
    raise InstallError(f"systemctl {' '.join(words)}: refused")


@pytest.fixture
def live(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """`tmp_path` stands for the / of the machine that this runs on."""
    monkeypatch.setattr(Layout, "is_live", True)
    return tmp_path


MACHINES = [
    # case                  systemd  now    status         systemctl
    ("nothing is started", True, False, exits.OK, ["daemon-reload"]),
    ("started", True, True, exits.OK, ["daemon-reload", "enable --now felixpy.service"]),
    ("no systemd", False, False, exits.OK, []),
    ("no systemd to start it", False, True, exits.FAILED, []),
]


@pytest.mark.parametrize(
    ("has_systemd", "now", "status", "calls"),
    [case[1:] for case in MACHINES],
    ids=[case[0] for case in MACHINES],
)
def test_service(
    live: Path,
    capsys: pytest.CaptureFixture[str],
    has_systemd: bool,
    now: bool,
    status: int,
    calls: list[str],
) -> None:
    called: list[str] = []
    machine = Machine(True, has_systemd, lambda words: called.append(" ".join(words)))
    assert install(root=live, now=now, machine=machine) == status
    assert called == calls
    assert ("systemd does not run this machine" in capsys.readouterr().out) == (not has_systemd)
    assert (live / UNIT).exists()
    uninstall(root=live, machine=machine)
    gone = ["felixpy.service", "felixpy-bird.service"]
    ended = [*(f"disable --now {name}" for name in gone), "daemon-reload"] if has_systemd else []
    assert called == [*calls, *ended]


@pytest.mark.parametrize("act", [install, uninstall])
def test_the_live_machine_needs_root(
    live: Path, capsys: pytest.CaptureFixture[str], act: Callable[..., int]
) -> None:
    assert act(root=live, machine=Machine(False, True, refuse)) == exits.FAILED
    assert "needs root" in capsys.readouterr().err
    assert list(live.iterdir()) == []


def test_a_systemctl_that_fails_is_an_error(live: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert install(root=live, machine=Machine(True, True, refuse)) == exits.FAILED
    assert capsys.readouterr().err == "felixpy: systemctl daemon-reload: refused\n"
