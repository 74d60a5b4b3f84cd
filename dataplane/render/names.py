"""Names of chains and IP sets: keys and interfaces in, names that fit the kernel and cannot break
a line out.

A name that is too long is cut to a hash of itself, exactly as Felix does, so that both agents
know a chain by one name. One difference is deliberate: a name with a character outside
[A-Za-z0-9._/-] is hashed too, whatever its length, because chain names are not quoted in what
iptables-restore reads.  Felix trusts the validation before it. Source: projectcalico/calico
felix/rules/rule_defs.go, felix/types/policy_id.go, libcalico-go/lib/hash/unique_id.go.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Sequence
from typing import Final, Literal, TypeAlias

from calc_graph.model import PolicyKey

Direction: TypeAlias = Literal["ingress", "egress"]
Table: TypeAlias = Literal["raw", "mangle", "nat", "filter"]

# 20 characters, so it can never be the name of a real interface.
ANY_INTERFACE: Final = "any-interface-at-all"

INPUT: Final = "cali-INPUT"
FORWARD: Final = "cali-FORWARD"
OUTPUT: Final = "cali-OUTPUT"
PREROUTING: Final = "cali-PREROUTING"
POSTROUTING: Final = "cali-POSTROUTING"
WORKLOAD_TO_HOST: Final = "cali-wl-to-host"
FROM_WORKLOAD_DISPATCH: Final = "cali-from-wl-dispatch"
TO_WORKLOAD_DISPATCH: Final = "cali-to-wl-dispatch"
FROM_HOST_DISPATCH: Final = "cali-from-host-endpoint"
TO_HOST_DISPATCH: Final = "cali-to-host-endpoint"
FROM_HOST_FORWARD_DISPATCH: Final = "cali-from-hep-forward"
TO_HOST_FORWARD_DISPATCH: Final = "cali-to-hep-forward"
FAILSAFE_IN: Final = "cali-failsafe-in"
FAILSAFE_OUT: Final = "cali-failsafe-out"
CIDR_BLOCK: Final = "cali-cidr-block"
RPF_SKIP: Final = "cali-rpf-skip"
NAT_OUTGOING: Final = "cali-nat-outgoing"
FLOATING_DNAT: Final = "cali-fip-dnat"
FLOATING_SNAT: Final = "cali-fip-snat"
EGRESS_DSCP: Final = "cali-egress-dscp"
WIREGUARD_INCOMING_MARK: Final = "cali-wireguard-incoming-mark"
WORKLOAD_LIMIT_DISPATCH: Final = "cali-wl-limit"
WORKLOAD_LIMIT_PREFIX: Final = "cali-lw-"
FABRIC_SPOOF: Final = "cali-fabric-spoof"
FABRIC_SPOOF_LOG: Final = "cali-fabric-log"
ENCRYPTED_IN: Final = "cali-encrypted-in"
ENCRYPTED_OUT: Final = "cali-encrypted-out"
LEFT_IN_CLEAR: Final = "cali-left-in-clear"
BY_IPSEC_ALONE: Final = "cali-by-ipsec-alone"

ALL_HOSTS_SET: Final = "all-hosts-net"
ALL_VXLAN_SET: Final = "all-vxlan-net"
ALL_POOLS_SET: Final = "network-ip-pools"
MASQUERADED_POOLS_SET: Final = "masq-ipam-pools"
THIS_HOST_SET: Final = "this-host"
DSCP_SOURCES_SET: Final = "dscp-src-net"
LOCAL_WORKLOADS_SET: Final = "local-workloads"
TUNNELLED_POOLS_SET: Final = "tunnelled-pools"
CROSS_SUBNET_POOLS_SET: Final = "cross-subnet-pools"
ENCRYPTED_POOLS_SET: Final = "encrypted-pools"
REMOTE_WORKLOADS_SET: Final = "remote-workloads"
IPSEC_NODES_SET: Final = "ipsec-nodes"

_CHAIN_LIMIT = 28
_IPSET_LIMIT = 31
_GROUP_ID_LENGTH = 20
_UNSAFE = re.compile(r"[^A-Za-z0-9._/-]")
_SHORT_KINDS = {
    "NetworkPolicy": "np",
    "GlobalNetworkPolicy": "gnp",
    "StagedNetworkPolicy": "snp",
    "StagedGlobalNetworkPolicy": "sgnp",
    "KubernetesNetworkPolicy": "knp",
    "StagedKubernetesNetworkPolicy": "sknp",
    "KubernetesClusterNetworkPolicy": "kcnp",
}
_POLICY_PREFIX = {"ingress": "cali-pi-", "egress": "cali-po-"}
_PROFILE_PREFIX = {"ingress": "cali-pri-", "egress": "cali-pro-"}
_GROUP_PREFIX = {"ingress": "cali-gi-", "egress": "cali-go-"}
_GROUP_DIRECTION = {"ingress": "inbound", "egress": "outbound"}


def short_kind(kind: str) -> str:
    """ "GlobalNetworkPolicy" -> "gnp"; a kind not known stands for itself."""
    return _SHORT_KINDS.get(kind, kind)


def policy_chain(key: PolicyKey, direction: Direction) -> str:
    return _chain(_POLICY_PREFIX[direction], _policy_suffix(key))


def profile_chain(name: str, direction: Direction) -> str:
    return _chain(_PROFILE_PREFIX[direction], name)


def group_id(selector: str, direction: Direction, policies: Sequence[PolicyKey]) -> str:
    """Pins the selector's text and the policies, staged ones too, in their order."""
    lines = [selector, _GROUP_DIRECTION[direction], str(len(policies))]
    lines += [f"{{Name: {p.name}, Namespace: {p.namespace}, Kind: {p.kind}}}" for p in policies]
    digest = hashlib.sha3_224("".join(f"{line}\n" for line in lines).encode()).digest()
    return _base64(digest)[:_GROUP_ID_LENGTH]


