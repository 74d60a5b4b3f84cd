"""What BGP's resources mean: configurations, peers and filters."""

from __future__ import annotations

import json
from typing import Any

import pytest

from calc_graph.bgp.resources import (
    AddCommunity,
    BgpConfiguration,
    BgpConfigurationKey,
    BgpFilter,
    BgpFilterKey,
    BgpPeer,
    BgpPeerKey,
    BlockAffinity,
    BlockAffinityKey,
    FilterRule,
    NodeStatusKey,
    NodeStatusRequest,
    PrefixCommunities,
    PrependPath,
    SecretRef,
    SetPriority,
)
from calc_graph.model import IpPool, Node
from felixpy.datastore.convert.mesh_password import UNREADABLE
from felixpy.datastore.decode import (
    InvalidResourceError,
    decode_manifest,
    decode_stored,
    remainder,
)


def document(kind: str, spec: dict[str, Any], name: str = "ok") -> dict[str, Any]:
    return {
        "apiVersion": "projectcalico.org/v3",
        "kind": kind,
        "metadata": {"name": name},
        "spec": spec,
    }


def stored(kind: str, spec: dict[str, Any], name: str = "ok") -> Any:
    return decode_stored(kind, "", name, json.dumps(document(kind, spec, name)).encode())


def both(kind: str, spec: dict[str, Any]) -> Any:
    """A manifest means what the same resource means in etcd."""
    changes = decode_manifest(document(kind, spec)).changes
    assert stored(kind, spec) == changes
    return changes


def refused(kind: str, spec: dict[str, Any]) -> str:
    with pytest.raises(InvalidResourceError) as caught:
        stored(kind, spec)
    return str(caught.value)


# ---------------------------------------------------------------- BGPConfiguration

CONFIGURATIONS: list[tuple[str, dict[str, Any], BgpConfiguration]] = [
    ("nothing", {}, BgpConfiguration()),
    ("AS number", {"asNumber": 64513}, BgpConfiguration(as_number=64513)),
    ("dotted AS number", {"asNumber": "1.2"}, BgpConfiguration(as_number=65538)),
    ("mesh", {"nodeToNodeMeshEnabled": False}, BgpConfiguration(mesh=False)),
    ("port", {"listenPort": 1790}, BgpConfiguration(listen_port=1790)),
    ("any address", {"bindMode": "None"}, BgpConfiguration(bind_node_address=False)),
    ("own address", {"bindMode": "NodeIP"}, BgpConfiguration(bind_node_address=True)),
    (
        "interfaces",
        {"ignoredInterfaces": ["vir*", "docker0", "vir*"]},
        BgpConfiguration(ignored_interfaces=("docker0", "vir*")),
    ),
    (
        "password",
        {"nodeMeshPassword": {"secretKeyRef": {"name": "bgp-secrets", "key": "mesh"}}},
        BgpConfiguration(mesh_password=SecretRef("bgp-secrets", "mesh")),
    ),
    (
        "restart",
        {"nodeMeshMaxRestartTime": "1m30.5s"},
        BgpConfiguration(mesh_restart_seconds=91),
    ),
    (
        "a long restart",
        {"nodeMeshMaxRestartTime": "2h"},
        BgpConfiguration(mesh_restart_seconds=4095),
    ),
    (
        "communities, by name and number, each once",
        {
            "communities": [
                {"name": "blue", "value": "65001:00100"},
                {"name": "large", "value": "4200000000:1:2"},
            ],
            "prefixAdvertisements": [
                {"cidr": "fd65::/48", "communities": ["large"]},
                {"cidr": "10.65.0.0/16", "communities": ["blue", "65001:100", "65000:1"]},
                {"cidr": "10.65.0.0/16", "communities": ["0:5"]},
            ],
        },
        BgpConfiguration(
            prefix_communities=(
                PrefixCommunities("10.65.0.0/16", ("0:5", "65000:1", "65001:100")),
                PrefixCommunities("fd65::/48", ("4200000000:1:2",)),
            )
        ),
    ),
    (
        "routes",
        {"programClusterRoutes": "EnabledIPIPOnly"},
        BgpConfiguration(program_routes="EnabledIPIPOnly"),
    ),
    (
        "priorities",
        {"ipv4NormalRoutePriority": 100, "ipv6NormalRoutePriority": 200},
        BgpConfiguration(normal_priority_v4=100, normal_priority_v6=200),
    ),
    (
        "local workloads",
        {
            "localWorkloadPeeringIPV4": "169.254.1.9",
            "localWorkloadPeeringIPV6": "FD00:0::9",
        },
        BgpConfiguration(workload_peering_v4="169.254.1.9", workload_peering_v6="fd00::9"),
    ),
    (
        "services: ranges are announced, single addresses are not",
        {
            "serviceClusterIPs": [{"cidr": "10.96.0.0/12"}, {"cidr": ""}],
            "serviceExternalIPs": [{"cidr": "192.0.2.7/32"}, {"cidr": "2001:db8::7/128"}],
            "serviceLoadBalancerIPs": [{"cidr": "198.51.100.0/24"}],
        },
        BgpConfiguration(
            service_cidrs=(
                "10.96.0.0/12",
                "192.0.2.7/32",
                "198.51.100.0/24",
                "2001:db8::7/128",
            ),
            advertised_cidrs=("10.96.0.0/12", "198.51.100.0/24"),
        ),
    ),
    (
        "services: load balancers one by one",
        {
            "serviceClusterIPs": [{"cidr": "10.96.0.0/12"}],
            "serviceLoadBalancerIPs": [{"cidr": "198.51.100.0/24"}],
            "serviceLoadBalancerAggregation": "Disabled",
        },
        BgpConfiguration(
            service_cidrs=("10.96.0.0/12", "198.51.100.0/24"),
            advertised_cidrs=("10.96.0.0/12",),
        ),
    ),
    (
        "services: everything is not announced",
        {"serviceExternalIPs": [{"cidr": "0.0.0.0/0"}]},
        BgpConfiguration(
            service_cidrs=("0.0.0.0/0",),
            faults=(
                "serviceExternalIPs: 0.0.0.0/0 is every address there is, and is not announced",
            ),
        ),
    ),
]


