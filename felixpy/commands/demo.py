"""`felixpy demo`: a policy at work, in network namespaces of its own."""

from __future__ import annotations

import argparse
import os
import sys

from felixpy import exits
from felixpy.console import say


def run(arguments: argparse.Namespace) -> int:
    if os.geteuid():
        say("felixpy: the demo makes network namespaces; run it as root", sys.stderr)
        return exits.FAILED
    from felixpy.demo import show

    try:
        show.run(arguments.pause)
    except show.DemoError as error:
        say(f"felixpy: {error}", sys.stderr)
        return exits.FAILED
    return exits.OK
