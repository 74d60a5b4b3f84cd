"""A dataplane for this machine: which iptables there is, and one driver for each kind of object."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import structlog
from msgspec import structs

from dataplane.dataplane import Dataplane
from dataplane.drivers.iptables.detect import Backend, describe, detect
from dataplane.drivers.iptables.driver import IptablesDriver
from dataplane.drivers.iptables.monitor import NftMonitor
from dataplane.errors import DataplaneError
from dataplane.families import Family
from dataplane.interfaces import InterfaceMonitor
from dataplane.runner import Runner
from dataplane.settings import Settings

log = structlog.get_logger(__name__)

IPV6 = Path("/proc/sys/net/ipv6")


async def build_dataplane(settings: Settings, wake: Callable[[], None]) -> Dataplane:
    """Make it and list the interfaces; nothing is written yet.

    `wake` is called whenever an apply or a check may have something to do.  Raises DataplaneError
    where a program is missing or the kernel does not answer.
    """
    runner = Runner()
    if settings.ipv6 and not IPV6.is_dir():
        # Nothing of that family gets in or out, so there is nothing to guard.
        log.warning("ipv6.absent", because="this kernel runs without IPv6", ipv6="left alone")
        settings = structs.replace(settings, ipv6=False)
    backends = await choose_backends(settings, runner)
    random_fully = all(backend.random_fully for backend in backends.values())
    settings = structs.replace(
        settings, render=structs.replace(settings.render, random_fully=random_fully)
    )
    nft = any(backend.kind == "nft" for backend in backends.values())
    notices = NftMonitor() if nft else None
    tables = {
        family: IptablesDriver(family, settings, backend, runner, monitor=notices, wake=wake)
        for family, backend in backends.items()
    }
    monitor = InterfaceMonitor(settings)
    dataplane = Dataplane(settings, tables, monitor, wake)
    try:
        await dataplane.start()
    except DataplaneError:
        await dataplane.close()
        raise
    return dataplane


async def choose_backends(settings: Settings, runner: Runner) -> dict[Family, Backend]:
    """One kind for both families: that of IPv4, because the rules of others count there."""
    first = await detect(settings.iptables_backend, 4, runner)
    log.info(
        "iptables.chosen",
        backend=first.kind,
        command=first.command,
        version=".".join(map(str, first.version)),
        because=first.reason,
    )
    backends: dict[Family, Backend] = {4: first}
    if settings.ipv6:
        backends[6] = await describe(first.kind, 6, runner)
    return backends