@pytest.mark.parametrize(
    ("spec", "expected"), [c[1:] for c in CONFIGURATIONS], ids=[c[0] for c in CONFIGURATIONS]
)
def test_configurations(spec: dict[str, Any], expected: BgpConfiguration) -> None:
    assert both("BGPConfiguration", spec) == ((BgpConfigurationKey("ok"), expected),)


@pytest.mark.parametrize(
    ("level", "expected"),
    [
        ("Debug", "debug"),
        ("INFO", "states"),
        ("Trace", "none"),
        ("Warning", "none"),
        ("error", "none"),
        ("Fatal", "none"),
    ],
)
def test_log_levels(level: str, expected: str) -> None:
    ((_, value),) = both("BGPConfiguration", {"logSeverityScreen": level})
    assert value.log == expected


def test_a_word_of_a_later_version_is_said_and_passed_over() -> None:
    ((_, value),) = stored("BGPConfiguration", {"programClusterRoutes": "EnabledVXLANOnly"})
    assert value.program_routes is None
    assert value.faults == (
        "programClusterRoutes: 'EnabledVXLANOnly' is not known, and counts as not given",
    )


BAD_CONFIGURATIONS: list[tuple[dict[str, Any], str]] = [
    (
        {"prefixAdvertisements": [{"cidr": "10.65.0.0/16", "communities": ["blue"]}]},
        "spec.prefixAdvertisements[0].communities[0]",
    ),
    (
        {
            "communities": [{"name": "a", "value": "1:1"}, {"name": "a", "value": "1:2"}],
            "prefixAdvertisements": [],
        },
        "spec.communities[1].name: 'a' is defined twice",
    ),
    ({"nodeMeshPassword": {}}, "spec.nodeMeshPassword.secretKeyRef: must be given"),
    (
        {"nodeMeshPassword": {"secretKeyRef": {"key": "k"}}},
        "spec.nodeMeshPassword.secretKeyRef.name",
    ),
    (
        {"nodeMeshPassword": {"secretKeyRef": {"name": "../etc", "key": "k"}}},
        "spec.nodeMeshPassword.secretKeyRef.name",
    ),
    (
        {"nodeMeshPassword": {"secretKeyRef": {"name": "a", "key": ".."}}},
        "spec.nodeMeshPassword.secretKeyRef.key",
    ),
    ({"nodeMeshMaxRestartTime": "-1s"}, "spec.nodeMeshMaxRestartTime"),
    ({"ignoredInterfaces": ['a";']}, "spec.ignoredInterfaces[0]"),
    ({"ignoredInterfaces": ["*"]}, "spec.ignoredInterfaces[0]"),
    ({"listenPort": 65536}, "spec.listenPort"),
    ({"bindMode": "Here"}, "spec.bindMode: must be one of None, NodeIP, not 'Here'"),
    ({"asNumber": 2**32}, "spec.asNumber"),
    ({"ipv4NormalRoutePriority": 2**31}, "spec.ipv4NormalRoutePriority"),
]


