"""What is left of a BGPConfiguration that cannot be used: that the mesh has a password.

in   bytes that etcd holds, and that were refused
out  a configuration with the password's reference, or nothing
"""

from __future__ import annotations

from typing import Final

import msgspec

from calc_graph.bgp.resources import BgpConfiguration, BgpConfigurationKey, SecretRef
from felixpy.datastore.convert.bgp_values import is_secret_key
from felixpy.datastore.convert.subject import Changes
from felixpy.datastore.resources.names import is_name

# A name that there can be, so that it harms nowhere, of a Secret that there is not (RFC 6761).
UNREADABLE: Final = SecretRef("bgpconfiguration.unreadable.invalid", "nodeMeshPassword")


class _PasswordRef(msgspec.Struct, frozen=True):
    name: str
    key: str


class _Password(msgspec.Struct, frozen=True, rename="camel"):
    secret_key_ref: _PasswordRef


class _PasswordSpec(msgspec.Struct, frozen=True, rename="camel"):
    node_mesh_password: _Password


class _PasswordOnly(msgspec.Struct, frozen=True):
    spec: _PasswordSpec


def protected_mesh(name: str, json_bytes: bytes) -> Changes:
    """What counts in the place of a stored configuration that cannot be used.

    Nothing, but where the mesh has a password it keeps it: without the configuration all nodes
    would bring their sessions up unprotected, at the same moment.
    """
    if b"nodeMeshPassword" not in json_bytes:
        return ()
    try:
        found = msgspec.json.decode(json_bytes, type=_PasswordOnly)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        reference = UNREADABLE
    else:
        told = found.spec.node_mesh_password.secret_key_ref
        usable = is_name(told.name) and is_secret_key(told.key)
        reference = SecretRef(told.name, told.key) if usable else UNREADABLE
    return ((BgpConfigurationKey(name), BgpConfiguration(mesh_password=reference)),)
