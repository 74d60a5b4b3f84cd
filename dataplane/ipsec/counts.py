"""How many states and policies there are, whoever made them: two short questions.

A node without IPsec asks no more than this, and needs nothing of what takes states and policies
apart.
Source: linux include/uapi/linux/xfrm.h, XFRM_MSG_GETSADINFO, XFRM_MSG_GETSPDINFO.
"""

from __future__ import annotations

import struct
from typing import Final

from dataplane.netlink import Message, NetlinkError, Request, Socket, attributes

_XFRM: Final = 6  # netlink protocol
_GETSADINFO, _GETSPDINFO = 35, 37
_COUNT: Final = 1  # attribute: of states, or of policies in each direction
_FLAGS: Final = struct.Struct("=I")
_STATES: Final = struct.Struct("=I")
_POLICIES: Final = struct.Struct("=III")  # in, out, forwarded; those of sockets follow


async def count_states_and_policies() -> int:
    """0 where the kernel has no IPsec, or does not say."""
    socket = Socket(_XFRM)
    flags = _FLAGS.pack(0xFFFFFFFF)
    try:
        states, policies = await socket.ask(
            [Request(_GETSADINFO, 0, flags), Request(_GETSPDINFO, 0, flags)]
        )
    except NetlinkError:
        return 0
    finally:
        socket.close()
    return _sum(states, _STATES) + _sum(policies, _POLICIES)


def _sum(answer: Message | int, layout: struct.Struct) -> int:
    if isinstance(answer, int):
        return 0
    found = dict(attributes(answer.body, _FLAGS.size)).get(_COUNT, b"")
    return sum(layout.unpack_from(found)) if len(found) >= layout.size else 0
