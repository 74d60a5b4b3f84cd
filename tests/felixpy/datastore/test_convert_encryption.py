"""The annotation that asks for encryption, and the words that it cannot have; a Node's bad key."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from msgspec.structs import replace

from calc_graph.model import IpPool, Node, Policy
from felixpy.datastore.decode import (
    InvalidResourceError,
    decode_manifest,
    decode_stored,
    remainder,
)
from felixpy.datastore.etcd_holdings import Holdings
from felixpy.datastore.etcd_keys import RANGES, resource_key
from felixpy.datastore.source import Problems

POOL = {"cidr": "10.0.0.0/16"}
KINDS: list[tuple[str, str, dict[str, Any]]] = [
    ("NetworkPolicy", "prod", {}),
    ("GlobalNetworkPolicy", "", {}),
    ("StagedNetworkPolicy", "prod", {}),
    ("StagedGlobalNetworkPolicy", "", {}),
    ("StagedKubernetesNetworkPolicy", "prod", {}),
    ("IPPool", "", POOL),
]
IDS = [kind for kind, *_ in KINDS]
WRONG: list[tuple[Any, str]] = [
    ("Required", "must be required, not 'Required', did you mean 'required'?"),
    ("requierd", "must be required, not 'requierd', did you mean 'required'?"),
    ("", "must be required, not ''"),
    ("none", "must be required, not 'none'"),
]


def document(kind: str, namespace: str, spec: dict[str, Any], **annotations: Any) -> dict[str, Any]:
    metadata = {"name": "ok", "annotations": annotations}
    return {
        "apiVersion": "projectcalico.org/v3",
        "kind": kind,
        "metadata": metadata | ({"namespace": namespace} if namespace else {}),
        "spec": spec,
    }


@pytest.mark.parametrize(("kind", "namespace", "spec"), KINDS, ids=IDS)
def test_an_annotation_asks_for_encryption(kind: str, namespace: str, spec: dict[str, Any]) -> None:
    ((_, plain),) = decode_manifest(document(kind, namespace, spec, other="required")).changes
    assert isinstance(plain, Policy | IpPool)
    assert not plain.encrypted
    asking = document(kind, namespace, spec, encryption="required")
    ((key, found),) = decode_manifest(asking).changes
    assert found == replace(plain, encrypted=True)
    stored = decode_stored(kind, namespace, "ok", msgspec.json.encode(asking))
    assert [each[0] for each in stored] == [key]
    assert isinstance(stored[0][1], Policy | IpPool)
    assert stored[0][1].encrypted


@pytest.mark.parametrize(("value", "reason"), WRONG, ids=[value for value, _ in WRONG])
@pytest.mark.parametrize(("kind", "namespace", "spec"), KINDS, ids=IDS)
def test_another_value_is_refused_and_what_is_stored_counts_as_encrypted(
    kind: str, namespace: str, spec: dict[str, Any], value: str, reason: str
) -> None:
    wrong = document(kind, namespace, spec, encryption=value)
    with pytest.raises(InvalidResourceError) as refused:
        decode_manifest(wrong)
    assert str(refused.value) == f"metadata.annotations.encryption: {reason}"
    raw = msgspec.json.encode(wrong)
    with pytest.raises(InvalidResourceError, match="must be required"):
        decode_stored(kind, namespace, "ok", raw)
    right = msgspec.json.encode(document(kind, namespace, spec, encryption="required"))
    assert remainder(kind, namespace, "ok", raw) == decode_stored(kind, namespace, "ok", right)


POLICY = document("GlobalNetworkPolicy", "", {}, encryption="Required")
NOTHING_LEFT = [
    ("no JSON", b'{"encryption"'),
    ("bytes", b'"encryption\xff"'),
    ("nested deeply", b'{"encryption":' * 100_000),
    ("a list", b'["encryption"]'),
    ("no annotations", b'{"metadata": {"labels": {"encryption": "x"}}, "spec": 1}'),
    ("broken besides", msgspec.json.encode({**POLICY, "spec": {"selector": "a ="}})),
]  # fmt: skip


@pytest.mark.parametrize("raw", [raw for _, raw in NOTHING_LEFT], ids=[n for n, _ in NOTHING_LEFT])
def test_what_cannot_be_used_otherwise_is_absent(raw: bytes) -> None:
    assert remainder("GlobalNetworkPolicy", "", "ok", raw) == ()


def test_a_wrong_word_in_etcd_is_a_problem_and_encrypts() -> None:
    range_ = next(range_ for range_ in RANGES if range_.kind == "GlobalNetworkPolicy")
    problems = Problems()
    holdings = Holdings(range_, problems)
    key = resource_key("GlobalNetworkPolicy", "ok")
    (changed,) = holdings.put(key.encode(), msgspec.json.encode(POLICY))
    assert isinstance(changed.value, Policy)
    assert changed.value.encrypted
    assert list(problems.current) == [key]


def node(key: str) -> dict[str, Any]:
    return {
        "apiVersion": "projectcalico.org/v3",
        "kind": "Node",
        "metadata": {"name": "n1"},
        "spec": {"bgp": {"ipv4Address": "192.0.2.1/24"}},
        "status": {"wireguardPublicKey": key},
    }


def test_a_stored_node_counts_though_its_key_is_none() -> None:
    ((_, found),) = decode_stored("Node", "", "n1", msgspec.json.encode(node("mine")))
    assert found == Node(ipv4="192.0.2.1/24", bgp_ipv4="192.0.2.1/24", wireguard_key="mine")
    with pytest.raises(InvalidResourceError, match="must be a WireGuard key: 32 bytes in base64"):
        decode_manifest(node("mine"))