def group_chain(selector: str, direction: Direction, policies: Sequence[PolicyKey]) -> str:
    return _chain(_GROUP_PREFIX[direction], group_id(selector, direction, policies))


def to_workload(interface: str) -> str:
    return _chain("cali-tw-", interface)


def from_workload(interface: str) -> str:
    return _chain("cali-fw-", interface)


def workload_limit(interface: str) -> str:
    return _chain(WORKLOAD_LIMIT_PREFIX, interface)


def to_host(interface: str) -> str:
    return _chain("cali-th-", interface)


def from_host(interface: str) -> str:
    return _chain("cali-fh-", interface)


def to_host_forward(interface: str) -> str:
    return _chain("cali-thfw-", interface)


def from_host_forward(interface: str) -> str:
    return _chain("cali-fhfw-", interface)


def ipset_name(set_id: str, family: int) -> str:
    return f"cali{family}0{set_id}"[:_IPSET_LIMIT]


def _policy_suffix(key: PolicyKey) -> str:
    parts = [key.namespace, key.name] if key.namespace else [key.name]
    if any("/" in part for part in parts):
        # "a/b" + "c" is not "a" + "b/c": two chains.  The line feed forces the hash.
        parts = [f"{len(part)}\n{part}" for part in parts]
    return "/".join((short_kind(key.kind), *parts))


def _chain(prefix: str, suffix: str) -> str:
    suffix = suffix or "_"
    length = len(prefix) + len(suffix)
    # A name of full length that begins like a hash is hashed, or it could be another one's hash.
    looks_hashed = length == _CHAIN_LIMIT and suffix[0] == "_"
    if length <= _CHAIN_LIMIT and not looks_hashed and not _UNSAFE.search(suffix):
        return prefix + suffix
    digest = hashlib.sha256(suffix.encode(errors="surrogatepass")).digest()
    return f"{prefix}_{_base64(digest)}"[:_CHAIN_LIMIT]


def _base64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
