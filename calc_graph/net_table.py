"""Nets of one family, each with a value: which of them hold a net, and which are held by it.

    in   put, discard
    out  path(net)     the values of the nets around it, the widest first, its own last
         inside(net)   the values of the nets within it, its own among them

A path costs one look-up for each length of net there is in the table, of which a cluster has three
or four; what is inside costs a search, and then no more than what is found.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import Counter
from ipaddress import IPv6Address
from typing import Final, Generic, Literal, NamedTuple, TypeAlias, TypeVar

Version: TypeAlias = Literal[4, 6]
V = TypeVar("V")

BITS: Final[dict[Version, int]] = {4: 32, 6: 128}
_LENGTH_BITS: Final = 8  # a length, up to 128, takes so many


class Net(NamedTuple):
    """`first`: its first address, as a number."""

    version: Version
    first: int
    length: int

    @property
    def single(self) -> bool:
        return self.length == BITS[self.version]


def parse_address(address: str) -> tuple[Version, int]:
    """From a canonical address."""
    if ":" in address:
        return 6, int(IPv6Address(address))
    a, b, c, d = address.split(".")
    return 4, int(a) << 24 | int(b) << 16 | int(c) << 8 | int(d)


def parse_net(text: str) -> Net:
    """From an address with a length; bits behind the length are cleared."""
    address, _, length = text.partition("/")
    version, number = parse_address(address)
    shift = BITS[version] - int(length)
    return Net(version, number >> shift << shift, int(length))


def single_net(address: str) -> str:
    """The net of one address, as text."""
    return f"{address}/128" if ":" in address else f"{address}/32"


class NetTable(Generic[V]):
    def __init__(self, version: Version) -> None:
        self._bits = BITS[version]
        self._values: dict[int, V] = {}
        self._lengths: list[int] = []  # in use, sorted
        self._count: Counter[int] = Counter()  # of each length
        # Codes: by first address, then the widest first.  The new ones are sorted in when somebody
        # asks what is inside a net, so that filling the table costs one sorting.
        self._sorted: list[int] = []
        self._new: list[int] = []

    def get(self, net: Net) -> V | None:
        return self._values.get(_code(net.first, net.length))

    def put(self, net: Net, value: V) -> None:
        code = _code(net.first, net.length)
        if code not in self._values:
            self._new.append(code)
            if not self._count[net.length]:
                insort(self._lengths, net.length)
            self._count[net.length] += 1
        self._values[code] = value

    def discard(self, net: Net) -> None:
        code = _code(net.first, net.length)
        if self._values.pop(code, None) is None:
            return
        self._sort()
        del self._sorted[bisect_left(self._sorted, code)]
        self._count[net.length] -= 1
        if not self._count[net.length]:
            self._lengths.remove(net.length)

    def path(self, net: Net) -> list[V]:
        found = []
        for length in self._lengths:
            if length > net.length:
                break
            shift = self._bits - length
            value = self._values.get(_code(net.first >> shift << shift, length))
            if value is not None:
                found.append(value)
        return found

    def inside(self, net: Net) -> list[V]:
        self._sort()
        start = bisect_left(self._sorted, _code(net.first, net.length))
        behind = net.first + (1 << self._bits - net.length)
        end = bisect_left(self._sorted, _code(behind, 0), start)
        return [self._values[code] for code in self._sorted[start:end]]

    def _sort(self) -> None:
        if len(self._new) * 8 < len(self._sorted):
            for code in self._new:
                insort(self._sorted, code)
        else:
            self._sorted += self._new
            self._sorted.sort()
        self._new.clear()


def _code(first: int, length: int) -> int:
    return first << _LENGTH_BITS | length