@pytest.mark.parametrize(("spec", "text"), BAD_CONFIGURATIONS)
def test_what_no_configuration_can_say(spec: dict[str, Any], text: str) -> None:
    assert text in refused("BGPConfiguration", spec)
    with pytest.raises(InvalidResourceError):
        decode_manifest(document("BGPConfiguration", spec))


REMAINDERS: list[tuple[str, bytes, SecretRef | None]] = [
    ("no password", b'{"spec": {"asNumber": -1}}', None),
    ("not JSON, and no password", b"{", None),
    (
        "it is kept",
        b'{"spec": {"asNumber": -1,'
        b' "nodeMeshPassword": {"secretKeyRef": {"name": "bgp", "key": "mesh"}}}}',
        SecretRef("bgp", "mesh"),
    ),
    ("it cannot be read", b'{"spec": {"nodeMeshPassword": {"secretKeyRef": 1', UNREADABLE),
    ("it names nothing", b'{"spec": {"nodeMeshPassword": {}}}', UNREADABLE),
    (
        "it names what is no name",
        b'{"spec": {"nodeMeshPassword": {"secretKeyRef": {"name": "../a", "key": "b"}}}}',
        UNREADABLE,
    ),
    ("nested deeply", b'{"nodeMeshPassword":' * 100_000, UNREADABLE),
    ("not text", b'{"nodeMeshPassword": "\xff"}', UNREADABLE),
]


@pytest.mark.parametrize(
    ("raw", "password"), [c[1:] for c in REMAINDERS], ids=[c[0] for c in REMAINDERS]
)
def test_a_bad_configuration_leaves_the_mesh_its_password(
    raw: bytes, password: SecretRef | None
) -> None:
    with pytest.raises(InvalidResourceError):
        decode_stored("BGPConfiguration", "", "default", raw)
    left = remainder("BGPConfiguration", "", "default", raw)
    expected = BgpConfiguration(mesh_password=password)
    assert left == (((BgpConfigurationKey("default"), expected),) if password else ())


# ---------------------------------------------------------------- BGPPeer

