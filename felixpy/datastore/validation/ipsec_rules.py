"""Rules between the fields of an IPsecNode."""

from __future__ import annotations

from felixpy.datastore.resources.ipsec import IpsecNodeSpec
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
    nodes: set[str] = set()
    for index, peer in enumerate(spec.peers):
        if not peer.node:
            refuse("must be given", "peers", index, "node")
        if peer.node in nodes:
            refuse(f"{peer.node} is there twice", "peers", index, "node")
        nodes.add(peer.node)
