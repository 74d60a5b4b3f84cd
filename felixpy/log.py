"""structlog's set-up: a console that reads well, or a line of JSON for each event.

Severities are Felix's: TRACE, DEBUG, INFO, WARNING, ERROR, FATAL, and "" for none at all.
"""

from __future__ import annotations

import datetime
import logging
import logging.handlers
import os
import sys
from pathlib import Path
from typing import Literal

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

Style = Literal["console", "json"]

LEVELS = {
    "TRACE": logging.DEBUG,
    "DEBUG": logging.DEBUG,
    "INFO": logging.INFO,
    "WARNING": logging.WARNING,
    "ERROR": logging.ERROR,
    "FATAL": logging.CRITICAL,
    "": logging.CRITICAL + 1,
}
_SHARED: list[Processor] = [
    structlog.contextvars.merge_contextvars,
    structlog.stdlib.add_log_level,
    structlog.processors.TimeStamper(fmt=None),
]


def colourful(stream: object = sys.stderr) -> bool:
    """Whether colours are welcome: a terminal, and no NO_COLOR (https://no-color.org)."""
    isatty = getattr(stream, "isatty", lambda: False)
    return bool(isatty()) and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def _local_time(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    """For people: the time of their place, and no more digits than they compare."""
    moment = datetime.datetime.fromtimestamp(event["timestamp"]).astimezone()
    event["timestamp"] = moment.replace(tzinfo=None).isoformat(" ", "milliseconds")
    return event


def _universal_time(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    moment = datetime.datetime.fromtimestamp(event["timestamp"], datetime.UTC)
    text = moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
    event["timestamp"] = text
    return event


def _formatter(style: Style, *, colours: bool) -> logging.Formatter:
    last: list[Processor]
    if style == "json":
        last = [
            structlog.processors.format_exc_info,
            _universal_time,
            structlog.processors.JSONRenderer(default=str),
        ]
    else:
        console = structlog.dev.ConsoleRenderer(
            colors=colours,
            sort_keys=False,
            pad_event_to=24,
            exception_formatter=structlog.dev.plain_traceback,
        )
        last = [_local_time, console]
    return structlog.stdlib.ProcessorFormatter(
        processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *last],
        foreign_pre_chain=_SHARED,
    )


def set_up(
    *,
    style: Style = "console",
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

    Raises OSError when the file cannot be written; nothing has changed then.
    """
    handlers: list[logging.Handler] = []
    console = logging.StreamHandler(sys.stderr)
    console.setFormatter(_formatter(style, colours=colourful(sys.stderr)))
    console.setLevel(LEVELS[screen])
    handlers.append(console)
    if file and file_severity:
        Path(file).parent.mkdir(parents=True, exist_ok=True)
        writer = logging.handlers.WatchedFileHandler(file)
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
    _install(handlers)


def _install(handlers: list[logging.Handler]) -> None:
    # a disk that is full, or a terminal that is gone, later on: the event is lost, and no more
    logging.raiseExceptions = False
    root = logging.getLogger()
    for old in root.handlers[:]:
        root.removeHandler(old)
        old.close()
    for handler in handlers:
        root.addHandler(handler)
    root.setLevel(min(handler.level for handler in handlers))
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
