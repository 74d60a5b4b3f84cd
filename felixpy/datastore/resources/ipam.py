"""Address management: pools, reservations, and what IPAM keeps for itself."""

# ruff: noqa: RUF012 - msgspec makes a new empty list or dict for each object

from __future__ import annotations

from typing import Annotated, Any

from msgspec import field

from felixpy.datastore.resources.addresses import is_cidr
from felixpy.datastore.resources.fields import (
    AnyCidr,
    BoundedSelector,
    Labels,
    Net,
    Switch,
)
from felixpy.datastore.resources.marks import (
    Check,
    max_items,
    max_length,
    one_of,
    one_of_always,
    pattern,
    within,
)
from felixpy.datastore.resources.meta import Block, Document

_WITH_LENGTH = Check(is_cidr, "a CIDR with a length", schema=True)

EncapMode = Annotated[str, one_of("Never", "Always", "CrossSubnet")]
AllowedUse = Annotated[str, one_of_always("Workload", "Tunnel", "LoadBalancer")]
ReservedCidr = Annotated[AnyCidr, _WITH_LENGTH]
BlockCidr = Annotated[str, _WITH_LENGTH]


class IpPoolSpec(Block, frozen=True):
    cidr: Annotated[Net, _WITH_LENGTH, max_length(48)]
    vxlan_mode: EncapMode = ""
    ipip_mode: EncapMode = ""
    nat_outgoing: bool = False
    disabled: bool = False
    disable_bgp_export: bool = field(default=False, name="disableBGPExport")
    block_size: Annotated[int, within(0, 128)] = 0
    node_selector: BoundedSelector = ""
    namespace_selector: BoundedSelector = ""
    allowed_uses: Annotated[list[AllowedUse], max_items(10)] = []
    assignment_mode: Annotated[str, one_of("Automatic", "Manual")] | None = None


class IpPool(Document, frozen=True, kw_only=True):
    spec: IpPoolSpec


class IpReservationSpec(Block, frozen=True):
    reserved_cidrs: list[ReservedCidr] = field(default_factory=list, name="reservedCIDRs")


class IpReservation(Document, frozen=True):
    spec: IpReservationSpec = IpReservationSpec()


class IpamConfigurationSpec(Block, frozen=True):
    strict_affinity: bool = False
    max_blocks_per_host: Annotated[int, within(0, 1_000_000, schema=False)] = 0
    auto_allocate_blocks: bool = True
    kube_virt_vm_address_persistence: Switch | None = field(
        default=None, name="kubeVirtVMAddressPersistence"
    )
    ip_cooldown_seconds: Annotated[int, within(0, 1200)] = 0


class IpamConfiguration(Document, frozen=True):
    spec: IpamConfigurationSpec = IpamConfigurationSpec()


class AllocationAttribute(Block, frozen=True):
    handle_id: str | None = field(default=None, name="handle_id")
    secondary: Labels = {}
    alternate_owner_attrs: Labels = {}
    released_at: Any = None


class IpamBlockSpec(Block, frozen=True):
    cidr: BlockCidr
    affinity: (
        Annotated[str, pattern(r"(host|virtual):[a-zA-Z0-9.\-_]+", "host:<node> or virtual:<name>")]
        | None
    ) = None
    affinity_claim_time: Any = None
    allocations: list[int | None] = []
    unallocated: list[int] = []
    attributes: list[AllocationAttribute] = []
    sequence_number: int = 0
    sequence_number_for_allocation: dict[str, int] = {}
    deleted: bool = False
    strict_affinity: bool = False


class IpamBlock(Document, frozen=True, kw_only=True):
    spec: IpamBlockSpec


class BlockAffinitySpec(Block, frozen=True):
    state: Annotated[str, one_of("confirmed", "pending", "pendingDeletion")] = ""
    node: str = ""
    type: str = ""
    cidr: BlockCidr = ""
    deleted: bool = False


class BlockAffinity(Document, frozen=True):
    spec: BlockAffinitySpec = BlockAffinitySpec()


class IpamHandleSpec(Block, frozen=True):
    handle_id: str = field(default="", name="handleID")
    block: dict[str, int] = {}
    deleted: bool = False


class IpamHandle(Document, frozen=True):
    spec: IpamHandleSpec = IpamHandleSpec()
