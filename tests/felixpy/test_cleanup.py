"""`felixpy cleanup`: what it says of the kernel, and of what BIRD has left behind."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from dataplane.bird.settings import BirdSettings
from dataplane.bird.sweep import Swept
from dataplane.cleanup import Cleaned
from dataplane.settings import Settings
from felixpy import exits
from felixpy.cli import main
from felixpy.commands import cleanup as module
from felixpy.ipsec.life import NAME
from felixpy.rundir import run_directory

HELD = Swept(held="a BIRD listens at /run/b.ctl")
CASES = [
    # what BIRD has left       status         said in the end            on standard error
    (Swept(), exits.OK, "0 tunnels\n", ""),
    (Swept(8, 1), exits.OK, "8 routes of BIRD's, 1 files of its configuration\n", ""),
    (HELD, exits.FAILED, "0 tunnels\n", "a BIRD listens at /run/b.ctl: its routes"),
    (OSError(30, "read-only"), exits.FAILED, "0 tunnels\n", "cannot be removed: [Errno 30]"),
]


@pytest.mark.parametrize(("left", "code", "said", "complaint"), CASES)
@pytest.mark.parametrize("dry_run", [False, True])
def test_what_bird_has_left_behind(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    left: Swept | OSError,
    code: int,
    said: str,
    complaint: str,
    dry_run: bool,
) -> None:
    asked: list[tuple[str, bool]] = []

    async def clean(_: Settings, *, dry_run: bool) -> Cleaned:
        asked.append(("kernel", dry_run))
        return Cleaned(0, 0, 0, 0)

    async def sweep(settings: BirdSettings, *, dry_run: bool) -> Swept:
        asked.append((settings.config_file.name, dry_run))
        if isinstance(left, OSError):
            raise left
        return left

    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(module, "clean", clean)
    monkeypatch.setattr(module, "sweep", sweep)
    config = tmp_path / "felixpy.cfg"
    config.write_text(f"[global]\nRunDir = {tmp_path}\nBirdConfigFile = {tmp_path}/b.conf\n")
    life = run_directory(tmp_path) / NAME
    life.parent.mkdir(exist_ok=True)
    life.touch()
    words = ["cleanup", "-c", str(config), *(["--dry-run"] if dry_run else [])]
    assert main(words) == code
    assert life.exists() == dry_run  # the states that it is of are gone
    found = capsys.readouterr()
    assert found.out.endswith(said)
    assert found.out.startswith("would remove" if dry_run else "removed")
    assert complaint in found.err
    assert asked == [("kernel", dry_run), ("b.conf", dry_run)]
    assert main([*words, "--json"]) == code
    swept = json.loads(capsys.readouterr().out)["bird"]
    assert swept["files"] == (left.files if isinstance(left, Swept) else 0)
