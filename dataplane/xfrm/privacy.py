"""Keys never come up from the kernel: they are overwritten in the buffer that it wrote them to.

    in   a datagram
    out  the same, with a digest of the same length in place of each key, or zeros

The kernel tells keys to whoever may read states: in dumps, in notifications, and in the answer to a
request that it refused.  A kernel that is locked down tells zeros, which stay zeros.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Final, TypeAlias

from dataplane.xfrm import constants
from dataplane.xfrm.attributes import MAXIMUM_KEY_BYTES, SECRET
from dataplane.xfrm.layout import NUMBER_BITS

Digest: TypeAlias = Callable[[memoryview], bytes]  # as long as what it is given

_HEADER: Final = struct.Struct("=IHH")
_BITS: Final = struct.Struct("=I")
_HEADER_BYTES: Final = 16
_NAME_BYTES: Final = 64
_ERROR: Final = 2
_ERROR_BYTES: Final = _HEADER_BYTES + 4 + _HEADER_BYTES  # with the header of what was refused
_CAPPED: Final = 0x100  # flag: nothing more of that is told
_FIXED_BYTES: Final = {
    constants.XFRM_MSG_NEWSA: 224,
    constants.XFRM_MSG_UPDSA: 224,
    constants.XFRM_MSG_DELSA: 24,
}


def zeros(key: memoryview) -> bytes:
    return bytes(len(key))


def conceal(datagram: memoryview, digest: Digest = zeros) -> None:
    """Overwrite all keys in it."""
    start, length_of_all = 0, len(datagram)
    while start + _HEADER_BYTES <= length_of_all:
        length, kind, flags = _HEADER.unpack_from(datagram, start)
        if length < _HEADER_BYTES:
            _blank(datagram, start, length_of_all)
            return
        end = min(length_of_all, start + length)
        if kind in _FIXED_BYTES:
            first = start + _HEADER_BYTES + _FIXED_BYTES[kind]
            _conceal_state(datagram, first, end, digest)
        elif kind == _ERROR and not flags & _CAPPED:
            _blank(datagram, start + _ERROR_BYTES, end)
        start += length + 3 & ~3


def _conceal_state(data: memoryview, start: int, end: int, digest: Digest) -> None:
    words = data[: end & ~1].cast("H")
    while start + 4 <= end:
        length, number = words[start >> 1], words[(start >> 1) + 1]
        if length < 4 or start + length > end:
            _blank(data, start, end)  # what cannot be told from a key
            return
        if number & NUMBER_BITS in SECRET:
            kind = SECRET[number & NUMBER_BITS]
            value = data[start + 4 : start + length]
            if len(value) < kind.head.size:
                value[:] = bytes(len(value))
            else:
                told = kind.key(value, _BITS.unpack_from(value, _NAME_BYTES)[0])
                _overwrite(told, digest)
                _blank(value, kind.head.size + len(told), len(value))
        start += length + 3 & ~3


def _blank(data: memoryview, start: int, end: int) -> None:
    if start < end:
        data[start:end] = bytes(end - start)


def _overwrite(key: memoryview, digest: Digest) -> None:
    if len(key) == MAXIMUM_KEY_BYTES:
        key[:] = bytes(len(key))
    elif any(key):
        key[:] = digest(key)
