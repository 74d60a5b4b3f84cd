"""What is wrong with the resources, kept by where it was found, so that it can be taken back.

in   put(place, faults): all that is found there now
out  all(): each once, sorted
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from itertools import chain
from typing import TypeAlias

from calc_graph.bgp.updates import BgpFaults

Fault: TypeAlias = tuple[str, str]  # about what, text


class Faults:
    def __init__(self) -> None:
        self._found: dict[Hashable, tuple[Fault, ...]] = {}
        self._all = BgpFaults()
        self._changed = False

    def put(self, place: Hashable, faults: Iterable[Fault]) -> None:
        found = tuple(faults)
        if found == self._found.get(place, ()):
            return
        self._changed = True
        if found:
            self._found[place] = found
        else:
            del self._found[place]

    def all(self) -> BgpFaults:
        if self._changed:
            self._changed = False
            self._all = BgpFaults(tuple(sorted(set(chain.from_iterable(self._found.values())))))
        return self._all
