"""`felixpy uninstall`: take away what install put there, except configuration."""

from __future__ import annotations

import argparse

from felixpy.console import as_json
from felixpy.install import uninstall


def run(arguments: argparse.Namespace) -> int:
    with as_json("done", wanted=arguments.json):
        return uninstall(root=arguments.root, dry_run=arguments.dry_run)
