"""Who tries to announce what to whom, and whether the router's policy lets it.

Nodes and nets are those of `clusters`.  `whom`: a node, or the side that a spine's or border's
neighbours are on; `direction` as the router sees it.  Paths are as they arrive, the sender's own AS
included; () where a policy does not ask.  Source: section 6.6 of the BGP reference.
"""

from __future__ import annotations

from typing import NamedTuple

from felixpy.bgp.upstream.model import Role

NODE_AS = 64512
_HOST = (NODE_AS,)


class Setting(NamedTuple):
    role: Role
    exact: bool
    cluster: str = "MESH"
    nodes: tuple[str, ...] = ()

    @property
    def label(self) -> str:
        mode = "exact" if self.exact else "coarse"
        return "-".join((self.role, mode, self.cluster.lower(), *self.nodes))


class Try(NamedTuple):
    whom: str
    direction: str
    net: str
    accepted: bool
    path: tuple[int, ...] = ()


EXACT_TOR, COARSE_TOR = Setting("tor", True), Setting("tor", False)
FABRIC_TOR = Setting("tor", True, "FABRIC")
COARSE_FABRIC = Setting("tor", False, "FABRIC")
EXACT_SPINE, COARSE_SPINE = Setting("spine", True), Setting("spine", False)
RACK_SPINE = Setting("spine", True, "MESH", ("n1", "n2"))
EXACT_BORDER, COARSE_BORDER = Setting("border", True), Setting("border", False)

DEFAULT = ("0.0.0.0/0", "::/0")
FOREIGN = ("198.51.100.0/24", "2001:db8:9::/48")
COVERING = ("10.64.0.0/15", "fd64::/15")
NODES_OWN = ("10.0.0.0/24", "fd00::/64")
POOL = ("10.65.0.0/16", "10.65.0.0/17", "fd65::/48", "fd65::/49")
ANY_BLOCK = ("10.65.9.0/26", "fd65::9:0/122")
ANY_ADDRESS = ("10.65.3.5/32", "fd65::3:5/128")
PART = ("10.65.3.0/27", "10.65.2.0/28", "fd65::3:0/123", "fd65::2:0/124")
SERVICE = ("10.96.0.0/12",)
ONE_SERVICE = ("10.96.0.10/32",)
N1 = ("10.65.1.0/26", "fd65::1:0/122")
N2 = ("10.65.2.0/26", "fd65::2:0/122")
N3 = ("10.65.3.0/26", "fd65::3:0/122")
LENT = ("10.65.2.77/32", "fd65::2:4d/128")  # to n3, out of n2's block
BEYOND = ("203.0.113.0/24", "2001:db8:7::/48")  # what the rest of the network has
EVER_FOREIGN = (*DEFAULT, *FOREIGN, *COVERING, *NODES_OWN)


def _tries(whom, direction, *, yes=(), no=(), path=()) -> list[Try]:
    return [
        *(Try(whom, direction, net, True, path) for net in yes),
        *(Try(whom, direction, net, False, path) for net in no),
    ]


def _from_node(whom, yes, no) -> list[Try]:
    return _tries(whom, "in", yes=yes, no=no, path=_HOST)


_REVERSE = [
    *_tries(
        "n1",
        "out",
        no=(*POOL, *N1, *N2, *LENT, *ANY_ADDRESS, *PART, *SERVICE, *ONE_SERVICE),
        yes=(*DEFAULT, *BEYOND, *COVERING),
    )
]
# who is no transit may still make its own path longer; nets are each announced but once
_PATHS = [
    *_tries("n1", "in", no=N1, path=(NODE_AS, 65099)),
    *_tries("n1", "in", no=BEYOND, path=(NODE_AS, 65099)),
    *_tries("n1", "in", yes=SERVICE, path=(NODE_AS, NODE_AS)),
]
_FROM_ABOVE = _tries(
    "above",
    "in",
    yes=(*DEFAULT, *BEYOND, *COVERING),
    no=(*POOL, *N1, *N2, *LENT, *ANY_ADDRESS, *PART, *SERVICE, *ONE_SERVICE),
)
_TO_CLUSTER = [attempt._replace(whom="below", direction="out") for attempt in _FROM_ABOVE]

