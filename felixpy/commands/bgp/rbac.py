"""`felixpy bgp rbac`: the Role and RoleBinding that let an agent read the Secrets it needs.

Kubernetes is not asked: the datastore says which Secrets are named, and that is all it takes.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

import msgspec

from felixpy import exits
from felixpy.bgp import rbac
from felixpy.bgp.secret_store import Store, is_read, read_store, shown
from felixpy.bgp.secrets_place import unit_credentials
from felixpy.config import secrets_namespace
from felixpy.console import say
from felixpy.datastore.resources.names import is_name
from felixpy.datastore.snapshot import SnapshotError, read_snapshot
from felixpy.live_config import LiveConfig

SECONDS = 60.0  # for all of a large etcd over a slow line
KINDS = ("BGPPeer", "BGPConfiguration")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--unreadable", action="store_true", help="only for Secrets that this node cannot read now"
    )
    parser.add_argument(
        "--service-account", metavar="NAME", default="calico-node", help="default: calico-node"
    )
    parser.add_argument(
        "--namespace",
        metavar="NAME",
        help="of agent and Secrets; default: $NAMESPACE, calico-system",
    )


def run(arguments: argparse.Namespace) -> int:
    live = LiveConfig(arguments.config, os.environ)
    namespace = arguments.namespace or secrets_namespace(os.environ)
    for option, name in (("namespace", namespace), ("service account", arguments.service_account)):
        if not is_name(name):
            say(f"felixpy: {name!r} is not the name of a {option}", sys.stderr)
            return exits.REFUSED
    try:
        snapshot = read_snapshot(live.config, SECONDS, KINDS)
    except SnapshotError as error:
        say(f"felixpy: {error}", sys.stderr)
        return exits.FAILED
    if snapshot.errors:
        for wrong in snapshot.errors:
            say(f"error: {wrong}", sys.stderr)
        return exits.REFUSED
    refs = rbac.named_secrets(snapshot.values)
    if arguments.unreadable:
        root = Path(live.config.secrets_path).absolute()
        store = read_store(root, unit_credentials(os.environ), Store(str(root)), lambda _: None)
        refs = frozenset(ref for ref in refs if not is_read(store, namespace, ref))
    for ref in sorted(refs):
        if not is_name(ref.name):
            say(f"felixpy: {shown(ref)}: no Secret can have that name", sys.stderr)
    names = {ref.name for ref in refs if is_name(ref.name)}
    resources = rbac.manifests(names, namespace, arguments.service_account)
    if arguments.json:
        listed = {"apiVersion": "v1", "kind": "List", "items": resources}
        say(msgspec.json.format(msgspec.json.encode(listed), indent=2).decode())
    elif resources:
        say(rbac.render_yaml(resources))
    else:
        why = (
            "this node can read every Secret that a BGP resource names"
            if arguments.unreadable
            else "no BGP resource names a Secret"
        )
        say(f"felixpy: nothing to allow: {why}", sys.stderr)
    return exits.OK
