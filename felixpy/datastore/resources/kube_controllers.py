"""The configuration of Calico's controllers; felixpy accepts it and has no use for it."""

# ruff: noqa: RUF012 - msgspec makes a new empty list or dict for each object

from __future__ import annotations

from typing import Annotated

from msgspec import field

from felixpy.datastore.resources.fields import (
    AnyCidr,
    BoundedName,
    Duration,
    LabelMap,
    Labels,
    Regexp,
    Selector,
    Switch,
)
from felixpy.datastore.resources.marks import one_of, within
from felixpy.datastore.resources.meta import Block, Document

PortOrZero = Annotated[int, within(0, 65535)]


class Template(Block, frozen=True):
    generate_name: BoundedName = ""
    interface_cidrs: list[AnyCidr] = field(default_factory=list, name="interfaceCIDRs")
    interface_pattern: Regexp = ""
    labels: LabelMap = {}
    annotations: Labels = {}
    node_selector: Selector = ""


class AutoHostEndpoint(Block, frozen=True):
    auto_create: Switch = ""
    create_default_host_endpoint: Switch = ""
    templates: list[Template] = []


class NodeController(Block, frozen=True):
    reconciler_period: Duration | None = None
    sync_labels: Switch = ""
    host_endpoint: AutoHostEndpoint | None = None
    leak_grace_period: Duration | None = None


class PeriodicController(Block, frozen=True):
    reconciler_period: Duration | None = None


class LoadBalancerController(Block, frozen=True):
    assign_ips: Annotated[str, one_of("AllServices", "RequestedServicesOnly")] = field(
        default="", name="assignIPs"
    )


class MigrationController(Block, frozen=True):
    policy_name_migrator: Switch = ""


class Controllers(Block, frozen=True):
    node: NodeController | None = None
    policy: PeriodicController | None = None
    workload_endpoint: PeriodicController | None = None
    service_account: PeriodicController | None = None
    namespace: PeriodicController | None = None
    load_balancer: LoadBalancerController | None = None
    migration: MigrationController | None = None


class KubeControllersConfigurationSpec(Block, frozen=True):
    log_severity_screen: Annotated[
        str, one_of("None", "Debug", "Info", "Warning", "Error", "Fatal", "Panic")
    ] = ""
    health_checks: Switch = ""
    etcd_v3_compaction_period: Duration | None = None
    prometheus_metrics_port: PortOrZero | None = None
    controllers: Controllers = Controllers()
    debug_profile_port: PortOrZero | None = None


class KubeControllersConfiguration(Document, frozen=True):
    spec: KubeControllersConfigurationSpec = KubeControllersConfigurationSpec()
