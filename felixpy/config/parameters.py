"""All parameters: the typed Config, the table behind it, and the names that have no effect here.

Felix knows 218 names (August 2026).  Those that concern what felixpy is or will be are fields of
Config; the rest is taken without being looked into.
"""

from __future__ import annotations

import dataclasses
import difflib
from dataclasses import dataclass
from typing import Any, NamedTuple

from felixpy.config.groups.bgp import Bgp
from felixpy.config.groups.identity import Identity
from felixpy.config.groups.interfaces import Interfaces
from felixpy.config.groups.ipsec import Ipsec
from felixpy.config.groups.overlays import Overlays
from felixpy.config.groups.process import Process
from felixpy.config.groups.rules import Rules
from felixpy.config.parameter import Parameter, parameter_of


@dataclass(frozen=True)
class Config(Identity, Process, Interfaces, Rules, Overlays, Ipsec, Bgp):
    """The effective values.  Each field is described where its group declares it."""


def _table() -> dict[str, Parameter[Any]]:
    found = {}
    for group in (Identity, Process, Interfaces, Rules, Overlays, Ipsec, Bgp):
        for declared in dataclasses.fields(group):
            parameter = parameter_of(str(group.__doc__), declared)
            found[parameter.name] = parameter
    return found


PARAMETERS: dict[str, Parameter[Any]] = _table()

# Names of FelixConfiguration's fields that are not the parameter's in another case.
FIELD_ALIASES = {
    "externalNodesList": "ExternalNodesCIDRList",
    "netlinkTimeout": "NetlinkTimeoutSecs",
    "iptablesLockProbeInterval": "IptablesLockProbeIntervalMillis",
    "iptablesPostWriteCheckInterval": "IptablesPostWriteCheckIntervalSecs",
    "endpointReportingDelay": "EndpointReportingDelaySecs",
    "reportingInterval": "ReportingIntervalSecs",
    "reportingTTL": "ReportingTTLSecs",
    "ipipEnabled": "IpInIpEnabled",
    "ipipMTU": "IpInIpMtu",
    "wireguardKeepAlive": "WireguardPersistentKeepAlive",
    "usageReportingInitialDelay": "UsageReportingInitialDelaySecs",
    "usageReportingInterval": "UsageReportingIntervalSecs",
    "bpfConntrackMode": "BPFConntrackCleanupMode",
}

_TYPHA = (
    "TyphaAddr TyphaK8sServiceName TyphaK8sNamespace TyphaReadTimeout TyphaWriteTimeout"
    " TyphaKeyFile TyphaCertFile TyphaCAFile TyphaCN TyphaURISAN"
)
_BPF = (
    "Enabled OverlayHostSourceIP DisableUnprivileged JITHardening LogLevel ConntrackLogLevel"
    " ConntrackCleanupMode ConntrackTimeouts IPFragTimeout LogFilters CTLBLogFilter"
    " DataIfacePattern L3IfacePattern ConnectTimeLoadBalancingEnabled ConnectTimeLoadBalancing"
    " HostNetworkedNATWithoutCTLB ExternalServiceMode DSROptoutCIDRs"
    " KubeProxyIptablesCleanupEnabled KubeProxyMinSyncPeriod KubeProxyHealthzPort"
    " ExtToServiceConnmark PSNATPorts MapSizeNATFrontend MapSizeNATBackend MapSizeNATAffinity"
    " MapSizeRoute MapSizeConntrack MapSizePerCPUConntrack MapSizeConntrackScaling"
    " MapSizeConntrackCleanupQueue MapSizeIPSets MapSizeIfState HostConntrackBypass"
    " IPFragmentReassemblyEnabled EnforceRPF PolicyDebugEnabled ForceTrackPacketsFromIfaces"
    " DisableGROForIfaces ExcludeCIDRsFromNAT RedirectToPeer AttachType ExportBufferSizeMB"
    " Profiling MaglevMaxEndpointsPerService MaglevMaxServices"
)
_OTHERS = (
    "CgroupV2Path DebugBPFCgroupV2 UseInternalDataplaneDriver DataplaneDriver"
    " IstioAmbientMode IstioDSCPMark XDPRefreshInterval XDPEnabled GenericXDPEnabled"
    " SidecarAccelerationEnabled WindowsManageFirewallRules AWSSrcDstCheck"
    " UsageReportingEnabled UsageReportingInitialDelaySecs UsageReportingIntervalSecs"
    " LiveMigrationRouteConvergenceTime GoGCThreshold GoMemoryLimitMB GoMaxProcs"
    " FlowLogsFlushInterval FlowLogsCollectorDebugTrace FlowLogsGoldmaneServer"
    " FlowLogsLocalReporter FlowLogsPolicyEvaluationMode DebugMemoryProfilePath"
    " DebugCPUProfilePath DebugDisableLogDropping DebugSimulateCalcGraphHangAfter"
    " DebugSimulateDataplaneHangAfter DebugSimulateDataplaneApplyDelay DebugPanicAfter"
    " DebugSimulateDataRace"
)
TYPHA = frozenset(_TYPHA.split())
# Felix's, and of no effect here: Typha, its eBPF dataplane, Windows, AWS, Istio, flow logs, usage
# reports, and the innards of a Go program.
WITHOUT_EFFECT = TYPHA | {f"BPF{name}" for name in _BPF.split()} | frozenset(_OTHERS.split())