TOR = {"peerIP": "10.0.0.254", "asNumber": 65001}
_TOR = BgpPeer(address="10.0.0.254", as_number=65001)
PEERS: list[tuple[str, dict[str, Any], BgpPeer]] = [
    ("global", TOR, _TOR),
    (
        "with a port",
        {"peerIP": "10.0.0.254:1790", "asNumber": "1.0"},
        BgpPeer(address="10.0.0.254", port=1790, as_number=65536),
    ),
    (
        "IPv6, not as one would write it",
        {"peerIP": "FD00:0:0::FE", "asNumber": 1},
        BgpPeer(address="fd00::fe", as_number=1),
    ),
    (
        "IPv6 with a port",
        {"peerIP": "[fd00:0::fe]:179", "asNumber": 1},
        BgpPeer(address="fd00::fe", port=179, as_number=1),
    ),
    (
        "as the text on passwords has it",
        {
            "peerIP": "192.20.30.40",
            "asNumber": 64567,
            "password": {"secretKeyRef": {"name": "bgp-secrets", "key": "rr-password"}},
        },
        BgpPeer(
            address="192.20.30.40",
            as_number=64567,
            password=SecretRef("bgp-secrets", "rr-password"),
        ),
    ),
    ("a node", {**TOR, "node": "n1"}, BgpPeer(node="n1", address="10.0.0.254", as_number=65001)),
    (
        "selectors",
        {"nodeSelector": "rack == 'a'", "peerSelector": "has(rr)"},
        BgpPeer(node_selector="rack == 'a'", peer_selector="has(rr)"),
    ),
    (
        "workloads",
        {"localWorkloadSelector": "all()", "asNumber": 65010, "filters": ["in", "out"]},
        BgpPeer(workload_selector="all()", as_number=65010, filters=("in", "out")),
    ),
    (
        "everything else",
        {
            **TOR,
            "localASNumber": 65002,
            "nextHopMode": "Self",
            "sourceAddress": "None",
            "maxRestartTime": "1499ms",
            "keepaliveTime": "20s",
            "numAllowedLocalASNumbers": 2,
            "ttlSecurity": 1,
            "reachableBy": "10.0.0.1",
            "reversePeering": "Manual",
        },
        BgpPeer(
            address="10.0.0.254",
            as_number=65001,
            local_as=65002,
            next_hop="self",
            use_node_address=False,
            restart_seconds=1,
            keepalive_seconds=20,
            allow_local_as=2,
            ttl_security=1,
            reachable_by="10.0.0.1",
            mirrored=False,
        ),
    ),
]


@pytest.mark.parametrize(("spec", "expected"), [c[1:] for c in PEERS], ids=[c[0] for c in PEERS])
def test_peers(spec: dict[str, Any], expected: BgpPeer) -> None:
    assert both("BGPPeer", spec) == ((BgpPeerKey("ok"), expected),)


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, "auto"),
        ({"nextHopMode": "Auto"}, "auto"),
        ({"nextHopMode": "Keep"}, "keep"),
        ({"keepOriginalNextHop": True}, "keep-ebgp"),
    ],
)
def test_next_hops(fields: dict[str, Any], expected: str) -> None:
    ((_, value),) = both("BGPPeer", {**TOR, **fields})
    assert value.next_hop == expected


BAD_PEERS: list[tuple[dict[str, Any], str]] = [
    ({"peerIP": "10.0.0.1; import all"}, "spec.peerIP"),
    ({"peerIP": "10.0.0.1:0"}, "spec.peerIP"),
    ({"peerIP": "10.0.0.1:65536"}, "spec.peerIP"),
    ({"peerIP": "0.0.0.0"}, "spec.peerIP: must be the address of one host, not 0.0.0.0"),
    ({"peerIP": "::"}, "spec.peerIP"),
    ({"peerIP": "224.0.0.5"}, "spec.peerIP"),
    ({"peerIP": "255.255.255.255"}, "spec.peerIP"),
    ({"peerIP": "ff02::5"}, "spec.peerIP"),
    ({"peerIP": "fe80::1"}, "spec.peerIP: fe80::1: BIRD needs an interface"),
    ({**TOR, "node": "n1", "nodeSelector": "all()"}, "spec.nodeSelector"),
    ({**TOR, "peerSelector": "all()"}, "spec.peerSelector"),
    ({"peerSelector": "all()", "reachableBy": "10.0.0.1"}, "spec.reachableBy"),
    ({**TOR, "reachableBy": "fd00::1"}, "spec.reachableBy"),
    ({**TOR, "localWorkloadSelector": "all()"}, "spec.peerIP"),
    ({"localWorkloadSelector": "all()"}, "spec.asNumber"),
    ({"peerSelector": "a ="}, "spec.peerSelector"),
    ({**TOR, "ttlSecurity": 0}, "spec.ttlSecurity: must be a number of hops from 1 to 255, not 0"),
    ({**TOR, "ttlSecurity": 256}, "spec.ttlSecurity"),
    ({**TOR, "numAllowedLocalASNumbers": -1}, "spec.numAllowedLocalASNumbers"),
    ({**TOR, "numAllowedLocalASNumbers": 2**31}, "spec.numAllowedLocalASNumbers"),
    ({**TOR, "maxRestartTime": "-1s"}, "spec.maxRestartTime"),
    ({**TOR, "keepaliveTime": "300ms"}, "spec.keepaliveTime: must be from 1s to 21845s"),
    ({**TOR, "keepaliveTime": "6h5m"}, "spec.keepaliveTime"),
    ({**TOR, "password": {}}, "spec.password.secretKeyRef: must be given"),
    ({**TOR, "nextHopMode": "Elsewhere"}, "spec.nextHopMode"),
    ({**TOR, "sourceAddress": "Any"}, "spec.sourceAddress"),
    ({**TOR, "reversePeering": "Maybe"}, "spec.reversePeering"),
    ({**TOR, "filters": ['x"; accept']}, "spec.filters[0]"),
    ({**TOR, "localASNumber": "65536.1"}, "spec.localASNumber"),
]


