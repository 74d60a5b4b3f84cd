"""`felixpy run`: the agent, in the foreground."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import gc
import os
import sys
from importlib.metadata import version
from pathlib import Path
from types import TracebackType

import structlog

from felixpy import core_dumps, exits
from felixpy.agent import Agent
from felixpy.config import ConfigError
from felixpy.console import say
from felixpy.datastore.source import DatastoreStartError
from felixpy.live_config import LiveConfig
from felixpy.rundir import AlreadyRunningError, Lock, run_directory
from felixpy.services import set_up_logs
from felixpy.tasks import TaskEndedError

log = structlog.get_logger(__name__)

GARBAGE_THRESHOLD = 10_000  # objects; Python's own is 700


def run(arguments: argparse.Namespace) -> int:
    os.umask(0o027)
    core_dumps.forbid()
    try:
        live = LiveConfig(arguments.config, os.environ)
    except ConfigError as error:
        return refuse(error)
    set_up_logs(live.config)
    sys.excepthook = _log_crash
    log.info("agent.starting", version=version("felixpy"), node=live.config.felix_hostname)
    live.say_problems()
    with contextlib.ExitStack() as stack:
        try:
            lock = stack.enter_context(Lock(run_directory(Path(live.config.run_dir))))
        except (AlreadyRunningError, OSError) as error:
            advice = "; run it as root" if isinstance(error, PermissionError) else ""
            say(f"felixpy: {error}{advice}", sys.stderr)
            return exits.FAILED
        return _serve(live, lock.directory)


def _serve(live: LiveConfig, directory: Path) -> int:
    spare_the_collector()
    try:
        asyncio.run(_agent(live, directory))
    except (ConfigError, DatastoreStartError) as error:
        return refuse(error)
    except TaskEndedError as error:
        log.critical("agent.ended", reason=str(error))
        return exits.FAILED
    return exits.OK


def spare_the_collector() -> None:
    """Let the garbage collector look less often, and not at what was imported.

    Reading a cluster makes hundreds of thousands of objects that stay, and hardly any cycles: with
    50,000 endpoints the looks in vain are a seventh of the start (`tests/bench/memory.py`).
    """
    gc.freeze()
    gc.set_threshold(GARBAGE_THRESHOLD)


async def _agent(live: LiveConfig, directory: Path) -> None:
    await Agent(live, directory).run()


def _log_crash(
    kind: type[BaseException], error: BaseException, traceback: TracebackType | None
) -> None:
    """What nobody has foreseen ends the process, with status 1, and is said where the log goes."""
    log.critical("agent.crashed", rules="stay in force", exc_info=(kind, error, traceback))


def refuse(error: ConfigError | DatastoreStartError) -> int:
    """Say everything that is wrong, a line each, for a person to mend."""
    for line in str(error).splitlines():
        say(f"felixpy: {line}", sys.stderr)
    say("felixpy: not started; the kernel is as it was", sys.stderr)
    return exits.REFUSED