# Names that an older Felix knew, with what to do about each.
RETIRED = {
    "DropActionOverride": "Felix has given it up; IptablesFilterDenyAction takes its place",
    "IptablesLockTimeout": "Felix has given it up; the lock is waited for as long as it takes",
    "IptablesLockTimeoutSecs": "Felix has given it up; the lock is waited for as long as it takes",
}

_CANONICAL = {name.lower(): name for name in (*PARAMETERS, *WITHOUT_EFFECT, *RETIRED)}
_FIELDS = {alias.lower(): name for alias, name in FIELD_ALIASES.items()}


def canonical(name: str) -> str | None:
    """The name as it is known, whatever its case; None when it is not."""
    return _CANONICAL.get(name.lower())


def canonical_field(name: str) -> str:
    """The parameter that a field of FelixConfiguration sets; an unknown name as it is."""
    return _FIELDS.get(name.lower()) or canonical(name) or name


def closest(name: str) -> list[str]:
    """Known names that the unknown one may have been meant to be, the likeliest first."""
    return [
        _CANONICAL[match]
        for match in difflib.get_close_matches(name.lower(), _CANONICAL, n=3, cutoff=0.7)
    ]


def openstack_mode(config: Config) -> bool:
    """Whether workloads get what OpenStack's need: DHCP, DNS and the metadata service of the host.

    Old plugins of OpenStack do not say that they are there, so a metadata service of one's own, or
    the names of its interfaces, count too.  To have none of it is no sign.
    Source: projectcalico/calico felix/config/config_params.go, OpenstackActive.
    """
    return (
        "openstack" in config.cluster_type.lower()
        or config.metadata_addr not in ("", "127.0.0.1")
        or config.metadata_port not in (0, 8775)
        or "tap" in config.interface_prefix
    )


class Change(NamedTuple):
    """`live`: all of it can be taken over without rebuilding what runs."""

    names: tuple[str, ...]
    live: bool


def diff(old: Config, new: Config) -> Change:
    """What differs between two configurations, in the table's order.

    What has no effect, or none yet, is named but asks for nothing.
    """
    changed = [
        parameter
        for parameter in PARAMETERS.values()
        if getattr(old, parameter.attribute) != getattr(new, parameter.attribute)
    ]
    live = openstack_mode(old) == openstack_mode(new) and all(
        parameter.live or parameter.effect != "honoured" for parameter in changed
    )
    return Change(tuple(parameter.name for parameter in changed), live)
