"""FelixConfiguration: which fields it has, what each accepts, and which parameter each sets.

A field set to nothing (null, "") is unset.  Texts are checked again, more strictly, where the
configuration is resolved; here stands only what a client would refuse to write.
"""

from __future__ import annotations

from typing import Annotated, Any

from msgspec import defstruct

from felixpy.datastore.resources import names
from felixpy.datastore.resources.addresses import is_ipv4, is_ipv6
from felixpy.datastore.resources.felix_parts import (
    BpfConntrackTimeouts,
    HealthTimeoutOverride,
    ProtoPort,
    RouteTableIdRange,
    RouteTableRange,
)
from felixpy.datastore.resources.fields import (
    AnyCidr,
    Dscp,
    Duration,
    Interface,
    Ipv4Cidr,
    Labels,
    Regexp,
    Selector,
)
from felixpy.datastore.resources.marks import (
    any_case,
    check,
    max_items,
    max_length,
    one_of,
    pattern,
    pattern_always,
    within,
)
from felixpy.datastore.resources.meta import Document
from felixpy.datastore.resources.numbers import NumberOrText, is_numeric_port_or_range

NODE_SELECTOR = "nodeSelector"
_MAX_INT = 2**63 - 1
# A region becomes part of a namespace's name.
MAX_REGION = names.MAX_LABEL - len("openstack-region-")
MAX_NODE_PORT_RANGES = 7  # a multiport match holds 15 ports, and a range counts as two


def _number(low: int, high: int) -> Any:
    return Annotated[int, within(low, high, schema=False)]


def _is_region(text: str) -> bool:
    return len(text) <= MAX_REGION and names.is_dns_label(text)


def _are_interfaces(filters: Labels) -> bool:
    return all(names.is_interface(key) for key in filters)


