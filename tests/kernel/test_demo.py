"""The demo as a user has it: what it shows, and that nothing of it stays."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

pytestmark = pytest.mark.kernel

DEMO = [sys.executable, "-m", "felixpy", "demo"]


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    return {**os.environ, "TMPDIR": str(tmp_path), "NO_COLOR": "1"}


@pytest.fixture(autouse=True)
def no_trace(tmp_path: Path) -> Iterator[None]:
    yield
    assert tempfile.gettempdir() != str(tmp_path)
    assert list(tmp_path.iterdir()) == []


def namespaces_of(pid: int) -> list[str]:
    return [p.name for p in Path("/run/netns").glob(f"felixpy-demo-{pid}-*")]


def test_what_it_shows(environment: dict[str, str]) -> None:
    with subprocess.Popen(DEMO, stdout=subprocess.PIPE, text=True, env=environment) as demo:
        text, _ = demo.communicate(timeout=60)
    assert demo.returncode == 0
    assert namespaces_of(demo.pid) == []
    assert "did you mean 'ingress'?" in text
    changes = [re.split(r"  +", line[3:]) for line in text.splitlines() if line.startswith(" * ")]
    assert changes == [
        ["intruder", "db", "tcp/5432", "dropped", "end of tier default"],
        ["intruder", "web", "tcp/80", "dropped", "GlobalNetworkPolicy security.quarantine"],
        ["intruder", "web", "tcp/80", "allowed", "Profile open"],
        ["intruder", "db", "tcp/5432", "allowed", "Profile open"],
    ]


def test_what_it_tells_programs(environment: dict[str, str]) -> None:
    argv = [*DEMO, "--json"]
    done = subprocess.run(argv, capture_output=True, text=True, env=environment, timeout=60)
    assert done.returncode == 0
    acts = json.loads(done.stdout)["acts"]
    assert [len(act["flows"]) for act in acts] == 5 * [6]
    assert acts[1]["flows"][-1] == {
        "source": "intruder",
        "target": "db",
        "port": 5432,
        "open": False,
        "by": "end of tier default",
    }
    assert "did you mean 'ingress'?" in acts[3]["refused"]


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_whatever_ends_it_nothing_stays(environment: dict[str, str], how: signal.Signals) -> None:
    argv = [*DEMO, "--pause", "30"]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True, env=environment) as demo:
        assert demo.stdout is not None
        demo.stdout.readline()
        assert len(namespaces_of(demo.pid)) == 4
        demo.send_signal(how)
        demo.communicate(timeout=30)
    assert demo.returncode == 1
    assert namespaces_of(demo.pid) == []
