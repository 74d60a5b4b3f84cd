"""Rules that concern several fields of an object, found by the object's type."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from msgspec import Struct

from felixpy.datastore.resources import (
    bgp,
    cluster,
    endpoints,
    felix_configuration,
    felix_parts,
    ipam,
    ipsec,
    kubernetes,
    policy,
)
from felixpy.datastore.validation import (
    bgp_rules,
    cluster_rules,
    endpoint_rules,
    ipsec_rules,
    policy_rules,
    pool_rules,
)


class Between(Struct, frozen=True):
    """`examine` raises InvalidResourceError; `schema` as for `Check`."""

    examine: Callable[[Any], None]
    schema: bool = False


def _always(*rules: Callable[[Any], None]) -> tuple[Between, ...]:
    return tuple(Between(rule) for rule in rules)


def _schema(*rules: Callable[[Any], None]) -> tuple[Between, ...]:
    return tuple(Between(rule, schema=True) for rule in rules)


# The rules of a type hold for the types derived from it, too.
BETWEEN_FIELDS: dict[type, tuple[Between, ...]] = {
    policy.Rule: (
        *_always(policy_rules.check_ports, policy_rules.check_nets),
        *_schema(
            policy_rules.check_icmp,
            policy_rules.check_http_rule,
            policy_rules.check_services_without_ports,
        ),
    ),
    policy.IcmpFields: _schema(policy_rules.check_icmp_fields),
    policy.HttpMatch: _always(policy_rules.check_http),
    policy.EntityRule: (
        *_always(policy_rules.check_namespace_selector),
        *_schema(policy_rules.check_entity),
    ),
    policy.RuleMetadata: _always(policy_rules.check_rule_metadata),
    policy.NetworkPolicySpec: _schema(policy_rules.check_staged, policy_rules.check_policy),
    policy.GlobalNetworkPolicySpec: _schema(
        policy_rules.check_global_policy, policy_rules.check_hooks
    ),
    policy.Tier: _schema(policy_rules.check_tier),
    kubernetes.StagedKubernetesNetworkPolicySpec: _schema(policy_rules.check_staged_kubernetes),
    endpoints.HostEndpointSpec: _schema(endpoint_rules.check_host_endpoint),
    endpoints.NamedPort: _always(endpoint_rules.check_port),
    endpoints.WorkloadPort: _always(endpoint_rules.check_port, endpoint_rules.check_workload_port),
    endpoints.IpNat: _always(endpoint_rules.check_nat),
    endpoints.WorkloadEndpointSpec: _always(endpoint_rules.check_workload_endpoint),
    ipsec.IpsecNodeSpec: _always(ipsec_rules.check_ipsec_node, ipsec_rules.check_peers),
    ipam.IpPoolSpec: _schema(pool_rules.check_pool),
    ipam.BlockAffinitySpec: _always(pool_rules.check_block_affinity),
    bgp.BgpConfigurationSpec: (
        *_always(bgp_rules.check_communities),
        *_schema(bgp_rules.check_configuration),
    ),
    bgp.BgpPeerSpec: (*_always(bgp_rules.check_reachable_by), *_schema(bgp_rules.check_peer)),
    bgp.FilterRuleV4: _schema(bgp_rules.check_filter_rule),
    bgp.FilterRuleV6: _schema(bgp_rules.check_filter_rule),
    bgp.FilterOperation: _schema(bgp_rules.check_operation),
    cluster.NodeSpec: _always(cluster_rules.check_node),
    cluster.CalicoNodeStatusSpec: _always(cluster_rules.check_node_status),
    cluster.LiveMigrationSource: _schema(cluster_rules.check_migration_source),
    cluster.LiveMigrationTarget: _schema(cluster_rules.check_migration_target),
    felix_parts.RouteTableRange: _always(cluster_rules.check_table_range),
    felix_parts.RouteTableIdRange: _always(cluster_rules.check_table_id_range),
    felix_configuration.FelixConfiguration: (
        *_always(cluster_rules.check_table_count),
        *_schema(cluster_rules.check_felix_configuration),
    ),
}