@pytest.mark.parametrize(("spec", "text"), BAD_PEERS)
def test_what_no_peer_can_be(spec: dict[str, Any], text: str) -> None:
    assert text in refused("BGPPeer", spec)
    with pytest.raises(InvalidResourceError):
        decode_manifest(document("BGPPeer", spec))


# ---------------------------------------------------------------- BGPFilter

NET = {"cidr": "10.65.0.0/16", "matchOperator": "In"}
RULES: list[tuple[dict[str, Any], FilterRule]] = [
    ({}, FilterRule(True)),
    ({"action": "Reject"}, FilterRule(False)),
    (NET, FilterRule(True, "10.65.0.0/16", "in")),
    ({**NET, "matchOperator": "NotEqual"}, FilterRule(True, "10.65.0.0/16", "not-equal")),
    ({**NET, "matchOperator": "Equal"}, FilterRule(True, "10.65.0.0/16", "equal")),
    ({**NET, "matchOperator": "NotIn"}, FilterRule(True, "10.65.0.0/16", "not-in")),
    ({**NET, "prefixLength": {}}, FilterRule(True, "10.65.0.0/16", "in", (16, 32))),
    ({**NET, "prefixLength": {"max": 8}}, FilterRule(True, "10.65.0.0/16", "in", (16, 8))),
    ({**NET, "prefixLength": {"min": 4}}, FilterRule(True, "10.65.0.0/16", "in", (4, 32))),
    ({"source": "RemotePeers"}, FilterRule(True, remote_peers=True)),
    ({"interface": "eth*"}, FilterRule(True, interface="eth*")),
    ({"peerType": "eBGP"}, FilterRule(True, peer_type="ebgp")),
    ({"peerType": "iBGP"}, FilterRule(True, peer_type="ibgp")),
    ({"communities": {"values": ["065000:01"]}}, FilterRule(True, community="65000:1")),
    ({"asPathPrefix": [65001, "1.0"]}, FilterRule(True, path_prefix=(65001, 65536))),
    ({"priority": 512}, FilterRule(True, priority=512)),
    (
        {
            "operations": [
                {"addCommunity": {"value": "1:02:3"}},
                {"prependASPath": {"prefix": [65001, 65002]}},
                {"setPriority": {"value": 100}},
            ]
        },
        FilterRule(
            True,
            operations=(AddCommunity("1:2:3"), PrependPath((65001, 65002)), SetPriority(100)),
        ),
    ),
]


@pytest.mark.parametrize(("rule", "expected"), RULES)
def test_rules(rule: dict[str, Any], expected: FilterRule) -> None:
    rule = {"action": "Accept", **rule}
    value = BgpFilter(import_v4=(expected,), export_v4=(expected, expected))
    spec = {"importV4": [rule], "exportV4": [rule, rule]}
    assert both("BGPFilter", spec) == ((BgpFilterKey("ok"), value),)


