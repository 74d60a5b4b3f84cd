"""What metrics say of the dataplane: asked of it, and of the kernel, by the thread that wants to
know.
"""

from __future__ import annotations

import asyncio

import structlog
from msgspec import structs

from dataplane.dataplane import Dataplane
from dataplane.dropped import Dropped
from dataplane.errors import DataplaneError
from felixpy.metrics import Figures

log = structlog.get_logger(__name__)


def with_dataplane(figures: Figures, dataplane: Dataplane) -> Figures:
    """With what is in force; to be asked by another thread than the event loop's."""
    summary = dataplane.summary()
    return structs.replace(
        figures,
        endpoints=summary.workload_endpoints + summary.host_endpoints,
        policies=summary.policies,
        selectors=summary.ipsets,
        ipsets=dataplane.ipsets(),
        tables=dataplane.tables(),
        dropped=_dropped(dataplane),
    )


def _dropped(dataplane: Dataplane) -> Dropped:
    """Asked of the kernel in a loop of the asking thread's own, so that ours need not wait."""
    try:
        return asyncio.run(dataplane.dropped())
    except DataplaneError as error:
        log.warning("counters.not_read", reason=str(error))
        return Dropped()
