"""Completion scripts for bash, zsh and fish.

    in   the parser of the command line
    out  a script that completes its commands and those of groups, options, choices and file names

The scripts hold all they need: nothing of felixpy is started while somebody types.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable

from felixpy.completions.bash import render_bash
from felixpy.completions.fish import render_fish
from felixpy.completions.words import Command, commands_of
from felixpy.completions.zsh import render_zsh

_RENDERERS: dict[str, Callable[[str, list[Command]], str]] = {
    "bash": render_bash,
    "zsh": render_zsh,
    "fish": render_fish,
}
SHELLS = tuple(_RENDERERS)


def render_completion(parser: argparse.ArgumentParser, shell: str) -> str:
    """The script for "bash", "zsh" or "fish" (anything else is a KeyError)."""
    return _RENDERERS[shell](parser.prog, commands_of(parser))
