"""Whole documents: identity, lists, defaults, secrets, and what no document may do."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from calc_graph.model import Policy, PolicyKey, Tier, TierKey, WorkloadEndpoint, WorkloadEndpointKey
from felixpy.datastore.decode import (
    InvalidResourceError,
    Resource,
    decode_documents,
    decode_manifest,
    decode_stored,
)
from felixpy.datastore.resources import KINDS
from felixpy.datastore.validation.shape import tidy

V3 = "projectcalico.org/v3"
VECTORS = Path(__file__).parents[2] / "vectors" / "validation.json"


def document(kind: str, spec: dict[str, Any] | None = None, **metadata: Any) -> dict[str, Any]:
    return {
        "apiVersion": V3,
        "kind": kind,
        "metadata": {"name": "ok", **metadata},
        "spec": spec or {},
    }


def only_value(resource: Resource) -> Any:
    ((_, value),) = resource.changes
    return value


IDENTITIES = [
    # document                                       namespace  name
    (document("Tier"), "", "ok"),
    (document("NetworkPolicy", namespace="prod"), "prod", "ok"),
    (document("NetworkPolicy"), "default", "ok"),
    (document("NetworkPolicy", name="default.a"), "default", "default.a"),
    (
        document("NetworkPolicy", annotations={"projectcalico.org/metadata": '{"name":"other"}'}),
        "default",
        "other",
    ),
    (document("NetworkPolicy", annotations={"projectcalico.org/metadata": ""}), "default", "ok"),
    (document("Tier", annotations={"projectcalico.org/metadata": '{"name":"other"}'}), "", "ok"),
    (
        document(
            "WorkloadEndpoint",
            {
                "node": "n-1",
                "orchestrator": "k8s",
                "pod": "web-0",
                "endpoint": "eth0",
                "interfaceName": "cali1",
            },
            name="",
        ),
        "default",
        "n--1-k8s-web--0-eth0",
    ),
]


@pytest.mark.parametrize(("given_document", "namespace", "name"), IDENTITIES)
def test_identity(given_document: dict[str, Any], namespace: str, name: str) -> None:
    resource = decode_manifest(given_document)
    assert (resource.namespace, resource.name) == (namespace, name)


@pytest.mark.parametrize("text", ["{", "[]", '"a"', '{"name": 3}', "\ud800"])
def test_metadata_annotation_must_be_readable(text: str) -> None:
    bad = document("NetworkPolicy", annotations={"projectcalico.org/metadata": text})
    with pytest.raises(InvalidResourceError) as caught:
        decode_manifest(bad)
    assert caught.value.path == ("metadata", "annotations", "projectcalico.org/metadata")


TYPES = [
    # rules                             default of a client   read back from etcd
    ({}, (True, False), (True, True)),
    ({"ingress": [{"action": "Deny"}]}, (True, False), (True, True)),
    ({"egress": [{"action": "Deny"}]}, (False, True), (True, True)),
    ({"ingress": [{"action": "Deny"}], "egress": [{"action": "Deny"}]}, (True, True), (True, True)),
    ({"types": ["Egress"]}, (False, True), (False, True)),
]


@pytest.mark.parametrize(("spec", "written", "stored"), TYPES)
def test_types_default_at_write_only(
    spec: dict[str, Any], written: tuple[bool, bool], stored: tuple[bool, bool]
) -> None:
    policy = document("NetworkPolicy", spec)
    value = only_value(decode_manifest(policy))
    assert (value.applies_ingress, value.applies_egress) == written
    ((_, value),) = decode_stored("NetworkPolicy", "prod", "ok", json.dumps(policy).encode())
    assert (value.applies_ingress, value.applies_egress) == stored


def test_tier_defaults() -> None:
    tier = document("Tier", name="security")
    assert decode_manifest(tier).changes == ((TierKey("security"), Tier(1e6, "Deny")),)
    stored = decode_stored("Tier", "", "security", json.dumps(tier).encode())
    assert stored == ((TierKey("security"), Tier(None, "Deny")),)


def test_endpoint_labels_are_what_a_client_would_store() -> None:
    endpoint = document(
        "WorkloadEndpoint",
        {"interfaceName": "cali1", "ipNetworks": ["10.0.0.1/32"], "serviceAccountName": "robot"},
        name="n1-openstack-vm1-eth0",
        namespace="prod",
        labels={"app": "web", "projectcalico.org/namespace": "pretended"},
    )
    expected = WorkloadEndpoint(
        interface="cali1",
        nets=("10.0.0.1/32",),
        labels={
            "app": "web",
            "projectcalico.org/namespace": "prod",
            "projectcalico.org/orchestrator": "openstack",
            "projectcalico.org/serviceaccount": "robot",
        },
    )
    key = WorkloadEndpointKey("n1", "openstack", "prod/vm1", "eth0")
    assert decode_manifest(endpoint).changes == ((key, expected),)


def test_scalars_are_texts_where_texts_belong() -> None:
    labels = {"yes": True, "no": False, "whole": 2.0, "half": 0.5, "many": 10**20, "none": None}
    node = only_value(decode_manifest(document("Node", labels=labels)))
    assert node.labels == {
        "yes": "true",
        "no": "false",
        "whole": "2",
        "half": "0.5",
        "many": "100000000000000000000",
        "none": "",
    }
    with pytest.raises(InvalidResourceError):
        stored("Node", document("Node", labels={"yes": True}))
    with pytest.raises(InvalidResourceError):
        decode_manifest(document("Node", labels={"a": float("nan")}))


LISTS = [
    ("as kubectl prints them", {"apiVersion": "v1", "kind": "List", "items": [document("Tier")]}),
    (
        "as calicoctl prints them",
        {
            "apiVersion": V3,
            "kind": "TierList",
            "metadata": {"resourceVersion": "12"},
            "items": [document("Tier")],
        },
    ),
    (
        "kinds left out",
        {"apiVersion": V3, "kind": "TierList", "items": [{"metadata": {"name": "ok"}}]},
    ),
    ("plain list", [document("Tier")]),
    ("one resource", document("Tier")),
]


@pytest.mark.parametrize("listed", [c[1] for c in LISTS], ids=[c[0] for c in LISTS])
def test_lists(listed: object) -> None:
    assert [(one.kind, one.name) for one in decode_documents(listed)] == [("Tier", "ok")]


def test_list_without_items_is_empty() -> None:
    assert decode_documents({"apiVersion": "v1", "kind": "List", "items": None}) == []


def test_path_leads_through_the_list() -> None:
    bad = document("Tier", {"order": "x"})
    listed = {"apiVersion": "v1", "kind": "List", "items": [document("Tier"), bad]}
    with pytest.raises(InvalidResourceError) as caught:
        decode_documents(listed)
    assert caught.value.path == ("items", 1, "spec", "order")
    assert str(caught.value).startswith("items[1].spec.order: ")


@pytest.mark.parametrize(
    "bad",
    [
        {"apiVersion": "v1", "kind": "List", "items": {}},
        {"apiVersion": "v1", "kind": "List", "itmes": []},
        {"apiVersion": "v1", "kind": "List", "items": ["text"]},
        None,
        "text",
        7,
    ],
)
def test_what_is_no_resource(bad: object) -> None:
    with pytest.raises(InvalidResourceError):
        decode_documents(bad)


MINIMAL_SPECS: dict[str, dict[str, Any]] = {
    "IPPool": {"cidr": "10.0.0.0/16"},
    "IPAMBlock": {"cidr": "10.0.0.0/26", "allocations": [0, None], "affinity": "host:n1"},
    "BlockAffinity": {"cidr": "10.0.0.0/26", "state": "confirmed", "node": "n1"},
    "CalicoNodeStatus": {"node": "n1", "classes": ["BGP"], "updatePeriodSeconds": 10},
    "HostEndpoint": {"node": "n1", "interfaceName": "*"},
    "WorkloadEndpoint": {"interfaceName": "cali1"},
}


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_every_kind_is_known(kind: str) -> None:
    name = "n1-openstack-vm1-eth0" if kind == "WorkloadEndpoint" else "ok"
    known = document(kind, MINIMAL_SPECS.get(kind), name=name)
    if kind == "Secret":
        known = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "ok"}, "data": {}}
    known["apiVersion"] = KINDS[kind].api_version
    assert decode_manifest(known).kind == kind
    del known["metadata"]["name"]
    with pytest.raises(InvalidResourceError):
        decode_manifest({**known, "wrong": 1})


# ------------------------------------------------------------------ secrets

HIDDEN = "aHVudGVyMg=="
SECRET = {
    "apiVersion": "v1",
    "kind": "Secret",
    "metadata": {
        "name": "bgp",
        "namespace": "kube-system",
        "annotations": {"kubectl.kubernetes.io/last-applied-configuration": HIDDEN},
    },
    "type": "Opaque",
    "data": {"password": HIDDEN},
    "stringData": {"other": HIDDEN},
}


def test_a_secret_means_nothing_to_the_graph() -> None:
    resource = decode_manifest(SECRET)
    assert resource == Resource("Secret", "kube-system", "bgp")
    assert HIDDEN not in repr(resource)


def test_a_decoded_secret_does_not_show_itself() -> None:
    secret = msgspec.convert(SECRET, KINDS["Secret"].type)
    assert HIDDEN not in repr(secret)
    assert HIDDEN not in f"{secret}"


@pytest.mark.parametrize(
    "change",
    [
        {"data": HIDDEN},
        {"data": [HIDDEN]},
        {"data": {"password": [HIDDEN]}},
        {"data": {"password": {"x": HIDDEN}}},
        {"stringData": {7: HIDDEN}},
        {"stringdata": {"password": HIDDEN}},
        {"metadata": {"name": "BGP"}},
        {"apiVersion": V3},
        {"immutable": HIDDEN},
        {"type": [HIDDEN]},
    ],
)
def test_a_bad_secret_is_refused_without_its_data(change: dict[str, Any]) -> None:
    bad = {**SECRET, **change}
    with pytest.raises(InvalidResourceError) as caught:
        decode_manifest(bad)
    error: BaseException | None = caught.value
    while error is not None:
        assert HIDDEN not in str(error)
        assert HIDDEN not in repr(error)
        error = error.__context__


# ------------------------------------------------------------------ what is stored


def stored(kind: str, body: object, namespace: str = "", name: str = "ok") -> Any:
    return decode_stored(kind, namespace, name, json.dumps(body).encode())


def test_the_key_wins_over_the_body() -> None:
    policy = document("NetworkPolicy", name="default.a", namespace="elsewhere")
    ((key, value),) = stored("NetworkPolicy", policy, "prod", "key.name")
    assert key == PolicyKey("NetworkPolicy", "prod", "key.name")
    assert value == Policy("default", "projectcalico.org/namespace == 'prod'")


def test_unknown_fields_and_nulls_are_ignored() -> None:
    policy = document(
        "GlobalNetworkPolicy",
        {
            "order": None,
            "fromTheFuture": 1,
            "ingress": [{"action": "Deny", "source": {"new": {}, "nets": None}, "new": [1]}],
        },
        new="x",
    )
    ((_, value),) = stored("GlobalNetworkPolicy", {**policy, "new": 1})
    assert [rule.action for rule in value.ingress] == ["deny"]


LENIENT = [
    # what a client would refuse, and Felix takes
    ("GlobalNetworkPolicy", {"ingress": [{"action": "Deny", "http": {"methods": ["GET"]}}]}),
    ("GlobalNetworkPolicy", {"ingress": [{"action": "allow", "protocol": "tcp"}]}),
    ("GlobalNetworkPolicy", {"ingress": [{"action": "next-tier"}]}),
    ("GlobalNetworkPolicy", {"types": ["ingress"]}),
    ("GlobalNetworkPolicy", {"doNotTrack": True}),
    ("GlobalNetworkPolicy", {"ingress": [{"action": "Allow", "source": {"nets": ["10.0.0.1"]}}]}),
    ("GlobalNetworkSet", {"nets": ["10.0.0.1/8"]}),
    ("Tier", {"defaultAction": "Allow"}),
    ("IPPool", {"cidr": "10.0.0.1/16", "ipipMode": "sometimes"}),
    ("FelixConfiguration", {"iptablesBackend": "bogus"}),
]


@pytest.mark.parametrize(("kind", "spec"), LENIENT)
def test_stored_values_are_taken_as_felix_takes_them(kind: str, spec: dict[str, Any]) -> None:
    name = "default" if kind == "FelixConfiguration" else "ok"
    assert stored(kind, document(kind, spec), name=name)


def entity(**fields: Any) -> dict[str, Any]:
    return {"ingress": [{"action": "Allow", "protocol": "TCP", "source": fields}]}


NOT_EVEN_STORED = [
    ("unknown action", "GlobalNetworkPolicy", {"ingress": [{"action": "Accept"}]}),
    ("no action", "GlobalNetworkPolicy", {"ingress": [{}]}),
    ("ipVersion", "GlobalNetworkPolicy", {"ingress": [{"action": "Allow", "ipVersion": 5}]}),
    ("protocol 0", "GlobalNetworkPolicy", {"ingress": [{"action": "Allow", "protocol": 0}]}),
    ("protocol", "GlobalNetworkPolicy", {"ingress": [{"action": "Allow", "notProtocol": "ESP"}]}),
    ("net", "GlobalNetworkPolicy", entity(nets=["10.0.0.0/8", "10.0.0.0/40"])),
    ("not net", "GlobalNetworkPolicy", entity(notNets=["bad"])),
    ("selector", "GlobalNetworkPolicy", entity(selector="a =")),
    ("not selector", "GlobalNetworkPolicy", entity(notSelector="a =")),
    ("namespace selector", "GlobalNetworkPolicy", entity(namespaceSelector="a =")),
    ("account selector", "GlobalNetworkPolicy", entity(serviceAccounts={"selector": "a ="})),
    ("port 0", "GlobalNetworkPolicy", entity(ports=[0])),
    ("port range", "GlobalNetworkPolicy", entity(ports=["20:10"])),
    ("port name", "GlobalNetworkPolicy", entity(ports=["Not_A_Port"])),
    ("service without a name", "GlobalNetworkPolicy", entity(services={"namespace": "a"})),
    ("service without a namespace", "GlobalNetworkPolicy", entity(services={"name": "a"})),
    (
        "ports without a protocol",
        "GlobalNetworkPolicy",
        {"ingress": [{"action": "Allow", "source": {"ports": [80]}}]},
    ),
    (
        "ports of ICMP",
        "GlobalNetworkPolicy",
        {"ingress": [{"action": "Allow", "protocol": "ICMP", "source": {"ports": ["a"]}}]},
    ),
    (
        "ICMP code without a type",
        "GlobalNetworkPolicy",
        {"ingress": [{"action": "Allow", "protocol": "ICMP", "icmp": {"code": 1}}]},
    ),
    (
        "ICMP type",
        "GlobalNetworkPolicy",
        {"ingress": [{"action": "Allow", "protocol": "ICMP", "notICMP": {"type": 255}}]},
    ),
    ("policy's selector", "GlobalNetworkPolicy", {"selector": "a ="}),
    ("policy's namespace selector", "GlobalNetworkPolicy", {"namespaceSelector": "a ="}),
    ("policy's account selector", "GlobalNetworkPolicy", {"serviceAccountSelector": "a ="}),
    ("hint", "GlobalNetworkPolicy", {"performanceHints": ["Faster"]}),
    ("hint twice", "GlobalNetworkPolicy", {"performanceHints": ["AssumeNeededOnEveryNode"] * 2}),
    ("types", "GlobalNetworkPolicy", {"types": ["Sideways"]}),
    ("net of a set", "GlobalNetworkSet", {"nets": ["10.0.0.0/8", "bad"]}),
    ("pool without a length", "IPPool", {"cidr": "10.0.0.1"}),
    ("host endpoint's interface", "HostEndpoint", {"node": "n1", "interfaceName": "eth*"}),
    ("host endpoint's address", "HostEndpoint", {"node": "n1", "expectedIPs": ["bad"]}),
    (
        "host endpoint's profile",
        "HostEndpoint",
        {"node": "n1", "interfaceName": "*", "profiles": ["a b"]},
    ),
    (
        "host endpoint's port",
        "HostEndpoint",
        {
            "node": "n1",
            "interfaceName": "*",
            "ports": [{"name": "a", "protocol": "TCP", "port": 0}],
        },
    ),
    ("tier", "GlobalNetworkPolicy", {"tier": "a b"}),
    ("node's address", "Node", {"ipv4VXLANTunnelAddr": "bad"}),
    ("wrong type", "Tier", {"order": "first"}),
]  # fmt: skip


@pytest.mark.parametrize(
    ("kind", "spec"), [c[1:] for c in NOT_EVEN_STORED], ids=[c[0] for c in NOT_EVEN_STORED]
)
def test_no_stored_value_is_widened(kind: str, spec: dict[str, Any]) -> None:
    with pytest.raises(InvalidResourceError):
        stored(kind, document(kind, spec))


@pytest.mark.parametrize("raw", [b"", b"{", b"null", b"[]", b"\xff", b'{"metadata": 3}'])
def test_stored_rubbish_is_absent(raw: bytes) -> None:
    with pytest.raises(InvalidResourceError):
        decode_stored("Tier", "", "ok", raw)


ENDPOINT = {"interfaceName": "cali1", "ipNetworks": ["10.0.0.1/32"]}
BAD_ENDPOINTS = [
    {**ENDPOINT, "interfaceName": ""},
    {**ENDPOINT, "interfaceName": "*"},
    {**ENDPOINT, "interfaceName": "sixteen-letters-"},
    {**ENDPOINT, "interfaceName": "cali1 -j ACCEPT"},
    {**ENDPOINT, "interfaceName": "cali1\n"},
    {**ENDPOINT, "profiles": ["a", "b c"]},
    {**ENDPOINT, "mac": "bad"},
    {**ENDPOINT, "ipNetworks": ["10.0.0.1/32", "bad"]},
    {**ENDPOINT, "allowSpoofedSourcePrefixes": ["bad"]},
    {**ENDPOINT, "ipNATs": [{"internalIP": "10.0.0.1", "externalIP": "fd00::1"}]},
    {**ENDPOINT, "ipNATs": [{"internalIP": "10.0.0.1"}]},
    {**ENDPOINT, "ports": [{"name": "a", "protocol": 6, "port": 80}]},
    {**ENDPOINT, "ports": [{"name": "a b", "protocol": "TCP", "port": 80}]},
    {**ENDPOINT, "qosControls": {"egressPacketBurst": 10001}},
]


@pytest.mark.parametrize("spec", BAD_ENDPOINTS)
def test_stored_endpoints_that_are_absent(spec: dict[str, Any]) -> None:
    name = "n1-openstack-vm1-eth0"
    assert stored("WorkloadEndpoint", document("WorkloadEndpoint", ENDPOINT), "prod", name)
    with pytest.raises(InvalidResourceError):
        stored("WorkloadEndpoint", document("WorkloadEndpoint", spec), "prod", name)


@pytest.mark.parametrize("name", ["a b", "a\nb", "a/b", "é", "a" * 254])
def test_keys_that_are_no_names(name: str) -> None:
    with pytest.raises(InvalidResourceError):
        stored("NetworkPolicy", document("NetworkPolicy"), "prod", name)
    with pytest.raises(InvalidResourceError):
        stored("NetworkPolicy", document("NetworkPolicy"), name, "ok")


def test_the_built_in_profile_cannot_be_stored() -> None:
    profile = document("Profile", {"ingress": [{"action": "Deny"}]})
    assert stored("Profile", profile, name="projectcalico-default-allow") == ()


CONFIGURATIONS = [
    # a parameter that is out of range spoils the others only where the resource is read as a whole
    ("default", True),
    ("node.n1", True),
    ("selected", False),
]


@pytest.mark.parametrize(("name", "taken"), CONFIGURATIONS)
def test_stored_configurations_with_a_bad_parameter(name: str, taken: bool) -> None:
    configuration = document("FelixConfiguration", {"wireguardListeningPort": 0, "vxlanPort": 1})
    if not taken:
        with pytest.raises(InvalidResourceError):
            stored("FelixConfiguration", configuration, name=name)
        return
    ((_, value),) = stored("FelixConfiguration", configuration, name=name)
    assert value.values == {"WireguardListeningPort": "0", "VxlanPort": "1"}


def test_unknown_kind_in_store() -> None:
    with pytest.raises(InvalidResourceError):
        decode_stored("Teir", "", "ok", b"{}")


# ------------------------------------------------------------------ anything at all

SEEDS: list[dict[str, Any]] = [
    case["resource"] for case in json.loads(VECTORS.read_text())["cases"]
]
ODD = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=8),
    st.sampled_from(
        [
            "10.0.0.0/8", "::ffff:1.2.3.4", "fe80::1%eth0", "1:2", "all()", "global()", "a == 'b'",
            "1h", "TCP", "node.x", "\ud800", "\x00", "9" * 5000, "0x10", 2**70, -1,
        ]
    ),
    st.lists(st.integers(), max_size=2),
    st.dictionaries(st.one_of(st.text(max_size=4), st.integers()), st.integers(), max_size=2),
)  # fmt: skip


def places(value: Any) -> list[tuple[Any, Any]]:
    """Every container of a document with every key or index in it."""
    found: list[tuple[Any, Any]] = []
    if isinstance(value, dict):
        steps: list[Any] = list(value)
    else:
        steps = list(range(len(value))) if isinstance(value, list) else []
    for step in steps:
        found += [(value, step), *places(value[step])]
    return found


@st.composite
def mutated(draw: st.DrawFn) -> Any:
    changed = copy.deepcopy(draw(st.sampled_from(SEEDS)))
    for _ in range(draw(st.integers(1, 4))):
        choices = places(changed)
        if not choices:
            break
        container, step = draw(st.sampled_from(choices))
        match draw(st.sampled_from(["replace", "remove", "add", "graft"])):
            case "replace":
                container[step] = draw(ODD)
            case "remove":
                del container[step]
            case "add" if isinstance(container, dict):
                container[draw(st.one_of(st.text(max_size=5), st.integers()))] = draw(ODD)
            case _:
                container[step] = copy.deepcopy(draw(st.sampled_from(SEEDS))["spec"])
    return changed


@settings(max_examples=400, deadline=None)
@given(mutated())
def test_a_document_is_decoded_or_refused(changed: Any) -> None:
    try:
        resources = decode_documents(changed)
    except InvalidResourceError as error:
        assert error.message
        assert str(error).encode()
        return
    assert all(isinstance(resource, Resource) for resource in resources)


@settings(max_examples=300, deadline=None)
@given(mutated(), st.sampled_from(["ok", "default", "n1-openstack-vm1-eth0"]))
def test_a_stored_value_is_decoded_or_refused(changed: Any, name: str) -> None:
    kind = changed.get("kind") if isinstance(changed, dict) else None
    raw = json.dumps(changed, skipkeys=True).encode()
    try:
        decode_stored(kind if isinstance(kind, str) else "Tier", "prod", name, raw)
    except InvalidResourceError as error:
        assert str(error).encode()


@settings(max_examples=200, deadline=None)
@given(mutated())
def test_what_a_client_would_write_can_be_read_back(changed: Any) -> None:
    """The lenient way refuses nothing that the strict way takes."""
    try:
        resource = decode_manifest(changed)
    except InvalidResourceError:
        return
    written = tidy(changed, KINDS[resource.kind].type, stored=False)
    raw = json.dumps(written, skipkeys=True).encode()
    decode_stored(resource.kind, resource.namespace, resource.name, raw)
