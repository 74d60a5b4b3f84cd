"""What messages carry besides their fixed part: XFRMA_*, as values and as bytes.

Each kind says how many bytes a value takes, writes it into a buffer and reads it again.  A key is
written from where it is straight to where it is sent from; no copy is left behind.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Final, NamedTuple, Protocol, TypeAlias

Octets: TypeAlias = bytes | bytearray | memoryview

_U8 = struct.Struct("=B")
_U32 = struct.Struct("=I")
_MARK = struct.Struct("=II")
_ESN = struct.Struct("=IIIIII")
_TEMPLATE = struct.Struct("=16s4sB3xH2x16sIBBBxIII")
_ANY: Final = 0xFFFFFFFF
MAXIMUM_KEY_BYTES: Final = 512


class Mark(NamedTuple):
    value: int
    mask: int


class ReplayEsn(NamedTuple):
    """Counters of 64 bits, in halves, and the window: `words` times 32 bits of it at most."""

    words: int
    replay_window: int
    oseq: int = 0
    seq: int = 0
    oseq_hi: int = 0
    seq_hi: int = 0


class Template(NamedTuple):
    """Addresses are of 16 bytes, see `requests.address`."""

    daddr: bytes
    saddr: bytes
    family: int
    spi: int = 0
    proto: int = 50
    reqid: int = 0
    mode: int = 1
    share: int = 0
    optional: int = 0
    aalgos: int = _ANY
    ealgos: int = _ANY
    calgos: int = _ANY


@dataclass(slots=True)
class Algorithm:
    """`bits`: length of what a packet is authenticated with, unless the kernel goes by the name.

    What is read from the kernel has a digest in place of its key, or zeros, see `privacy`.
    """

    name: str
    key: Octets = field(repr=False)
    bits: int = 0


class Kind(Protocol):
    def size(self, value: Any) -> int: ...
    def write(self, value: Any, buffer: memoryview, start: int) -> None: ...
    def read(self, data: memoryview) -> Any: ...  # raises ValueError or struct.error


class Number:
    def __init__(self, packed: struct.Struct) -> None:
        self._packed = packed

    def size(self, _value: int) -> int:
        return self._packed.size

    def write(self, value: int, buffer: memoryview, start: int) -> None:
        self._packed.pack_into(buffer, start, value)

    def read(self, data: memoryview) -> int:
        return int(self._packed.unpack_from(data)[0])


class Marks:
    def size(self, _value: Mark) -> int:
        return _MARK.size

    def write(self, value: Mark, buffer: memoryview, start: int) -> None:
        _MARK.pack_into(buffer, start, *value)

    def read(self, data: memoryview) -> Mark:
        return Mark(*_MARK.unpack_from(data))


class ReplayEsns:
    """The bitmap is of no interest: it starts with zeros, and is not read."""

    def size(self, value: ReplayEsn) -> int:
        return _ESN.size + 4 * value.words

    def write(self, value: ReplayEsn, buffer: memoryview, start: int) -> None:
        words, window, *counters = value
        _ESN.pack_into(buffer, start, words, *counters, window)
        begin = start + _ESN.size
        buffer[begin : begin + 4 * words] = bytes(4 * words)

    def read(self, data: memoryview) -> ReplayEsn:
        words, *counters, window = _ESN.unpack_from(data)
        return ReplayEsn(words, window, *counters)


class Templates:
    """One attribute holds all of them, one behind the other."""

    def size(self, value: tuple[Template, ...]) -> int:
        return _TEMPLATE.size * len(value)

    def write(self, value: tuple[Template, ...], buffer: memoryview, start: int) -> None:
        for template in value:
            daddr, saddr, family, spi, proto, *rest = template
            spi_bytes = spi.to_bytes(4, "big")
            _TEMPLATE.pack_into(buffer, start, daddr, spi_bytes, proto, family, saddr, *rest)
            start += _TEMPLATE.size

    def read(self, data: memoryview) -> tuple[Template, ...]:
        if len(data) % _TEMPLATE.size:
            raise ValueError(f"{len(data)} bytes of templates")
        return tuple(
            Template(daddr, saddr, family, int.from_bytes(spi, "big"), proto, *rest)
            for daddr, spi, proto, family, saddr, *rest in _TEMPLATE.iter_unpack(data)
        )


class Algorithms:
    """Name, length of the key in bits, `bits` where there are any, key."""

    def __init__(self, *, with_bits: bool) -> None:
        self._with_bits = with_bits
        self.head = struct.Struct("=64sII" if with_bits else "=64sI")

    def size(self, value: Algorithm) -> int:
        return self.head.size + len(value.key)

    def write(self, value: Algorithm, buffer: memoryview, start: int) -> None:
        numbers = [8 * len(value.key)]
        if self._with_bits:
            numbers.append(value.bits)
        self.head.pack_into(buffer, start, value.name.encode("ascii"), *numbers)
        begin = start + self.head.size
        buffer[begin : begin + len(value.key)] = value.key

    def read(self, data: memoryview) -> Algorithm:
        name, key_bits, *bits = self.head.unpack_from(data)
        text = name.partition(b"\0")[0].decode("ascii", "replace")
        return Algorithm(text, bytes(self.key(data, key_bits)), *bits)

    def key(self, data: memoryview, key_bits: int) -> memoryview:
        """Where it is; shorter than told if the attribute is."""
        length = min((key_bits + 7) // 8, MAXIMUM_KEY_BYTES)
        return data[self.head.size : self.head.size + length]


class Bytes:
    """Whatever nobody here looks into."""

    def size(self, value: bytes) -> int:
        return len(value)

    def write(self, value: bytes, buffer: memoryview, start: int) -> None:
        buffer[start : start + len(value)] = value

    def read(self, data: memoryview) -> bytes:
        return bytes(data)


class Attribute(NamedTuple):
    number: int
    name: str
    kind: Kind


_PLAIN, _SIZED = Algorithms(with_bits=False), Algorithms(with_bits=True)
UNKNOWN: Final = Attribute(0, "UNKNOWN", Bytes())

_ALL: Final = (
    Attribute(1, "XFRMA_ALG_AUTH", _PLAIN),
    Attribute(2, "XFRMA_ALG_CRYPT", _PLAIN),
    Attribute(3, "XFRMA_ALG_COMP", _PLAIN),
    Attribute(4, "XFRMA_ENCAP", Bytes()),
    Attribute(5, "XFRMA_TMPL", Templates()),
    Attribute(9, "XFRMA_LTIME_VAL", Bytes()),
    Attribute(10, "XFRMA_REPLAY_VAL", Bytes()),
    Attribute(13, "XFRMA_SRCADDR", Bytes()),
    Attribute(15, "XFRMA_LASTUSED", Bytes()),
    Attribute(16, "XFRMA_POLICY_TYPE", Bytes()),
    Attribute(18, "XFRMA_ALG_AEAD", _SIZED),
    Attribute(20, "XFRMA_ALG_AUTH_TRUNC", _SIZED),
    Attribute(21, "XFRMA_MARK", Marks()),
    Attribute(23, "XFRMA_REPLAY_ESN_VAL", ReplayEsns()),
    Attribute(24, "XFRMA_SA_EXTRA_FLAGS", Number(_U32)),
    Attribute(25, "XFRMA_PROTO", Number(_U8)),
    Attribute(27, "XFRMA_PAD", Bytes()),
    Attribute(28, "XFRMA_OFFLOAD_DEV", Bytes()),
    Attribute(29, "XFRMA_SET_MARK", Number(_U32)),
    Attribute(30, "XFRMA_SET_MARK_MASK", Number(_U32)),
    Attribute(31, "XFRMA_IF_ID", Number(_U32)),
    Attribute(32, "XFRMA_MTIMER_THRESH", Bytes()),
    Attribute(33, "XFRMA_SA_DIR", Number(_U8)),
)
BY_NUMBER: Final[Mapping[int, Attribute]] = MappingProxyType({a.number: a for a in _ALL})
BY_NAME: Final[Mapping[str, Attribute]] = MappingProxyType({a.name: a for a in _ALL})
SECRET: Final[Mapping[int, Algorithms]] = MappingProxyType(
    {a.number: a.kind for a in _ALL if isinstance(a.kind, Algorithms)}
)
