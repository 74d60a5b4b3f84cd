"""How IPsec is at the moment, for metrics: asked of the kernel when somebody asks for them, in that
thread, so that the agent's loop need not wait.

    in   what the agent knew last, with its peers' stages
    out  the same with what states and counters say now
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping

import structlog
from msgspec import Struct, structs

from dataplane.errors import DataplaneError
from dataplane.ipsec.kernel import KernelState, open_xfrm
from dataplane.ipsec.status import IpsecStatus, StateStatus
from dataplane.ipsec.values import StateId

log = structlog.get_logger(__name__)


class IpsecFigures(Struct, frozen=True):
    """`ages`: key ID -> seconds since it was first seen; `errors`: the kernel's counters."""

    status: IpsecStatus
    ages: Mapping[int, float] = {}
    key_file_errors: int = 0
    rotations: int = 0
    errors: Mapping[str, int] = {}


def with_counters(known: IpsecStatus, reqid: int) -> IpsecStatus:
    """What cannot be asked is as it was known last."""
    if not known.states:
        return known
    try:
        found = asyncio.run(_read(known, reqid))
    except DataplaneError as error:
        log.warning("ipsec.not_read", reason=str(error))
        return known
    return structs.replace(known, states=tuple(_renewed(known.states, found)))


async def _read(known: IpsecStatus, reqid: int) -> list[KernelState]:
    kernel = open_xfrm(reqid)
    try:
        families = dict.fromkeys(state.family for state in known.states)
        return [state for family in families for state in await kernel.read_states(family)]
    finally:
        kernel.close()


def _renewed(states: Iterable[StateStatus], found: Iterable[KernelState]) -> Iterable[StateStatus]:
    by_id = {state.id: state for state in found}
    for state in states:
        now = by_id.get(StateId(state.destination, state.spi))
        yield state if now is None else counted(state, now)


def counted(state: StateStatus, now: KernelState) -> StateStatus:
    counters = now.counters
    return structs.replace(
        state,
        bytes=counters.bytes,
        packets=counters.packets,
        added=float(counters.added),
        used=float(counters.used),
        last_used=float(now.last_used),
        replayed=now.replayed,
        integrity_failed=now.integrity_failed,
    )
