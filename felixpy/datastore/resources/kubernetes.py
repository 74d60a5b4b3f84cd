"""Kubernetes' own shapes, where Calico's resources hold them, and its Secret."""

# ruff: noqa: RUF012 - msgspec makes a new empty list or dict for each object

from __future__ import annotations

from typing import Annotated

from msgspec import Struct, field

from felixpy.datastore.resources.fields import AnyCidr, Labels
from felixpy.datastore.resources.marks import items_between, one_of, one_of_always, within
from felixpy.datastore.resources.meta import Block, Document, Metadata
from felixpy.datastore.resources.numbers import NumberOrText
from felixpy.datastore.resources.policy import PolicyType, StagedAction

SelectorOperator = Annotated[str, one_of_always("In", "NotIn", "Exists", "DoesNotExist")]
PortProtocol = Annotated[str, one_of("TCP", "UDP", "SCTP")]


class SelectorRequirement(Block, frozen=True):
    key: str
    operator: SelectorOperator
    values: list[str] = []


class LabelSelector(Block, frozen=True):
    match_labels: Labels = {}
    match_expressions: list[SelectorRequirement] = []


class IpBlock(Block, frozen=True):
    cidr: AnyCidr
    except_: list[AnyCidr] = field(default_factory=list, name="except")


class PolicyPeer(Block, frozen=True):
    pod_selector: LabelSelector | None = None
    namespace_selector: LabelSelector | None = None
    ip_block: IpBlock | None = None


class PolicyPort(Block, frozen=True):
    protocol: PortProtocol | None = None
    port: NumberOrText | None = None
    end_port: Annotated[int, within(1, 65535)] | None = None


class IngressRule(Block, frozen=True):
    ports: list[PolicyPort] = []
    from_: list[PolicyPeer] = field(default_factory=list, name="from")


class EgressRule(Block, frozen=True):
    ports: list[PolicyPort] = []
    to: list[PolicyPeer] = []


class StagedKubernetesNetworkPolicySpec(Block, frozen=True):
    staged_action: StagedAction = ""
    pod_selector: LabelSelector = LabelSelector()
    ingress: list[IngressRule] = []
    egress: list[EgressRule] = []
    policy_types: Annotated[list[PolicyType], items_between(1, 2)] = []


class StagedKubernetesNetworkPolicy(Document, frozen=True):
    spec: StagedKubernetesNetworkPolicySpec = StagedKubernetesNetworkPolicySpec()


class Secret(Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    """A password that a BGP resource refers to.  Its representation never shows the data."""

    api_version: str
    kind: str
    metadata: Metadata = field(default_factory=Metadata)
    type: str = ""
    immutable: bool = False
    data: Labels = {}
    string_data: Labels = {}

    def __repr__(self) -> str:
        return f"Secret({self.metadata.namespace}/{self.metadata.name})"
