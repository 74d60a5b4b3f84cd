"""What the members of an IP set have counted: a set that was made with counters in, packets and
bytes of each member out.

Nothing is kept between two questions, and the driver that keeps the set is not disturbed: this may
be awaited in another thread's loop.
"""

from __future__ import annotations

import errno

from calc_graph.updates import IpsetType
from dataplane.drivers.ipset_messages import Codec, Counted, list_members, parse_counted
from dataplane.families import Family
from dataplane.netlink import NETFILTER, NetlinkError, Socket


async def read_counts(family: Family, name: str, type: IpsetType) -> list[Counted]:  # noqa: A002
    """None of a set that is not there.  Takes CAP_NET_ADMIN; raises DataplaneError."""
    socket, codec = Socket(NETFILTER), Codec(type, family, counters=True)
    try:
        answers = await socket.query(list_members(name), f"reading the counters of {name}")
    except NetlinkError as error:
        if error.code != errno.ENOENT:
            raise
        return []
    finally:
        socket.close()
    return [counted for answer in answers for counted in parse_counted(answer.body, codec)]
