"""Has the kernel rid of the routes that BIRD has forgotten: see dataplane.bird.stale.

out  removed: how many were taken away since the agent was started
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import structlog

from dataplane.bird.control import BirdError
from dataplane.bird.settings import BirdSettings
from dataplane.bird.stale import remove_stale
from dataplane.errors import DataplaneError
from felixpy.bgp.pace import Pace

log = structlog.get_logger(__name__)

SECONDS: Final = 10.0
_REST: Final = 100  # a hundredth of the time at most


class StaleRoutes:
    """`settings` is asked each time."""

    def __init__(self, settings: Callable[[], BirdSettings], clock: Callable[[], float]) -> None:
        self.removed = 0
        self._settings = settings
        self._pace = Pace(clock, SECONDS, _REST)

    def soon(self) -> None:
        """BIRD was given another configuration."""
        self._pace.soon()

    async def run(self) -> None:
        """Endless; to be run once."""
        await self._pace.keep(self._look)

    async def _look(self) -> None:
        try:
            removed = await remove_stale(self._settings())
        except BirdError as error:
            log.debug("bird.not_asked", reason=str(error))
            return
        except DataplaneError as error:
            log.warning("bird.stale_routes_stay", reason=str(error))
            return
        self.removed += len(removed)
        for net, metric in removed:
            log.info("bird.stale_route_removed", net=net, metric=metric)
