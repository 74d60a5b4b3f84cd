"""What a client fills in before it writes a resource; a manifest on disk never went through one.

    in   a resource as its author wrote it, and the identity it goes by
    out  the same as `calicoctl apply` would have stored it

Source: projectcalico/calico libcalico-go/lib/clientv3 and api/pkg/defaults.
"""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec.structs import replace

from felixpy.datastore.convert.endpoint_name import (
    EndpointName,
    named_by_spec,
    parse_endpoint_name,
    render_endpoint_name,
    third_field,
)
from felixpy.datastore.convert.rules import NAMESPACE
from felixpy.datastore.errors import InvalidResourceError
from felixpy.datastore.resources import Body, Kind
from felixpy.datastore.resources.endpoints import WorkloadEndpoint
from felixpy.datastore.resources.meta import Metadata
from felixpy.datastore.resources.policy import NetworkPolicySpec, Tier

DEFAULT_NAMESPACE = "default"
DEFAULT_TIER = "default"
DEFAULT_TIER_ORDER = 1e6
METADATA_ANNOTATION = "projectcalico.org/metadata"
ORCHESTRATOR = "projectcalico.org/orchestrator"


def identity(kind: Kind, body: Body) -> tuple[str, str]:
    """Namespace and name; a global kind has namespace "", one left out elsewhere is "default"."""
    metadata = body.metadata
    if not kind.namespaced and metadata.namespace:
        raise InvalidResourceError(f"a {kind.name} has no namespace", ("metadata", "namespace"))
    namespace = (metadata.namespace or DEFAULT_NAMESPACE) if kind.namespaced else ""
    if isinstance(body, WorkloadEndpoint):
        return namespace, _endpoint_name(body)
    return namespace, original_name(kind.name, metadata)


def original_name(kind: str, metadata: Metadata) -> str:
    """A policy that was renamed for storage has its real name in an annotation, as JSON."""
    text = metadata.annotations.get(METADATA_ANNOTATION, "")
    if not text or not kind.endswith("NetworkPolicy"):
        return metadata.name
    path = ("metadata", "annotations", METADATA_ANNOTATION)
    try:
        original: Any = msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeEncodeError):
        raise InvalidResourceError("must be JSON", path) from None
    if not isinstance(original, dict) or not isinstance(original.get("name", ""), str):
        raise InvalidResourceError("must be an object with a name", path)
    return str(original.get("name") or metadata.name)


def _endpoint_name(body: WorkloadEndpoint) -> str:
    """The given name, or the one that the spec leads to; where both speak they must agree."""
    given = named_by_spec(body.spec)
    if not body.metadata.name:
        if not all(given):
            missing = ("node", "orchestrator", third_field(given.orchestrator), "endpoint")
            field = next(name for name, part in zip(missing, given, strict=True) if not part)
            raise InvalidResourceError("must be given, or metadata.name", ("spec", field))
        return render_endpoint_name(given)
    name = parse_endpoint_name(body.metadata.name)
    fields = ("node", "orchestrator", third_field(name.orchestrator), "endpoint")
    for field, stated, named in zip(fields, given, name, strict=True):
        if stated and stated != named:
            raise InvalidResourceError(
                f"{stated!r} goes not with the name, which says {named!r}", ("spec", field)
            )
    return body.metadata.name


def with_defaults(body: Body, namespace: str, name: str) -> Body:
    metadata = replace(body.metadata, name=name, namespace=namespace)
    if isinstance(body, WorkloadEndpoint):
        labels = _endpoint_labels(metadata.labels, namespace, parse_endpoint_name(name))
        return replace(body, metadata=replace(metadata, labels=labels))
    spec = getattr(body, "spec", None)
    if isinstance(spec, NetworkPolicySpec) and getattr(spec, "staged_action", "") != "Delete":
        changed = replace(spec, tier=spec.tier or DEFAULT_TIER, types=spec.types or _types(spec))
        return replace(body, metadata=metadata, spec=changed)
    if isinstance(body, Tier):
        order = DEFAULT_TIER_ORDER if body.spec.order is None else body.spec.order
        action = body.spec.default_action or "Deny"
        changed_tier = replace(body.spec, order=order, default_action=action)
        return replace(body, metadata=metadata, spec=changed_tier)
    return replace(body, metadata=metadata)


def _endpoint_labels(labels: dict[str, str], namespace: str, name: EndpointName) -> dict[str, str]:
    return {**labels, NAMESPACE: namespace, ORCHESTRATOR: name.orchestrator}


def _types(spec: NetworkPolicySpec) -> list[str]:
    """Only egress rules: Egress; both: both; else Ingress, even where there are no rules at all."""
    if not spec.egress:
        return ["Ingress"]
    return ["Ingress", "Egress"] if spec.ingress else ["Egress"]
