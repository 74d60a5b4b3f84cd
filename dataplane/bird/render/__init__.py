"""BIRD 2's configuration as text: pure, from what is wanted to a version of the file.

config.py       the order of everything; render()
texts.py        what may stand in the file at all: every text from outside is checked there
problems.py     what was left out, and why
sets.py         sets of prefixes: the cluster, this node, each other node
guards.py       what may come in and go out, as functions that refuse with a reason
filters.py      BGPFilters as functions that answer
communities.py  how announced routes are marked
ends.py         the two ends of a session
sessions.py     one session, one protocol
protocols.py    devices, static routes, the kernel, BFD
"""

from dataplane.bird.render.config import UnrenderableError, render

__all__ = ["UnrenderableError", "render"]
