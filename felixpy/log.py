"""structlog's set-up: a console that reads well, or a line of JSON for each event.

Severities are Felix's: TRACE, DEBUG, INFO, WARNING, ERROR, FATAL, and "" for none at all.
"""

from __future__ import annotations

import logging
import logging.handlers
import os
import sys
from pathlib import Path
from typing import Literal

import structlog

LEVELS = {
    "TRACE": logging.DEBUG,
    "DEBUG": logging.DEBUG,
    "INFO": logging.INFO,
    "WARNING": logging.WARNING,
    "ERROR": logging.ERROR,
    "FATAL": logging.CRITICAL,
    "": logging.CRITICAL + 1,
}
_SHARED: list[structlog.typing.Processor] = [
    structlog.contextvars.merge_contextvars,
    structlog.stdlib.add_log_level,
    structlog.processors.TimeStamper(fmt="iso", utc=False),
]


def is_terminal() -> bool:
    return sys.stderr.isatty()


def colourful(stream: object = sys.stderr) -> bool:
    """Whether colours are welcome: a terminal, and no NO_COLOR (https://no-color.org)."""
    isatty = getattr(stream, "isatty", lambda: False)
    return bool(isatty()) and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def _formatter(style: Literal["console", "json"], *, colours: bool) -> logging.Formatter:
    last: structlog.typing.Processor
    if style == "json":
        last = structlog.processors.JSONRenderer()
    else:
        last = structlog.dev.ConsoleRenderer(colors=colours, pad_event_to=28)
    return structlog.stdlib.ProcessorFormatter(
        processors=[
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            structlog.processors.format_exc_info,
            last,
        ],
        foreign_pre_chain=_SHARED,
    )


def set_up(
    *,
    style: Literal["console", "json"],
    screen: str,
    file: str = "",
    file_severity: str = "",
    syslog: str = "",
) -> None:
    """Replace the whole set-up; may be called again when a severity changes.

    Args:
        style: how an event is written on the screen and to the file
        screen: severity from which events go to standard error
        file: path of a log file, "" for none; it is made with mode 0640
        file_severity: severity from which events go there
        syslog: severity from which events go to /dev/log, where there is one and no journal reads
        standard error
    """
    handlers: list[logging.Handler] = []
    console = logging.StreamHandler(sys.stderr)
    console.setFormatter(_formatter(style, colours=colourful()))
    console.setLevel(LEVELS[screen])
    handlers.append(console)
    if file and file_severity:
        Path(file).parent.mkdir(parents=True, exist_ok=True)
        writer = logging.handlers.WatchedFileHandler(file, delay=True)
        writer.setFormatter(_formatter(style, colours=False))
        writer.setLevel(LEVELS[file_severity])
        handlers.append(writer)
    if syslog and Path("/dev/log").exists() and "JOURNAL_STREAM" not in os.environ:
        system = logging.handlers.SysLogHandler(
            "/dev/log", logging.handlers.SysLogHandler.LOG_DAEMON
        )
        system.ident = "felixpy: "
        system.setFormatter(_formatter(style, colours=False))
        system.setLevel(LEVELS[syslog])
        handlers.append(system)
    root = logging.getLogger()
    for old in root.handlers[:]:
        root.removeHandler(old)
        old.close()
    for handler in handlers:
        root.addHandler(handler)
    root.setLevel(min(handler.level for handler in handlers))
    logging.getLogger("pyroute2").setLevel(logging.WARNING)
    logging.getLogger("asyncio").setLevel(logging.WARNING)
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *_SHARED,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=False,
    )
