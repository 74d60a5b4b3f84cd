"""Rules between the fields of IP pools and of IPAM's own resources."""

from __future__ import annotations

from felixpy.datastore.resources.addresses import Net, parse_net
from felixpy.datastore.resources.ipam import BlockAffinitySpec, IpPoolSpec
from felixpy.datastore.validation.fault import refuse

_ON = frozenset({"Always", "CrossSubnet"})
_BLOCK_SIZES = {4: (20, 32, 26), 6: (116, 128, 122)}  # smallest, largest, default
_LINK_LOCAL = ("169.254.0.0/16", "fe80::/10")


def check_pool(spec: IpPoolSpec) -> None:
    net = parse_net(spec.cidr)
    if net is None:
        refuse(f"must be a CIDR, not {spec.cidr!r}", "cidr")
    _check_range(net)
    if spec.ipip_mode in _ON and spec.vxlan_mode in _ON:
        refuse("ipipMode and vxlanMode exclude each other", "ipipMode")
    if spec.ipip_mode in _ON and net.version == 6:
        refuse("IPIP carries IPv4 only", "ipipMode")
    _check_block_size(spec, net)
    _check_uses(spec)
    for name, selector in (
        ("nodeSelector", spec.node_selector),
        ("namespaceSelector", spec.namespace_selector),
    ):
        if "global(" in selector:
            refuse("global() means nothing here", name)


def _check_range(net: Net) -> None:
    for text in _LINK_LOCAL:
        link_local = parse_net(text)
        if link_local and (link_local.covers(net) or net.covers(link_local)):
            refuse(f"must not overlap with {text}", "cidr")


def _check_block_size(spec: IpPoolSpec, net: Net) -> None:
    smallest, largest, default = _BLOCK_SIZES[net.version]
    size = spec.block_size or default
    if not smallest <= size <= largest:
        refuse(f"must be from {smallest} to {largest} for IPv{net.version}", "blockSize")
    if net.length > size and not spec.disabled:
        refuse(f"must not be smaller than a block: /{size}", "cidr")


def _check_uses(spec: IpPoolSpec) -> None:
    if "Tunnel" in spec.allowed_uses and spec.namespace_selector:
        refuse("goes not together with allowed use Tunnel", "namespaceSelector")
    if "LoadBalancer" not in spec.allowed_uses:
        return
    if {"Workload", "Tunnel"} & set(spec.allowed_uses):
        refuse("LoadBalancer stands alone", "allowedUses")
    if spec.ipip_mode in _ON or spec.vxlan_mode in _ON:
        refuse("a pool for load balancers has no encapsulation", "allowedUses")
    if spec.disable_bgp_export:
        refuse("a pool for load balancers is always exported", "disableBGPExport")
    if spec.node_selector not in ("", "all()"):
        refuse("must be all() for a pool for load balancers", "nodeSelector")


def check_block_affinity(spec: BlockAffinitySpec) -> None:
    if spec.deleted:
        refuse("must not be true", "deleted")
