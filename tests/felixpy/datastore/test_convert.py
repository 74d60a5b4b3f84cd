"""What resources mean to the graph, kind by kind."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from calc_graph.model import (
    ClusterInformation,
    EndpointPort,
    HostEndpoint,
    HostEndpointKey,
    Icmp,
    IpPool,
    IpPoolKey,
    NatMapping,
    NetworkSet,
    NetworkSetKey,
    Node,
    NodeKey,
    Peer,
    Policy,
    PolicyKey,
    PortRange,
    Profile,
    ProfileKey,
    QosControls,
    Rule,
    WorkloadEndpoint,
    WorkloadEndpointKey,
)
from calc_graph.selector import parse
from felixpy.datastore.decode import InvalidResourceError, decode_manifest

NS = "projectcalico.org/namespace"
SA = "projectcalico.org/serviceaccount"
SEL = "a == 'b'"


def changes(kind: str, spec: dict[str, Any], **metadata: Any) -> Any:
    document = {
        "apiVersion": "projectcalico.org/v3",
        "kind": kind,
        "metadata": {"name": "ok", **metadata},
        "spec": spec,
    }
    return decode_manifest(document).changes


def value(kind: str, spec: dict[str, Any], **metadata: Any) -> Any:
    ((_, only),) = changes(kind, spec, **metadata)
    return only


def ingress_rule(rule: dict[str, Any], namespace: str = "") -> Rule:
    spec = {"ingress": [{"action": "Allow", **rule}]}
    if namespace:
        policy = value("NetworkPolicy", spec, namespace=namespace)
    else:
        policy = value("GlobalNetworkPolicy", spec)
    (only,) = policy.ingress
    assert isinstance(only, Rule)
    return only


# ------------------------------------------------------------------ selectors of rules

# The sets that the original makes of these, by the canonical selector and its identifier.
SETS = [
    (
        "selector",
        {"selector": SEL},
        "prod",
        f'({NS} == "prod" && a == "b")',
        "s:ARXRr0TebnXeyLAY9gMyVjgMHUL0yzR94Rciaw",
    ),
    (
        "notSelector",
        {"notSelector": SEL},
        "prod",
        f'({NS} == "prod" && !a == "b")',
        "s:QcUd5ztVShWVD_J3uGAaibixxM-ZoiEsxBLPsQ",
    ),
    (
        "both, global",
        {"selector": SEL, "notSelector": "c == 'd'"},
        "",
        '(a == "b" && !c == "d")',
        "s:y8s-rg2KnoC0a-DBAotO9uojLdJUkCh4kauw1w",
    ),
    (
        "namespaceSelector",
        {"namespaceSelector": "env == 'x'"},
        "prod",
        'pcns.env == "x"',
        "s:hd8MBnMDvJuZMYp8FTlxo2D2o9akrK5oJjENJg",
    ),
    (
        "every namespace",
        {"namespaceSelector": "all()", "selector": SEL},
        "prod",
        f'(has({NS}) && a == "b")',
        "s:9eeAwAIT2R7waAv3_tjfGaQpHFPs0MTd6KXGyA",
    ),
    (
        "no namespace",
        {"namespaceSelector": "global()", "selector": SEL},
        "prod",
        f'(!has({NS}) && a == "b")',
        "s:e8y5YPBeDgrstcFpHbv4JqgvYOkRiysJaeK6nA",
    ),
    (
        "service accounts",
        {"serviceAccounts": {"names": ["s2", "s1"], "selector": "k == 'v'"}},
        "prod",
        f'({NS} == "prod" && (pcsa.k == "v" && {SA} in {{"s1", "s2"}}))',
        "s:JKv80j5MkIfonD94I-8VInoZIQPhJOY-48hifg",
    ),
]


@pytest.mark.parametrize(
    ("entity", "namespace", "canonical", "identifier"),
    [case[1:] for case in SETS],
    ids=[case[0] for case in SETS],
)
@pytest.mark.parametrize("side", ["source", "destination"])
def test_entity_selectors(
    side: str, entity: dict[str, Any], namespace: str, canonical: str, identifier: str
) -> None:
    rule = ingress_rule({side: entity}, namespace)
    peer = rule.source if side == "source" else rule.destination
    text = peer.selector
    if peer.not_selector:
        text = f"({text}) && (!({peer.not_selector}))"
    selector = parse(text)
    assert (selector.canonical, selector.id) == (canonical, identifier)


def test_a_negated_selector_alone_stays_alone_in_a_global_policy() -> None:
    peer = ingress_rule({"source": {"notSelector": SEL}}).source
    assert peer == Peer(not_selector=SEL)


def test_a_rule_without_selectors_is_not_limited_to_its_namespace() -> None:
    rule = {
        "protocol": "TCP",
        "destination": {"ports": ["http", 80, "1:2"], "nets": ["10.0.0.0/8"]},
    }
    assert ingress_rule(rule, "prod").destination == Peer(
        nets=("10.0.0.0/8",),
        ports=(PortRange(80, 80), PortRange(1, 2)),
        named_ports=("http",),
    )


ACCOUNT_NAMES = [
    (["s1"], f'{SA} in {{"s1"}}'),
    (["it's"], f'{SA} in {{"it\'s"}}'),
    (['say "hi"'], f"{SA} in {{'say \"hi\"'}}"),
]


@pytest.mark.parametrize(("names", "selector"), ACCOUNT_NAMES)
def test_names_of_service_accounts(names: list[str], selector: str) -> None:
    assert (
        ingress_rule({"source": {"serviceAccounts": {"names": names}}}).source.selector == selector
    )


def test_a_name_that_cannot_be_quoted_is_refused() -> None:
    with pytest.raises(InvalidResourceError) as caught:
        ingress_rule({"source": {"serviceAccounts": {"names": ["'\""]}}})
    assert caught.value.path == ("spec", "ingress", 0, "source", "serviceAccounts", "names", 0)


def test_parts_that_are_too_deep_together_are_refused() -> None:
    deep = "(" * 100 + SEL + ")" * 100
    ingress_rule({"source": {"selector": deep}})
    with pytest.raises(InvalidResourceError):
        ingress_rule({"source": {"selector": deep, "namespaceSelector": "(" + SEL + ")"}})


# ------------------------------------------------------------------ rules

RULES = [
    ({}, Rule("allow")),
    ({"action": "Pass"}, Rule("pass")),
    ({"action": "Log"}, Rule("log")),
    ({"ipVersion": 6}, Rule("allow", ip_version=6)),
    ({"protocol": "UDPLite"}, Rule("allow", protocol="udplite")),
    ({"protocol": "6"}, Rule("allow", protocol=6)),
    ({"notProtocol": 50}, Rule("allow", not_protocol=50)),
    (
        {"protocol": "ICMP", "icmp": {"type": 8}, "notICMP": {"type": 3, "code": 4}},
        Rule("allow", protocol="icmp", icmp=Icmp(8), not_icmp=Icmp(3, 4)),
    ),
    ({"protocol": "ICMP", "icmp": {}}, Rule("allow", protocol="icmp")),
    (
        {"metadata": {"annotations": {"b": "2", "a": "1"}}},
        Rule("allow", annotations=(("a", "1"), ("b", "2"))),
    ),
    (
        {"source": {"services": {"name": "web", "namespace": "prod"}}},
        Rule("allow", source=Peer(service="prod/web")),
    ),
    (
        {"source": {"nets": ["fd00:0::/16"], "notNets": ["fd00:1::/32"]}},
        Rule("allow", source=Peer(nets=("fd00::/16",), not_nets=("fd00:1::/32",))),
    ),
    (
        {"protocol": "SCTP", "source": {"notPorts": ["a", 5]}},
        Rule(
            "allow",
            protocol="sctp",
            source=Peer(not_ports=(PortRange(5, 5),), not_named_ports=("a",)),
        ),
    ),
    ({"http": {"methods": ["GET"]}}, Rule("allow")),
]


@pytest.mark.parametrize(("rule", "expected"), RULES)
def test_rules(rule: dict[str, Any], expected: Rule) -> None:
    assert ingress_rule(rule) == expected


def test_a_service_is_looked_for_in_the_policy_s_own_namespace() -> None:
    assert (
        ingress_rule({"source": {"services": {"name": "web"}}}, "prod").source.service == "prod/web"
    )


# ------------------------------------------------------------------ policies

GLOBAL_SELECTORS = [
    ({}, ""),
    ({"selector": SEL}, SEL),
    ({"namespaceSelector": "env == 'x'"}, 'pcns.env == "x"'),
    ({"selector": "all()", "namespaceSelector": "env == 'x'"}, f'(has({NS})) && pcns.env == "x"'),
    ({"selector": SEL, "namespaceSelector": "all()"}, f"({SEL}) && has({NS})"),
    (
        {"selector": SEL, "namespaceSelector": "env == 'x'", "serviceAccountSelector": "k == 'v'"},
        f'(({SEL}) && pcns.env == "x") && pcsa.k == "v"',
    ),
    ({"selector": SEL, "serviceAccountSelector": "all()"}, f"({SEL}) && has({SA})"),
]


@pytest.mark.parametrize(("spec", "selector"), GLOBAL_SELECTORS)
def test_selectors_of_global_policies(spec: dict[str, Any], selector: str) -> None:
    assert value("GlobalNetworkPolicy", spec).selector == selector


NAMESPACED_SELECTORS = [
    ({}, f"{NS} == 'prod'"),
    ({"selector": SEL}, f"({SEL}) && {NS} == 'prod'"),
    (
        {"selector": SEL, "serviceAccountSelector": "k == 'v'"},
        f"(({SEL}) && {NS} == 'prod') && pcsa.k == \"v\"",
    ),
]


@pytest.mark.parametrize(("spec", "selector"), NAMESPACED_SELECTORS)
@pytest.mark.parametrize("kind", ["NetworkPolicy", "StagedNetworkPolicy"])
def test_selectors_of_namespaced_policies(kind: str, spec: dict[str, Any], selector: str) -> None:
    assert value(kind, spec, namespace="prod").selector == selector


def test_every_field_of_a_global_policy() -> None:
    spec = {
        "tier": "security",
        "order": 2.5,
        "selector": SEL,
        "types": ["Ingress"],
        "ingress": [{"action": "Deny"}],
        "doNotTrack": True,
        "applyOnForward": True,
        "performanceHints": ["AssumeNeededOnEveryNode"],
    }
    expected = Policy(
        tier="security",
        selector=SEL,
        order=2.5,
        ingress=(Rule("deny"),),
        applies_ingress=True,
        applies_egress=False,
        do_not_track=True,
        apply_on_forward=True,
        needed_everywhere=True,
    )
    assert changes("GlobalNetworkPolicy", spec) == (
        (PolicyKey("GlobalNetworkPolicy", "", "ok"), expected),
    )


STAGED = ["StagedNetworkPolicy", "StagedGlobalNetworkPolicy", "StagedKubernetesNetworkPolicy"]


@pytest.mark.parametrize("kind", STAGED)
def test_staged_policies(kind: str) -> None:
    ((key, _),) = changes(kind, {"stagedAction": "Set"})
    assert key.kind == kind
    assert key.staged
    assert changes(kind, {"stagedAction": "Delete"}) == ()


def test_a_staged_kubernetes_policy_becomes_one_of_ours() -> None:
    spec = {
        "podSelector": {
            "matchLabels": {"b": "2", "a": "1"},
            "matchExpressions": [
                {"key": "c", "operator": "In", "values": ["x", "y"]},
                {"key": "d", "operator": "NotIn", "values": ["z"]},
                {"key": "e", "operator": "Exists"},
                {"key": "f", "operator": "DoesNotExist"},
            ],
        },
        "policyTypes": ["Ingress", "Egress"],
        "ingress": [
            {
                "ports": [{"port": 80}, {"protocol": "UDP", "port": 53, "endPort": 54}],
                "from": [
                    {"podSelector": {}},
                    {"namespaceSelector": {}},
                    {"ipBlock": {"cidr": "10.0.0.0/8", "except": ["10.1.0.0/16"]}},
                ],
            }
        ],
        "egress": [{}],
    }
    pods = "projectcalico.org/orchestrator == 'k8s'"
    here = f"({NS} == 'prod') && ({pods})"
    anywhere = f"(has({NS})) && ({pods})"
    block = Peer(nets=("10.0.0.0/8",), not_nets=("10.1.0.0/16",))
    sources = (Peer(selector=here), Peer(selector=anywhere), block)
    expected = Policy(
        tier="default",
        selector=(
            f"({pods} && a == '1' && b == '2' && c in {{ 'x', 'y' }} && d not in {{ 'z' }} "
            f"&& has(e) && !has(f)) && {NS} == 'prod'"
        ),
        order=1000.0,
        ingress=tuple(
            Rule("allow", protocol=protocol, source=source, destination=Peer(ports=ports))
            for protocol, ports in (
                ("tcp", (PortRange(80, 80),)),
                ("udp", (PortRange(53, 54),)),
            )
            for source in sources
        ),
        egress=(Rule("allow"),),
    )
    assert value("StagedKubernetesNetworkPolicy", spec, namespace="prod") == expected


BAD_KUBERNETES = [
    {"podSelector": {"matchLabels": {"a b": "c"}}},
    {"podSelector": {"matchLabels": {"a": "it's"}}},
    {"podSelector": {"matchExpressions": [{"key": "a", "operator": "Like"}]}},
    {"ingress": [{"ports": [{"port": "http", "endPort": 80}]}]},
    {"ingress": [{"ports": [{"port": 90, "endPort": 80}]}]},
    {"ingress": [{"from": [{"ipBlock": {"cidr": "bad"}}]}]},
    {"egress": [{"to": [{"ipBlock": {"cidr": "10.0.0.0/8", "except": ["bad"]}}]}]},
]


@pytest.mark.parametrize("spec", BAD_KUBERNETES)
def test_kubernetes_policies_that_mean_nothing(spec: dict[str, Any]) -> None:
    with pytest.raises(InvalidResourceError):
        changes("StagedKubernetesNetworkPolicy", spec)


def test_ports_without_a_number_are_all_ports() -> None:
    spec = {"ingress": [{"ports": [{"protocol": "TCP"}, {"port": 80}]}]}
    (rule,) = value("StagedKubernetesNetworkPolicy", spec).ingress
    assert rule == Rule("allow", protocol="tcp")


def test_profile() -> None:
    spec = {"labelsToApply": {"a": "b"}, "ingress": [{"action": "Allow"}], "egress": []}
    assert changes("Profile", spec) == (
        (ProfileKey("ok"), Profile(ingress=(Rule("allow"),), labels={"a": "b"})),
    )


# ------------------------------------------------------------------ endpoints and sets


def test_every_field_of_a_workload_endpoint() -> None:
    spec = {
        "interfaceName": "cali1",
        "ipNetworks": ["10.65.0.2", "fd65:0::2/128"],
        "ipNATs": [{"internalIP": "10.65.0.2", "externalIP": "192.0.2.1"}],
        "ipv4Gateway": "10.65.0.1",
        "mac": "EE-ee-EE-ee-EE-01",
        "profiles": ["b", "a"],
        "ports": [
            {"name": "web", "protocol": "TCP", "port": 80},
            {"protocol": "TCP", "port": 81, "hostPort": 8081},
        ],
        "allowSpoofedSourcePrefixes": ["10.0.0.1/8"],
        "qosControls": {"ingressPacketRate": 10, "egressMaxConnections": 5, "egressBandwidth": 9},
    }
    labels = {"a": "b", "pcns.x": "1", "pcsa.y": "2"}
    expected = WorkloadEndpoint(
        interface="cali1",
        nets=("10.65.0.2/32", "fd65::2/128"),
        labels={"a": "b", NS: "prod", "projectcalico.org/orchestrator": "k8s"},
        profiles=("b", "a"),
        mac="ee:ee:ee:ee:ee:01",
        ports=(EndpointPort("web", "tcp", 80),),
        nats=(NatMapping("192.0.2.1", "10.65.0.2"),),
        spoofable_sources=("10.0.0.0/8",),
        qos=QosControls(ingress_packet_rate=10, egress_max_connections=5),
    )
    name = "node--1-k8s-web--0-eth0"
    assert changes("WorkloadEndpoint", spec, name=name, namespace="prod", labels=labels) == (
        (WorkloadEndpointKey("node-1", "k8s", "prod/web-0", "eth0"), expected),
    )


def test_an_endpoint_without_addresses_means_nothing_yet() -> None:
    assert changes("WorkloadEndpoint", {"interfaceName": "cali1"}, name="n-k8s-p-eth0") == ()


def test_an_endpoint_s_port_must_name_its_protocol() -> None:
    port = {"name": "web", "protocol": 6, "port": 80}
    spec = {"interfaceName": "cali1", "ipNetworks": ["10.0.0.1/32"], "ports": [port]}
    with pytest.raises(InvalidResourceError) as caught:
        changes("WorkloadEndpoint", spec, name="n-k8s-p-eth0")
    assert caught.value.path == ("spec", "ports", 0, "protocol")


def test_host_endpoint() -> None:
    spec = {
        "node": "n1",
        "interfaceName": "*",
        "expectedIPs": ["10.0.0.1", "fd00:0::1"],
        "profiles": ["p"],
        "ports": [{"name": "ssh", "protocol": "TCP", "port": 22}],
    }
    expected = HostEndpoint(
        interface="*",
        expected_ips=("10.0.0.1", "fd00::1"),
        labels={"a": "b"},
        profiles=("p",),
        ports=(EndpointPort("ssh", "tcp", 22),),
    )
    assert changes("HostEndpoint", spec, labels={"a": "b"}) == (
        (HostEndpointKey("n1", "ok"), expected),
    )


def test_network_sets() -> None:
    spec = {"nets": ["10.0.0.1", "10.0.0.1/8", "fd00::/8", "10.0.0.0/8"]}
    nets = ("10.0.0.0/8", "10.0.0.1/32", "fd00::/8")
    assert changes("GlobalNetworkSet", spec, labels={"a": "b"}) == (
        (NetworkSetKey("ok"), NetworkSet(nets, {"a": "b"})),
    )
    assert changes("NetworkSet", spec, namespace="prod", labels={"a": "b"}) == (
        (NetworkSetKey("prod/ok"), NetworkSet(nets, {"a": "b", NS: "prod"}, ("kns.prod",))),
    )


# ------------------------------------------------------------------ the cluster


def test_pool() -> None:
    spec = {
        "cidr": "10.65.0.0/16",
        "natOutgoing": True,
        "vxlanMode": "CrossSubnet",
        "ipipMode": "Never",
        "allowedUses": ["Workload"],
        "disabled": True,
    }
    expected = IpPool("10.65.0.0/16", True, "never", "cross-subnet", ("Workload",), True)
    assert changes("IPPool", spec) == ((IpPoolKey("ok"), expected),)


INTERNAL = {"address": "10.1.0.1", "type": "InternalIP"}
EXTERNAL = {"address": "192.0.2.1", "type": "ExternalIP"}
NODES = [
    ({}, Node()),
    (
        {"bgp": {"ipv4Address": "10.0.0.1/24"}},
        Node("10.0.0.1/24", bgp_ipv4="10.0.0.1/24"),
    ),
    (
        {"bgp": {"ipv4Address": "10.0.0.1"}, "addresses": [INTERNAL]},
        Node("10.0.0.1/32", bgp_ipv4="10.0.0.1/32", addresses=("10.1.0.1",)),
    ),
    (
        {"bgp": {"ipv6Address": "fd00::1/64"}, "addresses": [INTERNAL]},
        Node("10.1.0.1/32", "fd00::1/64", bgp_ipv6="fd00::1/64", addresses=("10.1.0.1",)),
    ),
    (
        {"bgp": {"asNumber": 64512}, "addresses": [EXTERNAL, INTERNAL]},
        Node("10.1.0.1/32", addresses=("10.1.0.1", "192.0.2.1"), as_number=64512),
    ),
    (
        {"addresses": [{"address": "10.9.0.1", "type": "CalicoNodeIP"}, EXTERNAL]},
        Node("192.0.2.1/32", addresses=("10.9.0.1", "192.0.2.1")),
    ),
    (
        {"addresses": [INTERNAL, {"address": "fd00:0::1", "type": "ExternalIP"}, INTERNAL]},
        Node("10.1.0.1/32", "fd00::1/128", addresses=("10.1.0.1", "fd00::1")),
    ),
    (
        {
            "bgp": {"ipv4IPIPTunnelAddr": "10.2.0.1"},
            "ipv4VXLANTunnelAddr": "10.2.0.2",
            "ipv6VXLANTunnelAddr": "fd00:0::2",
            "vxlanTunnelMACAddr": "66-AA-bb-cc-dd-ee",
            "vxlanTunnelMACAddrV6": "02:00:5e:10:00:00:00:01",
            "wireguard": {"interfaceIPv4Address": "10.2.0.3", "interfaceIPv6Address": "fd00:0::3"},
        },
        Node(
            ipip_address="10.2.0.1",
            vxlan_address="10.2.0.2",
            vxlan_address_v6="fd00::2",
            vxlan_mac="66:aa:bb:cc:dd:ee",
            wireguard_address="10.2.0.3",
            wireguard_address_v6="fd00::3",
        ),
    ),
]


@pytest.mark.parametrize(("spec", "expected"), NODES)
def test_nodes(spec: dict[str, Any], expected: Node) -> None:
    assert value("Node", spec) == expected
    assert value("Node", spec, labels={"a": "b"}) == replace(expected, labels={"a": "b"})


def test_a_nodes_wireguard_keys_are_in_its_status() -> None:
    key, key_v6 = "A" * 43 + "=", "B" * 42 + "A="
    document = {
        "apiVersion": "projectcalico.org/v3",
        "kind": "Node",
        "metadata": {"name": "n1"},
        "status": {
            "wireguardPublicKey": key,
            "wireguardPublicKeyV6": key_v6,
            "conditions": [{"type": "WireguardReady", "status": "True", "tomorrow": 1}],
        },
    }
    expected = Node(wireguard_key=key, wireguard_key_v6=key_v6)
    assert decode_manifest(document).changes == ((NodeKey("n1"), expected),)


CLUSTERS = [
    ({}, ClusterInformation({})),
    ({"datastoreReady": False, "clusterType": ""}, ClusterInformation({})),
    (
        {
            "clusterGUID": "2f",
            "clusterType": "k8s,bgp",
            "calicoVersion": "v3",
            "datastoreReady": True,
            "variant": "Calico",
        },
        ClusterInformation(
            {
                "ClusterGUID": "2f",
                "ClusterType": "k8s,bgp",
                "CalicoVersion": "v3",
                "Variant": "Calico",
            },
            ready=True,
        ),
    ),
]


@pytest.mark.parametrize(("spec", "expected"), CLUSTERS)
def test_cluster_information(spec: dict[str, Any], expected: ClusterInformation) -> None:
    assert value("ClusterInformation", spec, name="default") == expected


# ------------------------------------------------------------------ FelixConfiguration

PARAMETERS = [
    ("ipipEnabled", True, ("IpInIpEnabled", "true")),
    ("bpfEnabled", False, ("BpfEnabled", "false")),
    ("vxlanPort", 0, ("VxlanPort", "0")),
    ("iptablesMarkMask", 4294901760, ("IptablesMarkMask", "4294901760")),
    ("iptablesRefreshInterval", "1m30s", ("IptablesRefreshInterval", "90")),
    ("reportingInterval", "0s", ("ReportingIntervalSecs", "0")),
    ("netlinkTimeout", "1500ms", ("NetlinkTimeoutSecs", "1.5")),
    ("iptablesLockProbeInterval", "50ms", ("IptablesLockProbeIntervalMillis", "50")),
    ("iptablesLockProbeInterval", "1.5ms", ("IptablesLockProbeIntervalMillis", "1.5")),
    ("wireguardKeepAlive", "25s", ("WireguardPersistentKeepAlive", "25")),
    ("bpfConntrackMode", "Auto", ("BPFConntrackCleanupMode", "Auto")),
    (
        "externalNodesList",
        ["10.0.0.0/8", "10.0.0.1"],
        ("ExternalNodesCIDRList", "10.0.0.0/8,10.0.0.1"),
    ),
    ("kubeNodePortRanges", [80, "30000:32767"], ("KubeNodePortRanges", "80,30000:32767")),
    ("natPortRange", "1000:2000", ("NatPortRange", "1000:2000")),
    ("routeTableRange", {"min": 1, "max": 250}, ("RouteTableRange", "1-250")),
    (
        "routeTableRanges",
        [{"min": 10, "max": 20}, {"min": 30, "max": 30}],
        ("RouteTableRanges", "10-20,30-30"),
    ),
    ("failsafeInboundHostPorts", [], ("FailsafeInboundHostPorts", "none")),
    (
        "failsafeOutboundHostPorts",
        [
            {"protocol": "TCP", "port": 22},
            {"protocol": "UDP", "port": 68, "net": "10.0.0.0/8"},
            {"protocol": "UDP", "port": 68, "net": "fd00::/8"},
        ],
        ("FailsafeOutboundHostPorts", "tcp:22,udp:10.0.0.0/8:68,udp:[fd00::/8]:68"),
    ),
    (
        "healthTimeoutOverrides",
        [{"name": "a", "timeout": "5s"}, {"name": "b", "timeout": "1m30s"}],
        ("HealthTimeoutOverrides", "a=5s,b=1m30s"),
    ),
    ("bpfLogFilters", {"eth1": "y", "eth0": "x"}, ("BpfLogFilters", "eth0=x,eth1=y,")),
    (
        "bpfConntrackTimeouts",
        {"tcpSynSent": "10s", "udpTimeout": "Auto"},
        ("BpfConntrackTimeouts", "TCPSynSent=10s,UDPTimeout=Auto"),
    ),
    ("istioDSCPMark", "EF", ("IstioDSCPMark", "EF")),
]


@pytest.mark.parametrize(("field", "content", "expected"), PARAMETERS)
def test_parameters(field: str, content: object, expected: tuple[str, str]) -> None:
    assert value("FelixConfiguration", {field: content}).values == dict([expected])


UNSET: list[tuple[str, object]] = [
    ("logPrefix", None),
    ("logPrefix", ""),
    ("healthTimeoutOverrides", []),
    ("externalNodesList", []),
]


@pytest.mark.parametrize(("field", "content"), UNSET)
def test_what_counts_as_unset(field: str, content: object) -> None:
    assert value("FelixConfiguration", {field: content}).values == {}


def test_annotations_win_over_fields() -> None:
    annotations = {
        "config.projectcalico.org/VXLANPort": "9999",
        "config.projectcalico.org/NoSuchField": "x",
        "other": "y",
    }
    spec = {"vxlanPort": 1, "vxlanVNI": 2}
    assert value("FelixConfiguration", spec, annotations=annotations).values == {
        "VXLANPort": "9999",
        "NoSuchField": "x",
        "VxlanVNI": "2",
    }


TIMES = [
    ("2026-01-05T10:00:00Z", "2026-01-05T10:00:00Z"),
    ("2026-01-05T12:00:00+02:00", "2026-01-05T10:00:00Z"),
    ("0001-01-01T00:00:00+02:00", ""),
    ("yesterday", ""),
    (None, ""),
    (17, ""),
]


@pytest.mark.parametrize(("given", "created"), TIMES)
def test_selector_scoped_configuration(given: object, created: str) -> None:
    configuration = value(
        "FelixConfiguration",
        {"nodeSelector": "has(a)", "healthPort": 1},
        name="some",
        creationTimestamp=given,
    )
    assert configuration.node_selector == "has(a)"
    assert configuration.values == {"HealthPort": "1"}
    assert configuration.created == created
