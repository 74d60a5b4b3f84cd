"""The clock, which WireGuard's handshakes are dated by.

A peer refuses a first message that is not younger than the last one it has had with the same key.
So a clock that was set back shuts a node out until the time from before has come again; with a new
key it begins anew.  Source: WireGuard, section 5.1 (TAI64N).
"""

from __future__ import annotations

import ctypes
import os
import time
from pathlib import Path
from typing import Final

from felixpy.wireguard.finding import Finding

_TIMEX_BYTES: Final = 512  # struct timex has 208; all 0 asks and sets nothing
_TIME_ERROR: Final = 5  # linux/timex.h: not synchronised
_TOLERANCE: Final = 1.0  # seconds


def check_clock(directory: Path) -> list[Finding]:
    """`directory` is that of felixpy.rundir: its files are dated by the runs before this one."""
    return [_set_back(directory, time.time()), _synchronised()]


def _set_back(directory: Path, now: float) -> Finding:
    last = last_written(directory)
    if last > now + _TOLERANCE:
        text = f"the clock was set back: the agent has written at a time {last - now:.0f} s ahead"
        advice = "peers refuse handshakes until then, unless the key is new; set the clock right"
        return Finding("clock", "warn", text, advice=advice)
    return Finding("clock", "ok", "not set back since the agent has last written")


def last_written(directory: Path) -> float:
    """UNIX time; 0.0: never."""
    try:
        with os.scandir(directory) as entries:
            return max(
                (e.stat(follow_symlinks=False).st_mtime for e in entries if e.is_file()),
                default=0.0,
            )
    except OSError:
        return 0.0


def _synchronised() -> Finding:
    libc = ctypes.CDLL(None, use_errno=True)
    state = libc.adjtimex(ctypes.create_string_buffer(_TIMEX_BYTES))
    if state == _TIME_ERROR:
        text = "nothing keeps the clock right (adjtimex)"
        return Finding("NTP", "warn", text, advice="run an NTP client, such as chrony")
    if state < 0:
        text = f"unknown: {os.strerror(ctypes.get_errno())}"
        return Finding("NTP", "warn", text)
    return Finding("NTP", "ok", "the clock is synchronised")
