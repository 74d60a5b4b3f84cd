"""What surrounds the program says one thing everywhere: unit, container, wheel, requirements."""

from __future__ import annotations

import ast
import configparser
import importlib.metadata
import json
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest
import yaml

from felixpy.bundle import OWN_PACKAGES

TOP = Path(__file__).resolve().parents[2]
START = ["/usr/local/bin/felixpy", "run", "--config", "/etc/felixpy.cfg"]
PROJECT = tomllib.loads((TOP / "pyproject.toml").read_text())
UNIT = TOP / "systemd" / "felixpy.service"
REQUIREMENTS = ("requirements.txt", "requirements-dev.txt")


def normalized(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def pinned(name: str) -> dict[str, str]:
    """Package -> the line that pins it, with its hashes."""
    text = (TOP / name).read_text().replace("\\\n", " ")
    lines = [line for line in text.splitlines() if line and not line.lstrip().startswith("#")]
    return {normalized(line.split("==")[0]): line for line in lines}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    """Built from a copy, so that nothing is left in the checkout."""
    source, built = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("built")
    for name in (*OWN_PACKAGES, "etc", "systemd"):
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(TOP / name, source / name, ignore=ignored)
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(TOP / name, source / name)
    pip = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-index"]
    options = ["--no-build-isolation", "--wheel-dir", str(built), str(source)]
    done = subprocess.run([*pip, *options], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return zipfile.ZipFile(next(built.glob("felixpy-*.whl")))


def test_wheel_holds_every_module(wheel: zipfile.ZipFile) -> None:
    modules = {
        str(path.relative_to(TOP))
        for package in OWN_PACKAGES
        for path in (TOP / package).rglob("*.py")
    }
    assert modules <= set(wheel.namelist())
    assert not [name for name in wheel.namelist() if name.startswith("tests/")]


def test_wheel_holds_what_install_needs(wheel: zipfile.ZipFile) -> None:
    share = f"felixpy-{PROJECT['project']['version']}.data/data/share/felixpy/"
    configurations = ("etc/felixpy.cfg", "etc/felixpy-hardened.cfg")
    for name in (*configurations, "etc/manifests/example.yaml", "systemd/felixpy.service"):
        assert share + name in wheel.namelist()


def test_wheel_has_the_command_and_the_licence(wheel: zipfile.ZipFile) -> None:
    information = f"felixpy-{PROJECT['project']['version']}.dist-info/"
    assert (
        "felixpy = felixpy.__main__:main" in wheel.read(f"{information}entry_points.txt").decode()
    )
    assert f"{information}licenses/LICENSE" in wheel.namelist()


@pytest.mark.parametrize("name", REQUIREMENTS)
def test_requirements_are_pinned_with_hashes(name: str) -> None:
    for line in pinned(name).values():
        assert re.fullmatch(r"\S+==\S+(\s*;.*?)?(\s+--hash=sha256:[0-9a-f]{64})+\s*", line), line


@pytest.mark.parametrize("name", REQUIREMENTS)
def test_requirements_tell_nothing_of_a_machine(name: str) -> None:
    assert not re.search(r"://|--index|--find-links|--trusted|/\w+/", (TOP / name).read_text())


@pytest.mark.parametrize("name", REQUIREMENTS)
def test_requirements_are_those_of_the_project(name: str) -> None:
    """A dependency that was added without `scripts/refresh-requirements` shows here."""
    wanted = [*PROJECT["project"]["dependencies"], *PROJECT["build-system"]["requires"]]
    if name == "requirements-dev.txt":
        wanted += PROJECT["project"]["optional-dependencies"]["dev"]
    names = {normalized(re.split(r"[<>=!~\[; ]", each)[0]) for each in wanted}
    assert names <= set(pinned(name))


def imported() -> set[str]:
    """Top-level packages of others that the program imports, wherever in a module it does."""
    found = set()
    for package in OWN_PACKAGES:
        for path in (TOP / package).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_bytes())):
                if isinstance(node, ast.Import):
                    found |= {alias.name.partition(".")[0] for alias in node.names}
                elif isinstance(node, ast.ImportFrom) and not node.level:
                    found.add(str(node.module).partition(".")[0])
    return found - sys.stdlib_module_names - set(OWN_PACKAGES)


