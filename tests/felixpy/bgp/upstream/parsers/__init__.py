"""Strict parsers of what is rendered for routers that no test can run.

Each takes a whole text: a line that it does not know fails, as do a name without a definition, a
definition that comes twice, and a sequence number that comes twice.  What it makes of the text is a
Router, which tells what that vendor would do with a route.
"""

from __future__ import annotations

from tests.felixpy.bgp.upstream.parsers import eos, ios_xr, junos, nxos

PARSERS = {"ios-xr": ios_xr.parse, "nxos": nxos.parse, "junos": junos.parse, "eos": eos.parse}