_FLAGS = """
    useInternalDataplaneDriver ipv6Support ipipEnabled vxlanEnabled
    allowVXLANPacketsFromWorkloads allowIPIPPacketsFromWorkloads endpointReportingEnabled
    disableConntrackInvalidCheck healthEnabled prometheusMetricsEnabled
    prometheusGoMetricsEnabled prometheusProcessMetricsEnabled
    prometheusWireGuardMetricsEnabled usageReportingEnabled removeExternalRoutes
    debugDisableLogDropping sidecarAccelerationEnabled xdpEnabled genericXDPEnabled
    bpfEnabled bpfDisableUnprivileged bpfConnectTimeLoadBalancingEnabled
    bpfKubeProxyIptablesCleanupEnabled bpfHostConntrackBypass bpfIPFragmentReassemblyEnabled
    bpfPolicyDebugEnabled flowLogsCollectorDebugTrace routeSyncDisabled wireguardEnabled
    wireguardEnabledV6 wireguardThreadingEnabled wireguardHostEncryptionEnabled
    requireMTUFile
"""
_SECONDS = """
    dataplaneWatchdogTimeout routeRefreshInterval interfaceRefreshInterval
    iptablesRefreshInterval iptablesPostWriteCheckInterval ipsetsRefreshInterval
    xdpRefreshInterval netlinkTimeout reportingInterval reportingTTL endpointReportingDelay
    usageReportingInitialDelay usageReportingInterval debugSimulateCalcGraphHangAfter
    debugSimulateDataplaneHangAfter debugSimulateDataplaneApplyDelay nftablesRefreshInterval
    bpfIPFragTimeout bpfKubeProxyMinSyncPeriod flowLogsFlushInterval
    liveMigrationRouteConvergenceTime wireguardKeepAlive
    localSubnetL2ReachabilityRefreshInterval
"""
_NUMBERS = """
    maxIpsetSize metadataPort ipipMTU vxlanMTU vxlanMTUV6 vxlanPort vxlanVNI healthPort
    prometheusMetricsPort deviceRouteProtocol bpfMapSizeNATFrontend bpfMapSizeNATBackend
    bpfMapSizeNATAffinity bpfMapSizeRoute bpfMapSizeConntrack bpfMapSizePerCpuConntrack
    bpfMapSizeIPSets bpfMapSizeIfState bpfExportBufferSizeMB wireguardMTU wireguardMTUV6
"""
_TEXTS = """
    dataplaneDriver metadataAddr openstackRegion interfacePrefix interfaceExclude
    logFilePath endpointStatusPathPrefix healthHost prometheusMetricsCAFile
    prometheusMetricsCertFile prometheusMetricsKeyFile policySyncPathPrefix
    natOutgoingAddress deviceRouteSourceAddress deviceRouteSourceAddressIPv6
    debugMemoryProfilePath debugHost bpfCTLBLogFilter cgroupV2Path flowLogsGoldmaneServer
"""
_REGEXPS = """
    logDebugFilenameRegex nftablesFlowTableDataIfacePattern bpfDataIfacePattern
    bpfL3IfacePattern bpfDisableGROForIfaces mtuIfacePattern
"""
_BOUNDED: dict[str, Any] = {
    "logActionRateLimitBurst": _number(0, 9999),
    "iptablesMarkMask": _number(0, 4294967295),
    "debugPort": _number(0, 65535),
    "nftablesMarkMask": _number(0, 4294967295),
    "bpfExtToServiceConnmark": _number(0, 4294967295),
    "bpfKubeProxyHealthzPort": _number(0, 65535),
    "bpfMapSizeConntrackCleanupQueue": _number(1, _MAX_INT),
    "ipv4NormalRoutePriority": _number(1, 2147483646),
    "ipv4ElevatedRoutePriority": _number(1, 2147483646),
    "ipv6NormalRoutePriority": _number(1, 2147483646),
    "ipv6ElevatedRoutePriority": _number(1, 2147483646),
    "wireguardListeningPort": _number(1, 65535),
    "wireguardListeningPortV6": _number(1, 65535),
    "wireguardRoutingRulePriority": _number(1, 32765),
    "goGCThreshold": _number(-1, _MAX_INT),
    "goMemoryLimitMB": _number(-1, _MAX_INT),
    "goMaxProcs": _number(-1, _MAX_INT),
    "bpfMaglevMaxEndpointsPerService": _number(1, 3000),
    "bpfMaglevMaxServices": _number(1, 3000),
}
_CHOICES = {
    "iptablesBackend": any_case("Auto", "Legacy", "NFT"),
    "chainInsertMode": any_case("Insert", "Append"),
    "defaultEndpointToHostAction": any_case("Drop", "Accept", "Return"),
    "iptablesFilterAllowAction": any_case("Accept", "Return"),
    "iptablesMangleAllowAction": any_case("Accept", "Return"),
    "iptablesFilterDenyAction": any_case("Drop", "Reject"),
    "logSeverityFile": any_case("Trace", "Debug", "Info", "Warning", "Error", "Fatal"),
    "logSeverityScreen": any_case("Trace", "Debug", "Info", "Warning", "Error", "Fatal"),
    "logSeveritySys": any_case("Trace", "Debug", "Info", "Warning", "Error", "Fatal"),
    "prometheusMetricsClientAuth": one_of(
        "RequireAndVerifyClientCert",
        "RequireAnyClientCert",
        "VerifyClientCertIfGiven",
        "NoClientCert",
    ),
    "natOutgoingExclusions": one_of("IPPoolsOnly", "IPPoolsAndHostIPs"),
    "programClusterRoutes": one_of("Enabled", "Disabled", "EnabledIPIPOnly", "EnabledNoEncapOnly"),
    "ipForwarding": one_of("Enabled", "Disabled"),
    "nftablesMode": one_of("Disabled", "Enabled", "Auto"),
    "nftablesFlowTableOffload": one_of("All", "Disabled"),
    "nftablesFilterAllowAction": any_case("Accept", "Return"),
    "nftablesMangleAllowAction": any_case("Accept", "Return"),
    "nftablesFilterDenyAction": any_case("Drop", "Reject"),
    "bpfOverlayHostSourceIP": one_of("TunnelAddress", "HostAddress"),
    "bpfJITHardening": one_of("Auto", "Strict"),
    "bpfLogLevel": any_case("Off", "Info", "Debug"),
    "bpfConntrackLogLevel": one_of("Off", "Debug"),
    "bpfConntrackMode": one_of("Auto", "Userspace", "BPFProgram"),
    "bpfConnectTimeLoadBalancing": one_of("TCP", "Enabled", "Disabled"),
    "bpfHostNetworkedNATWithoutCTLB": one_of("Enabled", "Disabled"),
    "bpfExternalServiceMode": any_case("Tunnel", "DSR"),
    "bpfMapSizeConntrackScaling": any_case("Disabled", "DoubleIfFull"),
    "bpfEnforceRPF": any_case("Disabled", "Strict", "Loose"),
    "istioAmbientMode": one_of("Enabled", "Disabled"),
    "flowLogsPolicyEvaluationMode": one_of("None", "Continuous"),
    "bpfRedirectToPeer": one_of("Enabled", "Disabled"),
    "bpfAttachType": one_of("TC", "TCX", "Netkit"),
    "flowLogsLocalReporter": one_of("Disabled", "Enabled"),
    "bpfProfiling": one_of("Enabled", "Disabled"),
    "routeSource": any_case("WorkloadIPs", "CalicoIPAM"),
    "floatingIPs": one_of("Enabled", "Disabled"),
    "awsSrcDstCheck": one_of("DoNothing", "Enable", "Disable"),
    "serviceLoopPrevention": one_of("Drop", "Reject", "Disabled"),
    "workloadSourceSpoofing": one_of("Disabled", "Any"),
    "localSubnetL2Reachability": one_of("Disabled", "PodsAndLoadBalancers"),
    "windowsManageFirewallRules": one_of("Enabled", "Disabled"),
}
_ALIASES = {
    "iptablesPostWriteCheckInterval": "IptablesPostWriteCheckIntervalSecs",
    "iptablesLockProbeInterval": "IptablesLockProbeIntervalMillis",
    "netlinkTimeout": "NetlinkTimeoutSecs",
    "ipipEnabled": "IpInIpEnabled",
    "ipipMTU": "IpInIpMtu",
    "reportingInterval": "ReportingIntervalSecs",
    "reportingTTL": "ReportingTTLSecs",
    "endpointReportingDelay": "EndpointReportingDelaySecs",
    "usageReportingInitialDelay": "UsageReportingInitialDelaySecs",
    "usageReportingInterval": "UsageReportingIntervalSecs",
    "externalNodesList": "ExternalNodesCIDRList",
    "bpfConntrackMode": "BPFConntrackCleanupMode",
    "wireguardKeepAlive": "WireguardPersistentKeepAlive",
}