def test_everything_that_is_imported_is_installed() -> None:
    installed = set(pinned("requirements.txt"))
    providers = importlib.metadata.packages_distributions()
    missing = [
        name
        for name in sorted(imported())
        if installed.isdisjoint(map(normalized, providers.get(name, (name,))))
    ]
    assert missing == []


def test_both_requirements_agree() -> None:
    run, development = (pinned(name) for name in REQUIREMENTS)
    assert {name: development.get(name) for name in run} == run


def unit() -> configparser.RawConfigParser:
    parser = configparser.RawConfigParser(strict=True, interpolation=None)
    parser.optionxform = str  # type: ignore[assignment,method-assign]  # keys keep their case
    parser.read_string(UNIT.read_text())
    return parser


def test_service_and_container_start_the_same_command() -> None:
    assert unit()["Service"]["ExecStart"].split() == START
    entrypoints = re.findall(
        r"^ENTRYPOINT (.*)$", (TOP / "Containerfile").read_text(), re.MULTILINE
    )
    assert [json.loads(each) for each in entrypoints] == [START]


SERVICE = [
    ("Type", "notify"),
    ("Restart", "on-failure"),
    ("ExecReload", "/bin/kill -HUP $MAINPID"),
    ("KillMode", "mixed"),
    ("RuntimeDirectory", "felixpy"),
    ("RuntimeDirectoryPreserve", "yes"),
    ("LimitCORE", "0"),
    ("NoNewPrivileges", "yes"),
]


@pytest.mark.parametrize(("key", "value"), SERVICE, ids=[key for key, _ in SERVICE])
def test_service_says(key: str, value: str) -> None:
    assert unit()["Service"][key] == value


def test_stopping_the_service_leaves_the_rules() -> None:
    assert not {"ExecStop", "ExecStopPost"} & set(unit()["Service"])


def test_systemd_understands_the_unit(tmp_path: Path) -> None:
    """systemd-analyze is part of Debian's base system; where it is not, the keys above remain."""
    analyze = shutil.which("systemd-analyze")
    if analyze is None:
        return
    copy = tmp_path / UNIT.name
    # it also checks that the command exists
    copy.write_text(UNIT.read_text().replace(START[0], "/bin/true"))
    done = subprocess.run([analyze, "verify", copy], capture_output=True, text=True, check=False)
    # it names other units of this machine too
    assert [line for line in done.stderr.splitlines() if UNIT.name in line] == []


def test_the_example_manifest_changes_nothing() -> None:
    for path in (TOP / "etc" / "manifests").iterdir():
        assert [each for each in yaml.safe_load_all(path.read_text()) if each is not None] == []


def test_the_example_is_valid_once_its_comment_signs_are_gone() -> None:
    """Everything behind "# " from the first resource on, prose aside."""
    text = (TOP / "etc" / "manifests" / "example.yaml").read_text()
    lines = [line.removeprefix("#").removeprefix(" ") for line in text.splitlines()]
    resources = re.split(r"^(?=apiVersion:)", "\n".join(lines), flags=re.MULTILINE)[1:]
    kinds = [yaml.safe_load(each.split("\n---")[0])["kind"] for each in resources]
    assert kinds == ["WorkloadEndpoint", "Profile", "NetworkPolicy"]


def test_the_container_gets_what_its_build_copies() -> None:
    """.containerignore lets in nothing but what it names."""
    admitted = {
        line[1:]
        for line in (TOP / ".containerignore").read_text().splitlines()
        if line.startswith("!")
    }
    copied = re.findall(
        r"^COPY (?!--from)(\S+) ", (TOP / "Containerfile").read_text(), re.MULTILINE
    )
    wanted = {name.split("/")[0] for name in copied} - {"."}
    assert wanted | set(OWN_PACKAGES) | {"pyproject.toml", "README.md", "LICENSE"} <= admitted
