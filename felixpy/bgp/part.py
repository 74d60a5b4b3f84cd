"""BGP's place in the pipeline: the runner where BGPEnabled is on, and otherwise what is left of it.

Both are used alike, so that the pipeline need not know which of them it has.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol

from calc_graph.model import Key, Value
from dataplane.bird.outcome import Outcome
from felixpy.bgp.figures import BgpFigures
from felixpy.bgp.off import BgpOff
from felixpy.bgp.report import Details
from felixpy.bgp.runner import BgpRunner
from felixpy.config import Config
from felixpy.status import BgpStatus
from felixpy.statusrep.store import StatusStore


class BgpPart(Protocol):
    """See felixpy.bgp.runner; status, details and figures are None where BGP is switched off."""

    def note(self, key: Key, value: Value | None) -> None: ...

    def in_sync(self) -> None: ...

    def settle(self, config: Config) -> None: ...

    def turn(self, *, in_force: bool) -> None: ...

    @property
    def problems(self) -> dict[str, str]: ...

    @property
    def status(self) -> BgpStatus | None: ...

    def details(self) -> Details | None: ...

    def figures(self) -> BgpFigures | None: ...

    async def close(self) -> None: ...


def open_bgp(
    config: Config,
    environ: Mapping[str, str],
    store: StatusStore,
    tell: Callable[[Outcome], None],
    woken: Callable[[], None],
) -> BgpPart:
    """`store` takes what this node tells of itself; `tell` is called after each outcome, `woken`
    when problems or status may be others.
    """
    if config.bgp_enabled:
        return BgpRunner(config, environ, store, tell, woken)
    return BgpOff(config, woken)