_Filter = Annotated[
    str, check(names.is_interface_filter, "an interface name, '+' at its end for any ending")
]
_PortRange = Annotated[
    NumberOrText, check(is_numeric_port_or_range, "a port or a range such as 30000:32767")
]
_KEY_VALUES = check(names.is_key_value_list, "name=value, separated by commas")

_SPECIAL: dict[str, Any] = {
    "featureDetectOverride": Annotated[
        str,
        _KEY_VALUES,
        pattern(
            r"([\w-]+=(true|false)(,|$))*", "feature=true or feature=false, separated by commas"
        ),
    ],
    "featureGates": Annotated[
        str, _KEY_VALUES, pattern(r"([\w-]+=[^=]+(,|$))*", "gate=value, separated by commas")
    ],
    "openstackRegion": Annotated[
        str, check(_is_region, f"a DNS label of at most {MAX_REGION} characters")
    ],
    "logPrefix": Annotated[str, pattern(r"[a-zA-Z0-9%: /_-]*", "letters, digits and %: /_-")],
    "logActionRateLimit": Annotated[
        str,
        pattern(r"[1-9][0-9]{0,3}/(second|minute|hour|day)", "a rate such as 10/minute"),
    ],
    "prometheusMetricsHost": Annotated[
        str, pattern_always(r"[a-zA-Z0-9:._+-]{1,64}", "a host name or address")
    ],
    "natOutgoingAddress": Annotated[str, check(is_ipv4, "an IPv4 address")],
    "deviceRouteSourceAddress": Annotated[str, check(is_ipv4, "an IPv4 address")],
    "deviceRouteSourceAddressIPv6": Annotated[str, check(is_ipv6, "an IPv6 address")],
    "iptablesNATOutgoingInterfaceFilter": _Filter,
    "wireguardInterfaceName": Interface,
    "wireguardInterfaceNameV6": Interface,
    "iptablesLockProbeInterval": Duration,
    "healthTimeoutOverrides": list[HealthTimeoutOverride],
    "failsafeInboundHostPorts": list[ProtoPort],
    "failsafeOutboundHostPorts": list[ProtoPort],
    "kubeNodePortRanges": Annotated[list[_PortRange], max_items(MAX_NODE_PORT_RANGES)],
    "natPortRange": _PortRange,
    "bpfPSNATPorts": _PortRange,
    "externalNodesList": list[Ipv4Cidr],
    "bpfConntrackTimeouts": BpfConntrackTimeouts,
    "bpfLogFilters": Annotated[Labels, check(_are_interfaces, "a map from interface names")],
    "bpfDSROptoutCIDRs": list[AnyCidr],
    "bpfExcludeCIDRsFromNAT": list[AnyCidr],
    "bpfForceTrackPacketsFromIfaces": list[_Filter],
    "istioDSCPMark": Dscp,
    "routeTableRanges": list[RouteTableIdRange],
    "routeTableRange": RouteTableRange,
}


