"""Policies, profiles and tiers."""

# ruff: noqa: RUF012 - msgspec makes a new empty list or dict for each object

from __future__ import annotations

from typing import Annotated

from msgspec import field

from felixpy.datastore.resources.fields import (
    BoundedName,
    BoundedSelector,
    LabelMap,
    Labels,
    Name,
    Net,
    Order,
    Protocol,
    Selector,
)
from felixpy.datastore.resources.marks import (
    Check,
    items_between,
    max_items,
    max_length,
    one_of,
    one_of_always,
    within,
)
from felixpy.datastore.resources.meta import Block, Document
from felixpy.datastore.resources.numbers import NumberOrText

MAX_RULES = 1024
MAX_NETS = 256
MAX_PORTS = 50

IpVersion = Annotated[int, Check(frozenset({4, 6}).__contains__, "4 or 6", schema=True)]
IcmpType = Annotated[int, within(0, 254, schema=False)]
IcmpCode = Annotated[int, within(0, 255, schema=False)]
Action = Annotated[str, one_of("Allow", "Deny", "Log", "Pass")]
StagedAction = Annotated[str, one_of("Set", "Delete", "Learn", "Ignore")]
TierAction = Annotated[str, one_of("Deny", "Pass")]
PolicyType = Annotated[str, one_of("Ingress", "Egress")]
PolicyTypes = Annotated[list[PolicyType], items_between(1, 2)]
PerformanceHint = Annotated[str, one_of_always("AssumeNeededOnEveryNode")]
Nets = Annotated[list[Net], max_items(MAX_NETS)]
Ports = Annotated[list[NumberOrText], max_items(MAX_PORTS)]


class IcmpFields(Block, frozen=True):
    type: IcmpType | None = None
    code: IcmpCode | None = None


class HttpPath(Block, frozen=True):
    exact: Annotated[str, max_length(1024)] = ""
    prefix: Annotated[str, max_length(1024)] = ""


class HttpMatch(Block, frozen=True):
    methods: Annotated[list[str], max_items(20)] = []
    paths: Annotated[list[HttpPath], max_items(20)] = []


class ServiceMatch(Block, frozen=True):
    name: BoundedName = ""
    namespace: BoundedName = ""


class ServiceAccountMatch(Block, frozen=True):
    names: list[str] = []
    selector: Selector = ""


class EntityRule(Block, frozen=True):
    nets: Nets = []
    selector: BoundedSelector = ""
    namespace_selector: BoundedSelector = ""
    services: ServiceMatch | None = None
    ports: Ports = []
    not_nets: Nets = []
    not_selector: BoundedSelector = ""
    not_ports: Ports = []
    service_accounts: ServiceAccountMatch | None = None


class RuleMetadata(Block, frozen=True):
    annotations: Labels = {}


class Rule(Block, frozen=True):
    action: Action
    ip_version: IpVersion | None = None
    protocol: Protocol | None = None
    icmp: IcmpFields | None = None
    not_protocol: Protocol | None = None
    not_icmp: IcmpFields | None = field(default=None, name="notICMP")
    source: EntityRule = EntityRule()
    destination: EntityRule = EntityRule()
    http: HttpMatch | None = None
    metadata: RuleMetadata | None = None


Rules = Annotated[list[Rule], max_items(MAX_RULES)]


class NetworkPolicySpec(Block, frozen=True):
    tier: Name = ""
    order: Order | None = None
    ingress: Rules = []
    egress: Rules = []
    selector: BoundedSelector = ""
    types: PolicyTypes = []
    service_account_selector: BoundedSelector = ""
    performance_hints: list[PerformanceHint] = []


class GlobalNetworkPolicySpec(NetworkPolicySpec, frozen=True):
    do_not_track: bool = False
    pre_dnat: bool = field(default=False, name="preDNAT")
    apply_on_forward: bool = False
    namespace_selector: BoundedSelector = ""


class StagedNetworkPolicySpec(NetworkPolicySpec, frozen=True):
    staged_action: StagedAction = ""


class StagedGlobalNetworkPolicySpec(GlobalNetworkPolicySpec, frozen=True):
    staged_action: StagedAction = ""


class NetworkPolicy(Document, frozen=True):
    spec: NetworkPolicySpec = NetworkPolicySpec()


class GlobalNetworkPolicy(Document, frozen=True):
    spec: GlobalNetworkPolicySpec = GlobalNetworkPolicySpec()


class StagedNetworkPolicy(Document, frozen=True):
    spec: StagedNetworkPolicySpec = StagedNetworkPolicySpec()


class StagedGlobalNetworkPolicy(Document, frozen=True):
    spec: StagedGlobalNetworkPolicySpec = StagedGlobalNetworkPolicySpec()


class ProfileSpec(Block, frozen=True):
    ingress: Rules = []
    egress: Rules = []
    labels_to_apply: LabelMap = {}


class Profile(Document, frozen=True):
    spec: ProfileSpec = ProfileSpec()


class TierSpec(Block, frozen=True):
    order: Order | None = None
    default_action: TierAction | None = None


class Tier(Document, frozen=True):
    spec: TierSpec = TierSpec()
