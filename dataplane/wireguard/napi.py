"""Threads for a device's packets: `WireguardThreadingEnabled`, /sys/class/net/NAME/threaded.

The kernel refuses it for a device without peers with EIO (Linux 6.1), as only peers have queues.
"""

from __future__ import annotations

import os
from pathlib import Path

DEVICES = Path("/sys/class/net")


def set_threading(name: str, *, on: bool) -> str:
    """Write what differs; returns why that was not possible, "" if it is as it should be."""
    path = DEVICES / name / "threaded"
    wanted = "1" if on else "0"
    try:
        if path.read_text().strip() != wanted:
            path.write_text(wanted)
    except FileNotFoundError:
        return "this kernel has no threads for it" if on else ""
    except OSError as error:
        return os.strerror(error.errno or 0)
    return ""
