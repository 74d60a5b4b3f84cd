"""`felixpy demo`: a policy at work, in network namespaces of its own."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys

from felixpy import exits
from felixpy.console import say
from felixpy.demo import agent, show, signals
from felixpy.demo.tell import ToPeople, ToPrograms


def run(arguments: argparse.Namespace) -> int:
    if os.geteuid():
        say("felixpy: the demo makes network namespaces; run it as root", sys.stderr)
        return exits.FAILED
    signals.end_tidily()
    try:
        show.run(arguments.pause, ToPrograms() if arguments.json else ToPeople())
    except BrokenPipeError:
        raise  # the command line knows what to do
    except (agent.DemoError, OSError) as error:
        say(f"felixpy: {error}", sys.stderr)
        return exits.FAILED
    except subprocess.CalledProcessError as error:
        say(f"felixpy: {error} {error.stderr.strip()}", sys.stderr)
        return exits.FAILED
    return exits.OK
