"""What the kernel alone says of IPsec while no agent is there: states of ours, without names."""

from __future__ import annotations

import asyncio

from dataplane.families import Family
from dataplane.ipsec.kernel import ESP, TUNNEL, KernelState, open_xfrm
from dataplane.ipsec.states import key_of
from dataplane.ipsec.status import IpsecStatus, StateStatus
from dataplane.ipsec.values import DECRYPTED
from felixpy.ipsec.figures import counted

_FAMILIES: tuple[Family, ...] = (4, 6)


def read_kernel(reqid: int) -> IpsecStatus:
    """Of states that may be ours by their form.  Raises DataplaneError."""
    return asyncio.run(_read(reqid))


async def _read(reqid: int) -> IpsecStatus:
    kernel = open_xfrm(reqid)
    try:
        found = [
            state
            for family in _FAMILIES
            for state in await kernel.read_states(family)
            if (state.protocol, state.mode, state.reqid) == (ESP, TUNNEL, reqid)
        ]
    finally:
        kernel.close()
    return IpsecStatus(states=tuple(sorted(map(_state, found), key=lambda s: (s.peer, s.spi))))


def _state(state: KernelState) -> StateStatus:
    """By the address of the other end."""
    receives = state.set_mark == DECRYPTED
    shown = StateStatus(
        state.id.destination,
        state.id.spi,
        key_of(state.id.spi),
        state.family,
        receives,
        peer=state.source if receives else state.id.destination,
    )
    return counted(shown, state)
