"""What every resource has around its spec."""

from __future__ import annotations

from typing import Any

from msgspec import Struct, field

API_VERSION = "projectcalico.org/v3"


class Block(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename="camel"):
    """An object inside a resource; attributes are the field names in snake case."""


class Metadata(Block, frozen=True):
    """Fields without a meaning here are what servers and clients add when they print a resource."""

    name: str = ""
    namespace: str = ""
    labels: dict[str, str] = {}
    annotations: dict[str, str] = {}
    creation_timestamp: Any = None  # text, or a date that the YAML reader has already made of it
    generate_name: str = ""
    uid: Any = None
    resource_version: Any = None
    generation: Any = None
    self_link: Any = None
    cluster_name: Any = None
    deletion_timestamp: Any = None
    deletion_grace_period_seconds: Any = None
    owner_references: Any = None
    finalizers: Any = None
    managed_fields: Any = None


class Document(Block, frozen=True):
    """A whole resource.  `status` is what controllers report, not what anyone asks for."""

    api_version: str = API_VERSION
    kind: str = ""
    metadata: Metadata = field(default_factory=Metadata)
    status: Any = None
