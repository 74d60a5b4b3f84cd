"""`felixpy bgp upstream`: the policy against hijacking for the routers above, ready to paste.

Nothing of this machine is needed but what the datastore says: it need not be a node.
"""

from __future__ import annotations

import argparse
import os
import sys
from ipaddress import ip_address
from typing import Final

import msgspec

from felixpy import exits
from felixpy.bgp.upstream.build import build
from felixpy.bgp.upstream.model import Upstream, UpstreamError, Wish
from felixpy.bgp.upstream.reading import read_cluster
from felixpy.bgp.upstream.render import RENDERERS
from felixpy.config import ConfigError, examine, read_local
from felixpy.console import say
from felixpy.datastore.snapshot import SnapshotError, is_named, read_snapshot

KINDS: Final = (
    "IPPool",
    "Node",
    "BGPConfiguration",
    "BGPPeer",
    "BlockAffinity",
    "IPAMBlock",
    "WorkloadEndpoint",
)
SECONDS = 60.0  # for all of a large etcd over a slow line
_LARGEST_AS: Final = 2**32 - 1


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--role", required=True, choices=("tor", "spine", "border"), help="whose policy"
    )
    parser.add_argument(
        "--vendor", required=True, choices=tuple(RENDERERS), help="in which dialect"
    )
    mode = parser.add_mutually_exclusive_group()
    mode.add_argument(
        "--exact",
        dest="exact",
        action="store_true",
        default=None,
        help="the very nets that nodes may announce (default for tor)",
    )
    mode.add_argument(
        "--coarse",
        dest="exact",
        action="store_false",
        default=None,
        help="whatever has the length of a block (default for spine and border)",
    )
    parser.add_argument(
        "--sessions",
        action="store_true",
        help="neighbours as well; without, a paste cannot touch them",
    )
    parser.add_argument(
        "--node",
        nargs="+",
        action="extend",
        default=[],
        metavar="NAME",
        help="only these nodes are below the router (default: all that peer with the outside)",
    )
    parser.add_argument(
        "--router",
        nargs="+",
        action="extend",
        default=[],
        type=_address,
        metavar="ADDRESS",
        help="only nodes that peer with the ToR that has these addresses",
    )
    parser.add_argument(
        "--local-as",
        type=_as_number,
        default=0,
        metavar="N",
        help="the router's AS (default for tor: as the nodes' sessions say)",
    )


def run(arguments: argparse.Namespace) -> int:
    wish = Wish(
        role=arguments.role,
        exact=arguments.exact,
        sessions=arguments.sessions,
        nodes=tuple(arguments.node),
        routers=tuple(arguments.router),
        router_as=arguments.local_as,
    )
    resolved = examine(read_local(arguments.config, os.environ))
    if not is_named(resolved):
        raise ConfigError(resolved.errors)
    try:
        snapshot = read_snapshot(resolved.config, SECONDS, KINDS)
    except SnapshotError as error:
        say(f"felixpy: {error}", sys.stderr)
        return exits.FAILED
    # an absent resource would be an absent permission, or an absent pool to protect
    if wrong := (*snapshot.errors, *snapshot.invalid):
        for each in wrong:
            say(f"error: {each}", sys.stderr)
        return exits.REFUSED
    try:
        upstream = build(read_cluster(snapshot.values, wish.nodes), wish)
    except UpstreamError as error:
        say(f"felixpy: {error}", sys.stderr)
        return exits.REFUSED
    text = RENDERERS[arguments.vendor](upstream)
    if arguments.json:
        shown = _as_json(upstream, arguments.vendor, text)
        say(msgspec.json.format(msgspec.json.encode(shown), indent=2).decode())
    else:
        say(text)
    return exits.OK


def _as_json(upstream: Upstream, vendor: str, text: str) -> dict[str, object]:
    return {
        "role": upstream.role,
        "vendor": vendor,
        "mode": "exact" if upstream.exact else "coarse",
        "nodes": upstream.nodes,
        "pools": upstream.pools,
        "services": upstream.services,
        "text": text,
    }


def _address(text: str) -> str:
    return str(ip_address(text))


def _as_number(text: str) -> int:
    number = int(text)
    if not 1 <= number <= _LARGEST_AS:
        raise ValueError
    return number
