"""Signals of the demo: whatever ends it, it tidies up, and the tidying is not interrupted."""

from __future__ import annotations

import signal

from felixpy import exits

_ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def end_tidily() -> None:
    """From now on a signal that ends the demo does so by an exception."""
    for name in _ENDING:
        signal.signal(name, _leave)


def _leave(_signal: int, _frame: object) -> None:
    undisturbed()
    raise SystemExit(exits.FAILED)


def undisturbed(*_: object) -> None:
    """From now on no such signal does anything; as the exit of a context it hides no exception."""
    for name in _ENDING:
        signal.signal(name, signal.SIG_IGN)
