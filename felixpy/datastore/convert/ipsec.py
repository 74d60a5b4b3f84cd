"""What nodes publish of their ends of IPsec: read, and written."""

from __future__ import annotations

from operator import attrgetter
from typing import Any

import msgspec

from calc_graph.model import IpsecNode, IpsecNodeKey, IpsecPeering
from felixpy.datastore.convert.subject import Changes, Subject
from felixpy.datastore.resources.addresses import parse_address
from felixpy.datastore.resources.ipsec import API_VERSION, IpsecNodeSpec

KIND = "IPsecNode"


def convert_ipsec_node(subject: Subject) -> Changes:
    """Of a resource that was validated."""
    spec: IpsecNodeSpec = subject.spec
    value = IpsecNode(
        enabled=spec.enabled,
        layout="shared" if spec.layout == "shared" else "pair",
        tag=spec.tag,
        boot=spec.boot,
        receive={key.id: key.check for key in sorted(spec.receive, key=lambda key: key.id)},
        peers={
            peer.node: IpsecPeering(peer.tag, peer.sends, peer.hosts)
            for peer in sorted(spec.peers, key=attrgetter("node"))
        },
        ipv4=_address(spec.ipv4),
        ipv6=_address(spec.ipv6),
        allow_clear=spec.allow_clear,
        node_encryption=spec.node_encryption,
    )
    return ((IpsecNodeKey(subject.name), value),)


def _address(text: str) -> str:
    address = parse_address(text)
    return address.text if address else ""


def render_ipsec_node(name: str, node: IpsecNode) -> bytes:
    """The resource that `convert_ipsec_node` reads, as JSON; the same for the same node."""
    spec: dict[str, Any] = {"enabled": node.enabled, "layout": node.layout}
    if node.tag:
        spec["tag"] = node.tag
    if node.boot:
        spec["boot"] = node.boot
    spec["receive"] = [{"id": key, "check": text} for key, text in sorted(node.receive.items())]
    spec["peers"] = [_peering(*each) for each in sorted(node.peers.items())]
    spec |= {family: text for family, text in _ends(node) if text}
    spec |= {"allowClear": node.allow_clear, "nodeEncryption": node.node_encryption}
    resource = {"apiVersion": API_VERSION, "kind": KIND, "metadata": {"name": name}, "spec": spec}
    return msgspec.json.encode(resource)


def _peering(node: str, peering: IpsecPeering) -> dict[str, Any]:
    """What is 0 or false is left out."""
    found = {"tag": peering.tag, "sends": peering.sends, "hosts": peering.hosts}
    return {"node": node, **{field: value for field, value in found.items() if value}}


def _ends(node: IpsecNode) -> tuple[tuple[str, str], ...]:
    return ("ipv4", node.ipv4), ("ipv6", node.ipv6)
