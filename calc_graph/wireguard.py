"""Where nodes end WireGuard, from what their Node resources say.

    in   nodes
    out  wireguard_endpoint(name, node)      a node's public keys and addresses, of both families

What is published as a key and is none stands for no key, and the family is named: a node that
others cannot encrypt for must not vanish for them.  (Felix passes it on, and its dataplane stumbles
over it.)  The key of zeros is how some writers say that there is none.
Source: section 3.4 of the reference; projectcalico/calico
libcalico-go/lib/backend/syncersv1/updateprocessors/felixnodeprocessor.go.
"""

from __future__ import annotations

import base64
from typing import Final, Literal

from calc_graph.model import Node
from calc_graph.updates import WireguardEndpoint

KEY_BYTES: Final = 32
_NO_KEY: Final = bytes(KEY_BYTES)


def wireguard_endpoint(name: str, node: Node) -> WireguardEndpoint | None:
    """None for a node that publishes nothing of WireGuard."""
    key, key_v6 = canonical_key(node.wireguard_key), canonical_key(node.wireguard_key_v6)
    found: tuple[tuple[Literal[4, 6], str | None], ...] = ((4, key), (6, key_v6))
    end = WireguardEndpoint(
        name,
        key or "",
        node.wireguard_address,
        key_v6 or "",
        node.wireguard_address_v6,
        tuple(family for family, text in found if text is None),
    )
    return None if end == WireguardEndpoint(name) else end


def canonical_key(text: str) -> str | None:
    """The one way to write this public key, "" where there is none; None: that is no key.

    The last of the 44 characters has bits that say nothing, so that one key has several texts.
    """
    if not text:
        return ""
    try:
        key = base64.b64decode(text, validate=True)
    except ValueError:  # binascii.Error among them; the other: not ASCII
        return None
    if len(key) != KEY_BYTES:
        return None
    return "" if key == _NO_KEY else base64.b64encode(key).decode()
