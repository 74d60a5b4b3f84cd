"""`felixpy uninstall`: take away what install put there, except configuration."""

from __future__ import annotations

import argparse

from felixpy.install import uninstall


def run(arguments: argparse.Namespace) -> int:
    return uninstall(root=arguments.root, dry_run=arguments.dry_run)