MATRIX: dict[Setting, list[Try]] = {
    EXACT_TOR: [
        *_from_node(
            "n2",
            (*N2, *SERVICE),
            (*EVER_FOREIGN, *POOL, *N3, *LENT, *ANY_ADDRESS, *PART, *ONE_SERVICE),
        ),
        *_from_node("n3", (*N3, *LENT, *SERVICE), (*N2, *ANY_ADDRESS, *PART)),
        *_PATHS,
        *_REVERSE,
        *_tries("above", "out", yes=(*N1, *N2, *LENT, *SERVICE), no=(*EVER_FOREIGN, *POOL, *PART)),
        *_tries("above", "in", yes=(*DEFAULT, *N1), no=(*POOL, *PART)),
    ],
    COARSE_TOR: [
        *_from_node(
            "n2",
            (*N2, *N3, *ANY_BLOCK, *LENT, *ANY_ADDRESS, *SERVICE),  # what --exact is for
            (*EVER_FOREIGN, *POOL, *PART, *ONE_SERVICE),
        ),
        *_PATHS,
        *_REVERSE,
    ],
    FABRIC_TOR: [
        *_from_node("n2", (*N2, *SERVICE), (*EVER_FOREIGN, *POOL, *N3, *LENT, *PART)),
        *_tries(
            "n2",
            "out",
            yes=(*DEFAULT, *BEYOND, *COVERING, *N1, *N3, *LENT),
            no=(*POOL, *N2, *ANY_BLOCK, *ANY_ADDRESS, *PART, *SERVICE, *ONE_SERVICE),
        ),
    ],
    COARSE_FABRIC: [
        *_tries(
            "n2",
            "out",
            yes=(*DEFAULT, *BEYOND, *COVERING, *N1, *N2, *N3, *LENT, *ANY_BLOCK, *ANY_ADDRESS),
            no=(*POOL, *PART, *ONE_SERVICE),
        ),
    ],
    EXACT_SPINE: [
        *_tries(
            "below",
            "in",
            yes=(*N1, *N2, *N3, *LENT, *SERVICE),
            no=(*EVER_FOREIGN, *POOL, *ANY_BLOCK, *ANY_ADDRESS, *PART, *ONE_SERVICE),
        ),
        *_tries(
            "below",
            "out",
            yes=(*DEFAULT, *BEYOND, *N1, *LENT),
            no=(*POOL, *ANY_BLOCK, *ANY_ADDRESS, *PART, *ONE_SERVICE),
        ),
        *_FROM_ABOVE,
        *_tries(
            "above",
            "out",
            yes=(*N1, *LENT, *SERVICE),
            no=(*EVER_FOREIGN, *POOL, *ANY_BLOCK, *ANY_ADDRESS, *PART, *ONE_SERVICE),
        ),
    ],
    RACK_SPINE: [
        *_tries("below", "in", yes=(*N1, *N2, *SERVICE), no=(*EVER_FOREIGN, *POOL, *N3, *LENT)),
        *_tries("below", "out", yes=(*DEFAULT, *BEYOND, *N3, *LENT), no=(*POOL, *N1, *N2, *PART)),
        *_FROM_ABOVE,
    ],
    COARSE_SPINE: [
        *_tries(
            "below",
            "in",
            yes=(*N1, *N2, *N3, *LENT, *ANY_BLOCK, *ANY_ADDRESS, *SERVICE),
            no=(*EVER_FOREIGN, *POOL, *PART, *ONE_SERVICE),
        ),
        *_tries("below", "out", yes=(*DEFAULT, *BEYOND, *N1, *LENT), no=(*POOL, *PART)),
        *_FROM_ABOVE,
        *_tries(
            "above",
            "out",
            yes=(*POOL, *N1, *LENT, *ANY_BLOCK, *ANY_ADDRESS, *PART, *SERVICE, *ONE_SERVICE),
            no=EVER_FOREIGN,
        ),
    ],
    EXACT_BORDER: [
        *_tries(
            "below",
            "in",
            yes=(*N1, *N2, *N3, *LENT, *SERVICE),
            no=(*EVER_FOREIGN, *POOL, *ANY_BLOCK, *ANY_ADDRESS, *PART, *ONE_SERVICE),
        ),
        *_TO_CLUSTER,
    ],
    COARSE_BORDER: [
        *_tries(
            "below",
            "in",
            yes=(*POOL, *N1, *LENT, *ANY_ADDRESS, *PART, *SERVICE, *ONE_SERVICE),
            no=EVER_FOREIGN,
        ),
        *_TO_CLUSTER,
    ],
}
