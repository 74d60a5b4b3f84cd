"""`felixpy completion`: a completion script for a shell."""

from __future__ import annotations

import argparse
import sys

from felixpy import exits
from felixpy.cli import build_parser
from felixpy.completion import render_completion


def run(arguments: argparse.Namespace) -> int:
    sys.stdout.write(render_completion(build_parser(), arguments.shell))
    return exits.OK
