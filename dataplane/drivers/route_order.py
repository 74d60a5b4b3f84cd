"""In which order routes are written and removed, so that nothing that carries traffic goes before
what replaces it is there: pure.

The kernel takes the longest prefix, then the lowest metric.  Everything is written before anything
is removed; what the kernel prefers most is written first and removed last.  Then at each moment an
address is led where it was led before, or where it will be led in the end:

    writing    all that is preferred to what has just been written is written already, and the new
               one is what the address ends with; or something older is still preferred, and it was
               so before
    removing   what is removed next is the least preferred of the old ones, so where it counted,
               only new ones are left
Source: section 1.6 of the routes reference.
"""

from __future__ import annotations

from collections.abc import Iterable

from dataplane.rtnetlink import KernelRoute


def _least_preferred_first(route: KernelRoute) -> tuple[int, int]:
    return route.key.length, -route.key.metric


def order_of_writing(routes: Iterable[KernelRoute]) -> list[KernelRoute]:
    return sorted(routes, key=_least_preferred_first, reverse=True)


def order_of_removal(routes: Iterable[KernelRoute]) -> list[KernelRoute]:
    return sorted(routes, key=_least_preferred_first)
