"""Rules between the fields of an IPsecNode."""

from __future__ import annotations

from dataplane.ipsec.ids import LAST_ID
from dataplane.ipsec.life import HIGHEST_TAG
from felixpy.datastore.resources.ipsec import IpsecNodeSpec
from felixpy.datastore.resources.names import is_stored_name
from felixpy.datastore.validation.fault import refuse


def check_ipsec_node(spec: IpsecNodeSpec) -> None:
    if spec.enabled:
        for field in ("tag", "boot"):
            if not getattr(spec, field):
                refuse("must be given with enabled", field)
    known: set[int] = set()
    for index, key in enumerate(spec.receive):
        if key.id in known:
            refuse(f"key ID {key.id} is there twice", "receive", index, "id")
        known.add(key.id)


def check_peers(spec: IpsecNodeSpec) -> None:
    nodes: set[str] = set()
    for index, peer in enumerate(spec.peers):
        node = peer.node
        if not is_stored_name(node):
            refuse(f"must be the name of a node, not {node!r}", "peers", index, "node")
        if node in nodes:
            refuse(f"{node} is there twice", "peers", index, "node")
        if not 0 <= peer.tag <= HIGHEST_TAG:
            refuse(f"must be from 0 to {HIGHEST_TAG}", "peers", index, "tag")
        if not 0 <= peer.sends <= LAST_ID:
            refuse(f"must be from 0 to {LAST_ID}", "peers", index, "sends")
        nodes.add(node)
