"""What an agent in Kubernetes must be allowed to read the Secrets that BGP's resources name.

    in   the datastore's values
    out  which Secrets are named; a Role and a RoleBinding for exactly these

`list` and `watch` limited by resourceNames work only for a reader that asks for one Secret by its
name; that is what calico/node does.
Source: section 4.5 of the BGP reference, which has it from Calico's "Secure BGP sessions".
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import yaml

from calc_graph.bgp.resources import BgpConfiguration, BgpPeer, SecretRef
from calc_graph.model import Key, Value

NAME = "secret-access"


def named_secrets(values: Mapping[Key, Value]) -> frozenset[SecretRef]:
    """Every key of a Secret that a BGPPeer or a BGPConfiguration names, whoever it is for."""
    found: set[SecretRef] = set()
    for value in values.values():
        if isinstance(value, BgpPeer) and value.password is not None:
            found.add(value.password)
        elif isinstance(value, BgpConfiguration) and value.mesh_password is not None:
            found.add(value.mesh_password)
    return frozenset(found)


def manifests(
    secrets: Collection[str], namespace: str, service_account: str
) -> list[dict[str, Any]]:
    """Role and RoleBinding, the names in order; none where there is nothing to allow."""
    if not secrets:
        return []
    metadata = {"name": NAME, "namespace": namespace}
    role = {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "Role",
        "metadata": dict(metadata),
        "rules": [
            {
                "apiGroups": [""],
                "resources": ["secrets"],
                "resourceNames": sorted(set(secrets)),
                "verbs": ["watch", "list", "get"],
            }
        ],
    }
    binding = {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "RoleBinding",
        "metadata": dict(metadata),
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": NAME},
        "subjects": [{"kind": "ServiceAccount", "name": service_account, "namespace": namespace}],
    }
    return [role, binding]


def render_yaml(resources: Collection[dict[str, Any]]) -> str:
    # without anchors, which not every reader of manifests takes
    return str(yaml.dump_all(resources, Dumper=_Dumper, sort_keys=False)).rstrip("\n")


class _Dumper(yaml.SafeDumper):
    def ignore_aliases(self, _data: Any) -> bool:
        return True
