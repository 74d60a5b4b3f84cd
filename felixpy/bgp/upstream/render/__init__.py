"""Upstream -> text of one vendor, ready to be pasted.

Each module has `render(upstream) -> str`; route_maps.py is what three of them share.  Sets come
first, then paths, policies, and sessions last.  A pasted text takes the place of an earlier one:
each list is taken away before it is written, or the vendor's own way to replace it is used.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from felixpy.bgp.upstream.model import Upstream
from felixpy.bgp.upstream.render import bird, eos, frr, ios_xr, junos, nxos

RENDERERS: Final[dict[str, Callable[[Upstream], str]]] = {
    "bird": bird.render,
    "frr": frr.render,
    "ios-xr": ios_xr.render,
    "nxos": nxos.render,
    "junos": junos.render,
    "eos": eos.render,
}