def test_rules_of_ipv6() -> None:
    rule = {
        "action": "Reject",
        "cidr": "FD65:0::/48",
        "matchOperator": "In",
        "prefixLength": {"min": 122},
    }
    expected = FilterRule(False, "fd65::/48", "in", (122, 128))
    value = BgpFilter(import_v6=(expected,), export_v6=(expected,))
    spec = {"importV6": [rule], "exportV6": [rule]}
    assert both("BGPFilter", spec) == ((BgpFilterKey("ok"), value),)


BAD_RULES: list[tuple[dict[str, Any], str]] = [
    ({"action": "Log"}, "spec.importV4[0].action"),
    ({"cidr": "10.0.0.0/8"}, "spec.importV4[0].matchOperator"),
    ({"matchOperator": "In"}, "spec.importV4[0].cidr"),
    ({"prefixLength": {"min": 8}}, "spec.importV4[0].prefixLength"),
    ({**NET, "cidr": "fd65::/48"}, "spec.importV4[0].cidr"),
    ({**NET, "cidr": "10.0.0.1/8"}, "spec.importV4[0].cidr"),
    ({**NET, "matchOperator": "Near"}, "spec.importV4[0].matchOperator"),
    ({**NET, "prefixLength": {"max": 33}}, "spec.importV4[0].prefixLength.max"),
    ({"source": "Everybody"}, "spec.importV4[0].source"),
    ({"interface": 'eth0" then accept'}, "spec.importV4[0].interface"),
    ({"peerType": "xBGP"}, "spec.importV4[0].peerType"),
    ({"communities": {"values": []}}, "spec.importV4[0].communities.values"),
    ({"communities": {"values": ["65536:1"]}}, "spec.importV4[0].communities.values[0]"),
    ({"asPathPrefix": [-1]}, "spec.importV4[0].asPathPrefix[0]"),
    ({"priority": 0}, "spec.importV4[0].priority"),
    ({"priority": 2**31 - 1}, "spec.importV4[0].priority"),
    ({"operations": [{}]}, "spec.importV4[0].operations[0]"),
    (
        {"action": "Reject", "operations": [{"setPriority": {"value": 1}}]},
        "spec.importV4[0].operations",
    ),
    (
        {"operations": [{"prependASPath": {"prefix": []}}]},
        "spec.importV4[0].operations[0].prependASPath.prefix",
    ),
    (
        {"operations": [{"prependASPath": {"prefix": [1] * 11}}]},
        "spec.importV4[0].operations[0].prependASPath.prefix",
    ),
    ({"operations": [{"setPriority": {"value": 1}}] * 11}, "spec.importV4[0].operations"),
]


@pytest.mark.parametrize(("rule", "text"), BAD_RULES)
def test_a_rule_never_loses_a_condition(rule: dict[str, Any], text: str) -> None:
    spec = {"importV4": [{"action": "Accept", **rule}]}
    assert text in refused("BGPFilter", spec)
    with pytest.raises(InvalidResourceError):
        decode_manifest(document("BGPFilter", spec))


# ---------------------------------------------------------------- beside BGP's own resources


def test_what_bgp_asks_of_nodes_and_pools() -> None:
    spec = {"bgp": {"asNumber": "1.1", "routeReflectorClusterID": "244.0.0.1"}}
    ((_, node),) = both("Node", spec)
    assert node == Node(as_number=65537, cluster_id="244.0.0.1")
    ((_, pool),) = both("IPPool", {"cidr": "10.65.0.0/16", "disableBGPExport": True})
    assert pool == IpPool("10.65.0.0/16", bgp_export=False)


def test_a_reflector_with_an_unreadable_id_is_no_node_of_the_mesh() -> None:
    assert "routeReflectorClusterID" in refused("Node", {"bgp": {"routeReflectorClusterID": "x"}})


