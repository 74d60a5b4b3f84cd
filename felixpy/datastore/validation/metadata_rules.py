"""Names, labels and annotations, and the names that only some kinds may have."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from felixpy.datastore.resources import names
from felixpy.datastore.resources.meta import Metadata
from felixpy.datastore.validation.fault import refuse

NAMESPACE_LABEL = "projectcalico.org/namespace"

_POLICY_NAME = "a DNS label, or two with a dot between them"
_KIND_NAMES: dict[str, tuple[Callable[[str], bool], str]] = {
    "Tier": (
        names.is_dns_label,
        "a DNS label: at most 63 lower-case letters, digits and '-', no dot",
    ),
    "NetworkPolicy": (
        names.is_network_policy_name,
        f"{_POLICY_NAME}, or knp.default.<name> or ossg.default.<name>",
    ),
    "StagedNetworkPolicy": (
        names.is_network_policy_name,
        f"{_POLICY_NAME}, or knp.default.<name> or ossg.default.<name>",
    ),
    "GlobalNetworkPolicy": (names.is_global_network_policy_name, _POLICY_NAME),
    "StagedGlobalNetworkPolicy": (names.is_global_network_policy_name, _POLICY_NAME),
}
_WITHOUT_NAMESPACE_LABEL = frozenset({"NetworkSet", "GlobalNetworkSet"})


def check_metadata(kind: str, metadata: Metadata) -> None:
    check_name(kind, metadata.name)
    if metadata.namespace and not names.is_dns_label(metadata.namespace):
        refuse(f"must be a DNS label, not {metadata.namespace!r}", "namespace")
    check_annotations(metadata.annotations)
    for key, value in metadata.labels.items():
        if not names.is_qualified_name(key):
            refuse(f"{key!r} is no name of a label", "labels", key)
        if not names.is_label_value(value):
            refuse(f"{value!r} is no value of a label", "labels", key)
        if key == NAMESPACE_LABEL and kind in _WITHOUT_NAMESPACE_LABEL:
            refuse(f"a {kind} must not have this label", "labels", key)


def check_name(kind: str, name: str) -> None:
    if not name:
        refuse("must be given", "name")
    if not names.is_name(name):
        refuse(
            f"must be lower-case letters, digits, '-' and '.', at most 253 long, not {name!r}",
            "name",
        )
    accepts, expected = _KIND_NAMES.get(kind, (names.is_name, ""))
    if not accepts(name):
        refuse(f"must be {expected}, not {name!r}", "name")


def check_annotations(annotations: Mapping[str, str]) -> None:
    size = 0
    for key, value in annotations.items():
        if not names.is_qualified_name(key.lower()):
            refuse(f"{key!r} is no name of an annotation", "annotations", key)
        if not names.is_encodable(value):
            refuse("holds half a surrogate pair", "annotations", key)
        size += len(key.encode()) + len(value.encode())
    if size > names.MAX_ANNOTATIONS_BYTES:
        refuse(f"take {size} bytes, at most {names.MAX_ANNOTATIONS_BYTES} may be", "annotations")
