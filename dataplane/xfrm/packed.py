"""A message of pyroute2 that is packed and unpacked by one precompiled structure.

pyroute2 0.9.7 packs field by field: a policy with a template takes it 0.2 ms to encode; here it is
a tenth of that (tests/bench/xfrm.py), and where that is too much there is `prepared`.
A message keeps being what it is in pyroute2: a dictionary of fields and `attrs`, with `header`,
`encode` and `decode`.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from socket import htonl, htons
from typing import Any, ClassVar, Final, Self

from pyroute2.netlink import nlmsg
from pyroute2.netlink.exceptions import NetlinkDecodeError

from dataplane.xfrm.attributes import BY_NAME, BY_NUMBER, UNKNOWN

_HEADER: Final = "IHHII"  # length, type, flags, sequence number, port
_ATTRIBUTE: Final = struct.Struct("=HH")
_TYPE_BITS: Final = 0x3FFF
_SWAPS: Final[dict[str, Callable[[int], int]]] = {"H": htons, "I": htonl}


class PackedMessage(nlmsg):  # type: ignore[misc]  # pyroute2 has no types
    """Subclasses have `fields` as pyroute2 has them; padding is of the format `3x`.

    A message has `attrs`, `header`, then its fields, in this order, and nothing else.
    """

    packed: ClassVar[struct.Struct]
    names: ClassVar[tuple[str, ...]]
    blank: ClassVar[dict[str, Any]]
    swapped: ClassVar[tuple[tuple[int, Callable[[int], int]], ...]]

    # nlmsg's own asks itself three things about each key; here all fields are always there.
    __getitem__: Any = dict.__getitem__

    def __init_subclass__(cls) -> None:
        formats = [form for _, form in cls.fields]
        kept = [(name, form) for name, form in cls.fields if not form.endswith("x")]
        cls.packed = struct.Struct("=" + _HEADER + "".join(form.lstrip(">") for form in formats))
        cls.names = tuple(name for name, _ in kept)
        cls.blank = {
            name: bytes(struct.calcsize(form)) if form.endswith("s") else 0 for name, form in kept
        }
        cls.swapped = tuple(
            (place, _SWAPS[form[1:]]) for place, (_, form) in enumerate(kept) if form[0] == ">"
        )

    def __init__(self, data: Any = None, offset: int = 0, *rest: Any, **more: Any) -> None:
        super().__init__(data, offset, *rest, **more)
        self.chain.clear()  # it has the message itself in it, which would wait for the collector
        self.update(self.blank)

    @classmethod
    def decoded_from(cls, data: bytes) -> Self:
        """Raises NetlinkDecodeError."""
        message = cls(data)
        message.decode()
        return message

    @property
    def size(self) -> int:
        """Bytes of the whole message."""
        size: int = self.packed.size
        for name, value in self["attrs"]:
            size += 4 + (BY_NAME[name].kind.size(value) + 3 & ~3)
        return size

    def encode(self) -> None:
        self.data = bytearray(self.size)
        with memoryview(self.data) as view:
            self.length = self.encode_into(view, 0)

    def encode_into(self, buffer: memoryview, start: int) -> int:
        """Returns the end.  Raises ValueError or struct.error where it does not fit."""
        end = start + self.packed.size
        attributes, header, *values = self.values()
        for name, value in attributes:
            attribute = BY_NAME[name]
            size = attribute.kind.size(value)
            _ATTRIBUTE.pack_into(buffer, end, 4 + size, attribute.number)
            attribute.kind.write(value, buffer, end + 4)
            end += 4 + size
            if size & 3:
                pad = -size & 3
                buffer[end : end + pad] = bytes(pad)
                end += pad
        for place, swap in self.swapped:
            values[place] = swap(values[place])
        self.packed.pack_into(
            buffer,
            start,
            end - start,
            header["type"],
            header["flags"],
            header["sequence_number"],
            header["pid"],
            *values,
        )
        header["length"] = end - start
        return end

    def decode(self) -> None:
        """Raises NetlinkDecodeError for what is shorter than it says, or than it has to be."""
        try:
            self._decode()
        except (struct.error, ValueError) as error:
            raise NetlinkDecodeError(error) from None
        self.decoded = True

    def _decode(self) -> None:
        length, kind, flags, sequence, port, *values = self.packed.unpack_from(
            self.data, self.offset
        )
        for place, swap in self.swapped:
            values[place] = swap(values[place])
        self["header"] = {
            "length": length,
            "type": kind,
            "flags": flags,
            "sequence_number": sequence,
            "pid": port,
        }
        self.length = length
        self.update(zip(self.names, values, strict=True))
        with memoryview(self.data) as view:
            end = self.offset + length
            if not self.packed.size <= length <= len(view) - self.offset:
                raise ValueError(f"a message of {length} bytes")
            self["attrs"] = _attributes(view[:end], self.offset + self.packed.size)


def _attributes(data: memoryview, start: int) -> list[tuple[str, Any]]:
    found = []
    end = len(data)
    while start + 4 <= end:
        length, number = _ATTRIBUTE.unpack_from(data, start)
        if length < 4 or start + length > end:
            raise ValueError(f"an attribute of {length} bytes")
        attribute = BY_NUMBER.get(number & _TYPE_BITS, UNKNOWN)
        found.append((attribute.name, attribute.kind.read(data[start + 4 : start + length])))
        start += length + 3 & ~3
    return found