def test_who_wants_to_know_how_a_node_is() -> None:
    spec = {"node": "n1", "classes": ["Routes", "Agent"], "updatePeriodSeconds": 10}
    expected = NodeStatusRequest("n1", ("Agent", "Routes"), 10)
    assert both("CalicoNodeStatus", spec) == ((NodeStatusKey("ok"), expected),)


@pytest.mark.parametrize(
    "change",
    [
        {"classes": ["Weather"]},
        {"classes": []},
        {"updatePeriodSeconds": -1},
        {"updatePeriodSeconds": 86401},
        {"node": ""},
    ],
)
def test_wishes_that_cannot_be_granted(change: dict[str, Any]) -> None:
    refused(
        "CalicoNodeStatus", {"node": "n1", "classes": ["BGP"], "updatePeriodSeconds": 1} | change
    )


AFFINITIES: list[tuple[str, bytes, Any]] = [
    ("empty", b"", "confirmed"),
    ("blank", b" \n", "confirmed"),
    ("without a state", b"{}", "confirmed"),
    ("null", b'{"state": null}', "confirmed"),
    ("confirmed", b'{"state": "confirmed", "deleted": false}', "confirmed"),
    ("pending", b'{"state": "pending"}', "pending"),
    ("going", b'{"state": "pendingDeletion", "tomorrow": 1}', "pendingDeletion"),
    ("gone", b'{"state": "confirmed", "deleted": true}', None),
]


@pytest.mark.parametrize(
    ("raw", "state"), [c[1:] for c in AFFINITIES], ids=[c[0] for c in AFFINITIES]
)
def test_affinities_as_ipam_stores_them(raw: bytes, state: Any) -> None:
    for name, cidr in (("10.65.1.0-26", "10.65.1.0/26"), ("fd65::1:0-122", "fd65::1:0/122")):
        expected = ((BlockAffinityKey("n1", cidr), BlockAffinity(state)),) if state else ()
        assert decode_stored("BlockAffinity", "n1", name, raw) == expected


@pytest.mark.parametrize(
    ("host", "name", "raw"),
    [
        ("n1", "10.65.1.1-26", b""),
        ("n1", "10.65.1.0", b""),
        ("n1", "block", b""),
        ('n"1', "10.65.1.0-26", b""),
        ("", "10.65.1.0-26", b""),
        ("n1", "10.65.1.0-26", b'{"state": "wanted"}'),
        ("n1", "10.65.1.0-26", b'{"deleted": "no"}'),
        ("n1", "10.65.1.0-26", b"{"),
        ("n1", "10.65.1.0-26", b"\xff"),
        ("n1", "10.65.1.0-26", b'{"x":' * 100_000),
    ],
)
def test_what_is_no_affinity_counts_as_absent(host: str, name: str, raw: bytes) -> None:
    with pytest.raises(InvalidResourceError):
        decode_stored("BlockAffinity", host, name, raw)


AFFINITY = {"cidr": "10.65.1.0/26", "node": "n1", "state": "confirmed"}


@pytest.mark.parametrize(
    ("change", "state"),
    [
        ({}, "confirmed"),
        ({"state": "pendingDeletion", "type": "host"}, "pendingDeletion"),
        ({"state": "", "cidr": "10.65.1.0/26"}, "confirmed"),
        ({"type": "virtual"}, None),
    ],
)
def test_affinities_in_manifests(change: dict[str, Any], state: Any) -> None:
    changes = decode_manifest(document("BlockAffinity", AFFINITY | change)).changes
    key = BlockAffinityKey("n1", "10.65.1.0/26")
    assert changes == (((key, BlockAffinity(state)),) if state else ())


@pytest.mark.parametrize(
    "change", [{"node": ""}, {"cidr": "10.65.1.1/26"}, {"type": "house"}, {"state": "wanted"}]
)
def test_what_is_no_affinity_in_a_manifest(change: dict[str, Any]) -> None:
    with pytest.raises(InvalidResourceError):
        decode_manifest(document("BlockAffinity", AFFINITY | change))
