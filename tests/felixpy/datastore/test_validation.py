"""Which resources may be written: the original's verdicts, and what is said about the others."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from felixpy.datastore.decode import InvalidResourceError, decode_manifest

VECTORS = Path(__file__).parents[2] / "vectors" / "validation.json"

# The original reports these under the name of a structure, or of the same thing in its own code.
SAME_FIELD = {
    "tier": {"order", "defaultaction"},
    "port": {"ports"},
    "portname": {"ports"},
    "stagednetworkpolicyspec": {"spec"},
    "externalnodescidrlist": {"externalnodeslist"},
    "ipv": {"ipv4address"},
}


def cases() -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(VECTORS.read_text())["cases"]
    return found


def name_of(case: dict[str, Any]) -> str:
    resource = case["resource"]
    return f"{resource['kind']}-{json.dumps(resource['spec'])[:60]}"


def refusal(document: object) -> InvalidResourceError:
    with pytest.raises(InvalidResourceError) as caught:
        decode_manifest(document)
    return caught.value


def reported(case: dict[str, Any]) -> set[str]:
    """The leaves of the fields that the original names, without indices, in lower case."""
    words = {
        word.lower() for field in case["etcd"]["fields"] for word in re.findall("[A-Za-z]+", field)
    }
    return words.union(*(SAME_FIELD.get(word, set()) for word in words))


@pytest.mark.parametrize("case", cases(), ids=name_of)
def test_the_original_says_the_same(case: dict[str, Any]) -> None:
    verdict = case["etcd"]
    if verdict["result"] == "valid":
        decode_manifest(case["resource"])
        return
    error = refusal(case["resource"])
    if verdict["result"] == "invalid":
        assert reported(case) & {str(step).lower() for step in error.path}


def document(kind: str, spec: dict[str, Any] | None = None, **metadata: Any) -> dict[str, Any]:
    return {
        "apiVersion": "projectcalico.org/v3",
        "kind": kind,
        "metadata": {"name": "ok", **metadata},
        "spec": spec or {},
    }


def rule(**fields: Any) -> dict[str, Any]:
    return document("GlobalNetworkPolicy", {"ingress": [{"action": "Allow", **fields}]})


REFUSED = [
    (
        "misspelt action",
        document("GlobalNetworkPolicy", {"ingress": [{"action": "Alow"}]}),
        "spec.ingress[0].action: must be Allow, Deny, Log or Pass, not 'Alow', "
        "did you mean 'Allow'?",
    ),
    (
        "misspelt field",
        document("GlobalNetworkPolicy", {"ingres": []}),
        "spec.ingres: unknown field 'ingres', did you mean 'ingress'?",
    ),
    (
        "misspelt field in a rule",
        document("GlobalNetworkPolicy", {"ingress": [{"action": "Deny", "protcol": "TCP"}]}),
        "spec.ingress[0].protcol: unknown field 'protcol', did you mean 'protocol'?",
    ),
    (
        "misspelt field in metadata",
        document("Tier", lables={}),
        "metadata.lables: unknown field 'lables', did you mean 'labels'?",
    ),
    (
        "field of another kind",
        document("NetworkPolicy", {"doNotTrack": True}),
        "spec.doNotTrack: unknown field 'doNotTrack'",
    ),
    (
        "misspelt parameter",
        document("FelixConfiguration", {"wireguardEnable": True}),
        "spec.wireguardEnable: unknown field 'wireguardEnable', did you mean 'wireguardEnabled'?",
    ),
    (
        "field in the wrong case",
        document("IPPool", {"CIDR": "10.0.0.0/16"}),
        "spec.CIDR: unknown field 'CIDR', did you mean 'cidr'?",
    ),
    (
        "nothing where something must be",
        document("GlobalNetworkPolicy", {"egress": [{"protocol": "TCP"}]}),
        "spec.egress[0].action: must be given",
    ),
    (
        "wrong type",
        document("Tier", {"order": "first"}),
        "spec.order: must be a number, not text",
    ),
    (
        "wrong type in a list",
        document("GlobalNetworkSet", {"nets": ["10.0.0.0/8", []]}),
        "spec.nets[1]: must be text, not a list",
    ),
    (
        "wrong type in a map",
        document("Tier", labels={"a": {}}),
        "metadata.labels: must be text, not a map",
    ),
    (
        "a list for a map",
        document("NetworkPolicy", {"ingress": {"action": "Allow"}}),
        "spec.ingress: must be a list, not a map",
    ),
    (
        "no kind",
        {"apiVersion": "projectcalico.org/v3"},
        "kind: must be given",
    ),
    (
        "unknown kind",
        document("NetwrokPolicy"),
        "kind: unknown kind 'NetwrokPolicy', did you mean 'NetworkPolicy'?",
    ),
    (
        "another API's kind",
        {**document("NetworkPolicy"), "apiVersion": "networking.k8s.io/v1"},
        "apiVersion: must be 'projectcalico.org/v3' for a NetworkPolicy, "
        "not 'networking.k8s.io/v1'",
    ),
    (
        "a namespace where there is none",
        document("GlobalNetworkPolicy", namespace="prod"),
        "metadata.namespace: a GlobalNetworkPolicy has no namespace",
    ),
    ("no name", document("Tier", name=""), "metadata.name: must be given"),
    (
        "infinite order",
        document("GlobalNetworkPolicy", {"order": float("inf")}),
        "spec.order: must be a finite number, not inf",
    ),
    (
        "order that is no number",
        document("Tier", {"order": float("nan")}),
        "spec.order: must be a finite number, not nan",
    ),
    (
        "net that is none",
        rule(source={"nets": ["10.0.0.0/33"]}),
        "spec.ingress[0].source.nets[0]: must be a CIDR without host bits, or an IP address, "
        "not '10.0.0.0/33'",
    ),
    (
        "more packets a second than the kernel can count",
        document(
            "WorkloadEndpoint",
            {
                "interfaceName": "cali1",
                "ipNetworks": ["10.0.0.1/32"],
                "qosControls": {"ingressPacketRate": 10001},
            },
            name="n1-openstack-vm1-eth0",
        ),
        "spec.qosControls.ingressPacketRate: must be from 0 to 10000",
    ),
    (
        "ports of a protocol without ports",
        rule(protocol="UDPLite", destination={"ports": ["http"]}),
        "spec.ingress[0].destination.ports: protocol UDPLite has no ports; "
        "TCP, UDP and SCTP have",
    ),
    (
        "name that the spec contradicts",
        document(
            "WorkloadEndpoint",
            {"interfaceName": "cali1", "node": "n2"},
            name="n1-openstack-vm1-eth0",
        ),
        "spec.node: 'n2' goes not with the name, which says 'n1'",
    ),
    (
        "name that no parts make up",
        document("WorkloadEndpoint", {"interfaceName": "cali1"}, name="n1-vm1"),
        "metadata.name: must be <node>-<orchestrator>-<workload>-<endpoint>, "
        "dashes within a part doubled, not 'n1-vm1'",
    ),
    (
        "the profile that is built in",
        document("Profile", {"ingress": [{"action": "Deny"}]}, name="projectcalico-default-allow"),
        "spec: this profile is built in and cannot be changed",
    ),
    (
        "half a surrogate pair",
        document("GlobalNetworkPolicy", {"selector": "a == '\ud800'"}),
        "spec.selector: must be a selector, not \"a == '\\ud800'\"",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("bad", "said"), [c[1:] for c in REFUSED], ids=[c[0] for c in REFUSED])
def test_what_is_said(bad: dict[str, Any], said: str) -> None:
    assert str(refusal(bad)) == said


ACCEPTED = [
    ("null is unset", document("NetworkPolicy", {"order": None, "ingress": None, "egress": []})),
    ("no spec", {"apiVersion": "projectcalico.org/v3", "kind": "Tier", "metadata": {"name": "a"}}),
    (
        "numbers and truth as texts",
        document("Tier", labels={"a": True, "b": 1, "c": 1.5, "d": None}),
    ),
    (
        "as printed",
        {
            **document(
                "NetworkPolicy",
                uid="6f2",
                resourceVersion="17",
                creationTimestamp=None,
                generation=3,
                selfLink="/x",
                finalizers=["a"],
                ownerReferences=[{"kind": "x"}],
                managedFields=[{"manager": "calicoctl"}],
                generateName="a-",
            ),
            "status": {"anything": ["at all"]},
        },
    ),
    ("unset by empty texts", document("FelixConfiguration", {"logSeverityScreen": ""})),
    (
        "the built-in profile as printed",
        document(
            "Profile",
            {"ingress": [{"action": "Allow"}], "egress": [{"action": "Allow"}]},
            name="projectcalico-default-allow",
        ),
    ),
]


@pytest.mark.parametrize("good", [c[1] for c in ACCEPTED], ids=[c[0] for c in ACCEPTED])
def test_what_is_fine(good: dict[str, Any]) -> None:
    decode_manifest(good)
