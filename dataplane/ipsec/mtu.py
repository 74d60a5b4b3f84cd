"""How large a packet may be before it goes into ESP in tunnel mode: pure.

in   MTU of the link, the algorithms that may be used, the family of the nodes' addresses
out  MTU inside

Whatever key is in use next must fit as well, so of several algorithms the largest headers count.
Source: section 6.4 of the IPsec reference, where the figures were measured; RFC 4303, section 2.4.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, NamedTuple

from dataplane.families import Family
from dataplane.ipsec.keys import Algorithm

_OUTER: Final[dict[Family, int]] = {4: 20, 6: 40}
_ESP_HEADER: Final = 8
_ESP_TRAILER: Final = 2


class _Sizes(NamedTuple):
    """In bytes: of the initialisation vector, and what the padded packet is a multiple of."""

    vector: int
    block: int


_STREAM: Final = _Sizes(8, 4)  # GCM, CCM, ChaCha20, CTR
_BLOCKS: Final = _Sizes(16, 16)  # CBC of AES and Camellia, and whatever else there may be


def inner_mtu(link: int, outer: Family, algorithms: Iterable[Algorithm]) -> int:
    """0 where there is no algorithm, so nothing is encrypted."""
    return min((_inner(link, outer, each) for each in algorithms), default=0)


def workload_mtu(link: int, outer: Iterable[Family], algorithms: Iterable[Algorithm]) -> int:
    """For interfaces of workloads, an even number; 0 as for `inner_mtu`."""
    known = tuple(algorithms)
    smallest = min((inner_mtu(link, family, known) for family in outer), default=0)
    return smallest - smallest % 2


def _inner(link: int, outer: Family, algorithm: Algorithm) -> int:
    sizes = _STREAM if algorithm.aead or "(ctr(" in algorithm.encryption else _BLOCKS
    room = link - _OUTER[outer] - _ESP_HEADER - sizes.vector - algorithm.tag_bits // 8
    return room // sizes.block * sizes.block - _ESP_TRAILER