def _types() -> dict[str, Any]:
    types: dict[str, Any] = {NODE_SELECTOR: Annotated[Selector, max_length(1024)]}
    types |= dict.fromkeys(_FLAGS.split(), bool)
    types |= dict.fromkeys(_SECONDS.split(), Duration)
    types |= dict.fromkeys(_NUMBERS.split(), int)
    types |= dict.fromkeys(_TEXTS.split(), str)
    types |= dict.fromkeys(_REGEXPS.split(), Regexp)
    types |= {name: Annotated[str, choice] for name, choice in _CHOICES.items()}
    return types | _BOUNDED | _SPECIAL


def _member(name: str, kind: Any) -> tuple[str, Any, Any]:
    """An empty text is as good as none, but there is no empty duration."""
    if getattr(kind, "__origin__", kind) is str and kind is not Duration and name != NODE_SELECTOR:
        return name, kind, ""
    return name, kind | None, None


def parameter_name(field: str) -> str:
    """As in "ipipEnabled" -> "IpInIpEnabled"; case does not matter in names of parameters."""
    return _ALIASES.get(field, field[:1].upper() + field[1:])


DURATIONS_IN_SECONDS = frozenset(_SECONDS.split())
DURATIONS_IN_MILLISECONDS = frozenset({"iptablesLockProbeInterval"})

# Attributes are named as the fields are: they are only ever met as data.
FelixConfigurationSpec = defstruct(
    "FelixConfigurationSpec",
    [_member(name, kind) for name, kind in _types().items()],
    frozen=True,
    kw_only=True,
    forbid_unknown_fields=True,
    module=__name__,
)


class FelixConfiguration(Document, frozen=True):
    spec: FelixConfigurationSpec = FelixConfigurationSpec()  # type: ignore[valid-type]
