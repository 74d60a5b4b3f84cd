"""Completion scripts: bash's is asked, the others are read."""

from __future__ import annotations

import shlex
import subprocess
from pathlib import Path

import pytest

from felixpy.cli import build_parser
from felixpy.completion import SHELLS, render_completion

TYPED = [
    # typed so far            is offered
    ("felixpy st", ["status"]),
    ("felixpy --ver", ["--version"]),
    ("felixpy completion ", ["bash", "fish", "zsh"]),
    ("felixpy completion z", ["zsh"]),
    ("felixpy run --co", ["--config"]),
    ("felixpy run --config felix", ["felixpy.cfg"]),
    ("felixpy check mani", ["manifests"]),
    ("felixpy check ex", ["exposure"]),
    ("felixpy check exposure mani", ["manifests"]),
    ("felixpy install --root mani", ["manifests"]),
    ("felixpy demo --pause ", []),
    ("felixpy etcd ", ["roles"]),
    ("felixpy etcd --no", ["--no-password", "--node"]),
    ("felixpy nonsense ", []),
    ("felixpy status b", ["bgp"]),
    ("felixpy status w", ["wireguard"]),
    ("felixpy doctor ", ["wireguard"]),
    ("felixpy bgp ", ["config", "rbac", "rejected", "upstream"]),
    ("felixpy bgp re", ["rejected"]),
    ("felixpy bgp config --d", ["--diff"]),
    ("felixpy bgp config --config felix", ["felixpy.cfg"]),
    ("felixpy bgp -", ["--help", "-h"]),
    ("felixpy config --d", []),
    ("felixpy bgp nonsense ", []),
]


@pytest.mark.parametrize(("typed", "offered"), TYPED, ids=[typed for typed, _ in TYPED])
def test_bash_offers(tmp_path: Path, typed: str, offered: list[str]) -> None:
    (tmp_path / "felixpy.cfg").touch()
    (tmp_path / "manifests").mkdir()
    words = typed.split(" ")
    script = render_completion(build_parser(), "bash") + (
        f"COMP_WORDS=({shlex.join(words)}) COMP_CWORD={len(words) - 1}\n"
        '_felixpy; [ ${#COMPREPLY[@]} -eq 0 ] || printf "%s\\n" "${COMPREPLY[@]}"\n'
    )
    done = subprocess.run(
        ["bash", "-c", script], cwd=tmp_path, check=True, capture_output=True, text=True
    )
    candidates = done.stdout.split()
    wanted = [each for each in candidates if not each.startswith("-") or words[-1]]
    assert sorted(wanted) == offered


@pytest.mark.parametrize("shell", SHELLS)
def test_every_command_and_option_is_known(shell: str) -> None:
    script = render_completion(build_parser(), shell)
    for word in ("run", "status", "cleanup", "completion", "config", "dry-run", "json"):
        assert word in script
    assert "%(" not in script


def test_quotes_of_the_help_do_not_end_a_word() -> None:
    fish = render_completion(build_parser(), "fish")
    lines = [line for line in fish.splitlines() if line.startswith("complete ")]
    assert all(len(shlex.split(line.replace("\\'", ""))) > 3 for line in lines)


def test_fish_tells_the_same_word_in_two_places_apart() -> None:
    fish = render_completion(build_parser(), "fish")
    assert "-n '__felixpy_after config' -l set " in fish
    assert "-n '__felixpy_after bgp config' -l diff " in fish
    assert "-n '__felixpy_at bgp' -a config " in fish
