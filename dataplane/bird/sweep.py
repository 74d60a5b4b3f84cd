"""What BIRD has left behind when BGP is no longer wanted: its routes in the kernel, and our files.

BIRD leaves its routes in the kernel when it ends (`persist`), so somebody has to take them away
once it does not come back.  All BIRDs mark their routes alike, Calico's own included, and a machine
may run one that is none of ours: so nothing is touched without a configuration that we have
written, nor while a daemon listens at our socket or at one of those that others use.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from msgspec import Struct

from dataplane.bird.control import BirdAway, BirdError, ask
from dataplane.bird.files import ConfigFiles
from dataplane.bird.kernel_routes import bird_routes, delete_bird_routes
from dataplane.bird.settings import BirdSettings
from dataplane.families import Family
from dataplane.netlink import ROUTE, NetlinkError, Socket
from dataplane.rtnetlink import FAMILIES

# What the first line of a file of ours begins with.
OURS: Final = "# Written by felixpy"
# Debian's own, and those of Calico's node container.
OTHER_SOCKETS: Final = (
    Path("/run/bird/bird.ctl"),
    Path("/run/calico/bird.ctl"),
    Path("/run/calico/bird6.ctl"),
)
_ROUNDS: Final = 3  # of several routes to one IPv6 destination a round may take one only
_SECONDS: Final = 2.0


class Swept(Struct, frozen=True):
    """What was there, in figures; `held` says why nothing of it was touched."""

    routes: int = 0
    files: int = 0
    held: str = ""


async def sweep(
    settings: BirdSettings,
    *,
    dry_run: bool = False,
    other_sockets: tuple[Path, ...] = OTHER_SOCKETS,
) -> Swept:
    """Remove BIRD's routes in the main table, then our files; with a dry run only count.

    Raises NetlinkError, or OSError for a file that stays.
    """
    files = ConfigFiles(settings)
    if not files.written_by_us(OURS):
        return Swept()  # no BIRD ran for us
    for socket in (settings.control_socket, *other_sockets):
        if await _listens(socket):
            return Swept(held=f"a BIRD listens at {socket}")
    kernel = Socket(ROUTE)
    try:
        routes = sum([await _remove(kernel, family, dry_run=dry_run) for family in FAMILIES])
    finally:
        kernel.close()
    found = files.ours
    if not dry_run:
        for path in found:
            path.unlink(missing_ok=True)
    return Swept(routes, len(found))


async def _listens(socket: Path) -> bool:
    """One that hangs, or answers what is not understood, listens too."""
    try:
        await ask(socket, "show status", _SECONDS)
    except BirdAway as error:
        return not error.absent
    except BirdError:
        return True
    return True


async def _remove(kernel: Socket, family: Family, *, dry_run: bool) -> int:
    found = await bird_routes(kernel, family)
    left = found
    for _ in range(_ROUNDS):
        if dry_run or not left:
            break
        await delete_bird_routes(kernel, family, left)
        left = await bird_routes(kernel, family)
    if left and not dry_run:
        raise NetlinkError("removing routes of BIRD's", 0, f"{len(left)} of {len(found)} stay")
    return len(found)
