"""What the kernel says, taken apart."""

from __future__ import annotations

import errno
import struct
from collections.abc import Iterator
from typing import Any, Final

from pyroute2.netlink import nlmsg
from pyroute2.netlink.exceptions import NetlinkError
from pyroute2.netlink.marshal import Marshal

from dataplane.xfrm import constants
from dataplane.xfrm.layout import HEADER, NUMBER_BITS
from dataplane.xfrm.messages import (
    user_expire,
    userpolicy_id,
    userpolicy_info,
    usersa_id,
    usersa_info,
)

ERRNO: Final = struct.Struct("=i")
CAPPED: Final = 0x100  # flag: of what was refused there is no more than the header
ERROR_BYTES: Final = 2 * HEADER.size + ERRNO.size


class MarshalXfrm(Marshal):  # type: ignore[misc]  # pyroute2 has no types
    """What the kernel says, as messages."""

    msg_map: Final = {
        constants.XFRM_MSG_NEWSA: usersa_info,
        constants.XFRM_MSG_UPDSA: usersa_info,
        constants.XFRM_MSG_DELSA: usersa_id,
        constants.XFRM_MSG_NEWPOLICY: userpolicy_info,
        constants.XFRM_MSG_UPDPOLICY: userpolicy_info,
        constants.XFRM_MSG_DELPOLICY: userpolicy_id,
        constants.XFRM_MSG_EXPIRE: user_expire,
        constants.XFRM_MSG_FLUSHSA: nlmsg,
        constants.XFRM_MSG_FLUSHPOLICY: nlmsg,
    }

    def parse_one_message(
        self, key: int, flags: int, sequence_number: int, data: bytes, offset: int, length: int
    ) -> Any:
        """Raises NetlinkDecodeError; pyroute2's own would give back what it got that far."""
        if key == self.error_type:
            return refusal(data, offset, length)
        kind = self.msg_map.get(key)
        if kind is None:
            return super().parse_one_message(key, flags, sequence_number, data, offset, length)
        message = kind(data, offset=offset)
        message.decode()
        message["header"]["error"] = None
        return message


def refusal(data: bytes, offset: int, length: int) -> nlmsg:
    """pyroute2's own looks for the request in it, which is not told with NETLINK_CAP_ACK."""
    message = nlmsg()
    size, kind, flags, sequence, port = HEADER.unpack_from(data, offset)
    code = -ERRNO.unpack_from(data, offset + HEADER.size)[0]
    error: OSError | None = None
    if code == errno.ENOBUFS:
        error = OSError(code, "messages were lost")
    elif code:
        error = NetlinkError(code, _reason(data[offset : offset + length]))
    message["header"] = {
        "length": size,
        "type": kind,
        "flags": flags,
        "sequence_number": sequence,
        "pid": port,
        "error": error,
    }
    return message


def _reason(message: bytes) -> str | None:
    """The kernel's own words: attribute 1, NLMSGERR_ATTR_MSG."""
    start = ERROR_BYTES
    while start + 4 <= len(message):
        length, number = struct.unpack_from("=HH", message, start)
        if number == 1:
            return message[start + 4 : start + length].rstrip(b"\0").decode("utf-8", "replace")
        start += max(length, 4) + 3 & ~3
    return None


def parts(data: bytes) -> Iterator[tuple[int, int, int, int]]:
    """Type, sequence number, start of the body and end of each message."""
    start = 0
    while start + HEADER.size <= len(data):
        length, kind, _, sequence, _ = HEADER.unpack_from(data, start)
        if length < HEADER.size:
            return
        yield kind, sequence, start + HEADER.size, start + length
        start += length + 3 & ~3


def attributes(data: bytes, start: int) -> dict[int, bytes]:
    """Number -> value of all from `start`, where one begins, to the end.  Raises ValueError.

    At a start there are tens of thousands: nothing is called for each.
    """
    found: dict[int, bytes] = {}
    end = len(data)
    words = memoryview(data)[: end & ~1].cast("H")
    while start + 4 <= end:
        length, number = words[start >> 1], words[(start >> 1) + 1]
        if length < 4 or start + length > end:
            raise ValueError(f"an attribute of {length} bytes")
        found[number & NUMBER_BITS] = data[start + 4 : start + length]
        start += length + 3 & ~3
    return found
