"""BIRD's unit: what of it matters to routes and passwords."""

import configparser
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from dataplane.bird.settings import BirdSettings

UNITS = Path(__file__).parents[2] / "systemd"
UNIT = UNITS / "felixpy-bird.service"

SERVICE = [
    ("Restart", "always"),
    ("ExecStop", '-/usr/sbin/birdc -s /run/bird/felixpy.ctl "graceful restart"'),
    ("RuntimeDirectory", "bird"),
    ("RuntimeDirectoryPreserve", "yes"),
    ("LimitCORE", "1"),
    ("NoNewPrivileges", "yes"),
]


def service(path: Path) -> dict[str, str]:
    """A key that is there several times has its last value."""
    parser = configparser.RawConfigParser(strict=False, interpolation=None)
    parser.optionxform = str  # type: ignore[assignment,method-assign]  # keys keep their case
    parser.read_string(path.read_text())
    return dict(parser["Service"])


@pytest.mark.parametrize(("key", "value"), SERVICE, ids=[key for key, _ in SERVICE])
def test_service_says(key: str, value: str) -> None:
    assert service(UNIT)[key] == value


def test_it_runs_what_the_driver_writes() -> None:
    started = service(UNIT)["ExecStart"]
    defaults = BirdSettings()
    commands = re.findall(r"exec /usr/sbin/bird ([^;']*)", started)
    assert [command.split()[0:2] for command in commands] == [["-f", "-R"], ["-f", "-c"]]
    for command in commands:
        assert f"-c {defaults.config_file} -s {defaults.control_socket} -u bird -g bird" in command
    assert str(defaults.config_file) in service(UNIT)["ExecStartPre"]
    assert not set("$%") & set(started)  # systemd's own, and it would replace them


def test_the_agent_may_write_there() -> None:
    agent = service(UNITS / "felixpy.service")
    assert agent["ReadWritePaths"] == f"-{BirdSettings().config_file.parent}"
    assert "CAP_CHOWN" in agent["CapabilityBoundingSet"].split()


def test_systemd_understands_the_unit(tmp_path: Path) -> None:
    analyze = shutil.which("systemd-analyze")
    if analyze is None:
        return
    copy = tmp_path / UNIT.name
    # it also checks that the commands exist
    copy.write_text(UNIT.read_text().replace("/usr/sbin/birdc", "/bin/true"))
    done = subprocess.run([analyze, "verify", copy], capture_output=True, text=True, check=False)
    assert [line for line in done.stderr.splitlines() if UNIT.name in line] == []
