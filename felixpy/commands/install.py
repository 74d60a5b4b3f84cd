"""`felixpy install`: unit, configuration and command where Debian expects them."""

from __future__ import annotations

import argparse

from felixpy.console import as_json
from felixpy.install import install


def run(arguments: argparse.Namespace) -> int:
    with as_json("done", wanted=arguments.json):
        return install(root=arguments.root, dry_run=arguments.dry_run, now=arguments.now)
