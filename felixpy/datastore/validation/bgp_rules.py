"""Rules between the fields of the BGP resources."""

from __future__ import annotations

from felixpy.datastore.resources.addresses import parse_address
from felixpy.datastore.resources.bgp import (
    BgpConfigurationSpec,
    BgpPeerSpec,
    FilterOperation,
    FilterRule,
    FilterRuleV4,
    FilterRuleV6,
    is_community,
)
from felixpy.datastore.resources.names import split_peer
from felixpy.datastore.resources.numbers import parse_as_number
from felixpy.datastore.validation.fault import refuse


def check_communities(spec: BgpConfigurationSpec) -> None:
    known = {community.name for community in spec.communities}
    for index, prefix in enumerate(spec.prefix_advertisements):
        for number, text in enumerate(prefix.communities):
            if text not in known and not is_community(text):
                refuse(
                    f"{text!r} is neither a community nor defined in communities",
                    *("prefixAdvertisements", index, "communities", number),
                )


def check_configuration(spec: BgpConfigurationSpec) -> None:
    if spec.node_to_node_mesh_enabled is False:
        if spec.node_mesh_password is not None:
            refuse("goes not together with nodeToNodeMeshEnabled false", "nodeMeshPassword")
        if spec.node_mesh_max_restart_time is not None:
            refuse("goes not together with nodeToNodeMeshEnabled false", "nodeMeshMaxRestartTime")
    if spec.communities and not spec.prefix_advertisements:
        refuse("are defined, but no prefixAdvertisements use them", "communities")


def check_reachable_by(spec: BgpPeerSpec) -> None:
    peer = split_peer(spec.peer_ip)
    if not spec.reachable_by or peer is None:
        return
    gateway, address = parse_address(spec.reachable_by), parse_address(peer[0])
    if gateway and address and gateway.version != address.version:
        refuse("must be of the same family as peerIP", "reachableBy")


def check_peer(spec: BgpPeerSpec) -> None:
    as_number = parse_as_number(spec.as_number)
    if spec.node and spec.node_selector:
        refuse("node and nodeSelector exclude each other", "nodeSelector")
    if spec.peer_ip and spec.peer_selector:
        refuse("peerIP and peerSelector exclude each other", "peerSelector")
    if spec.peer_selector and as_number:
        refuse("goes not together with peerSelector", "asNumber")
    if spec.reachable_by and not spec.peer_ip:
        refuse("needs peerIP", "reachableBy")
    if spec.keep_original_next_hop and spec.next_hop_mode is not None:
        refuse("goes not together with nextHopMode", "keepOriginalNextHop")
    if spec.local_workload_selector:
        if spec.peer_ip:
            refuse("goes not together with localWorkloadSelector", "peerIP")
        if spec.peer_selector:
            refuse("goes not together with localWorkloadSelector", "peerSelector")
        if not as_number:
            refuse("is needed with localWorkloadSelector", "asNumber")


def check_filter_rule(rule: FilterRuleV4 | FilterRuleV6) -> None:
    if bool(rule.cidr) != bool(rule.match_operator):
        missing = "matchOperator" if rule.cidr else "cidr"
        refuse("cidr and matchOperator come together", missing)
    if rule.prefix_length is not None and not rule.cidr:
        refuse("needs cidr", "prefixLength")
    _check_operations(rule)


def _check_operations(rule: FilterRule) -> None:
    if rule.operations and rule.action != "Accept":
        refuse("go with action Accept only", "operations")


def check_operation(operation: FilterOperation) -> None:
    given = (operation.add_community, operation.prepend_as_path, operation.set_priority)
    if sum(one is not None for one in given) != 1:
        refuse("must hold exactly one of addCommunity, prependASPath, setPriority")
