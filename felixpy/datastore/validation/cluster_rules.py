"""Rules between the fields of nodes, configurations and live migrations."""

from __future__ import annotations

from felixpy.datastore.resources.cluster import (
    CalicoNodeStatusSpec,
    LiveMigrationSource,
    LiveMigrationTarget,
    NodeBgp,
    NodeSpec,
)
from felixpy.datastore.resources.felix_configuration import FelixConfiguration
from felixpy.datastore.resources.felix_parts import RouteTableIdRange, RouteTableRange
from felixpy.datastore.validation.fault import refuse

MAX_TABLE = 250
MAX_TABLES = 65535


def check_node(spec: NodeSpec) -> None:
    if spec.bgp == NodeBgp():
        refuse("must not be empty", "bgp")


def check_node_status(spec: CalicoNodeStatusSpec) -> None:
    if not spec.node:
        refuse("must be given", "node")
    if not spec.classes or len(set(spec.classes)) != len(spec.classes):
        refuse("must name at least one class, and none twice", "classes")


def check_migration_source(source: LiveMigrationSource) -> None:
    if (source.workload is None) == (source.workload_endpoint is None):
        refuse("must hold exactly one of workload and workloadEndpoint")


def check_migration_target(target: LiveMigrationTarget) -> None:
    if (target.selector is None) == (target.workload_endpoint is None):
        refuse("must hold exactly one of selector and workloadEndpoint")


def check_table_range(tables: RouteTableRange) -> None:
    if not 1 <= tables.min <= tables.max <= MAX_TABLE:
        refuse(f"must be a range within 1 to {MAX_TABLE}")


def check_table_id_range(tables: RouteTableIdRange) -> None:
    if tables.min > tables.max:
        refuse("min must not be greater than max", "min")


def check_table_count(configuration: FelixConfiguration) -> None:
    ranges = configuration.spec.routeTableRanges or ()  # type: ignore[attr-defined]
    if sum(tables.max - tables.min + 1 for tables in ranges) > MAX_TABLES:
        refuse(f"name more than {MAX_TABLES} tables", "spec", "routeTableRanges")


def check_felix_configuration(configuration: FelixConfiguration) -> None:
    spec, name = configuration.spec, configuration.metadata.name
    if spec.nodeSelector is not None and (name == "default" or name.startswith("node.")):  # type: ignore[attr-defined]
        refuse("goes not with the names default and node.<name>", "spec", "nodeSelector")
    if spec.routeTableRange is not None and spec.routeTableRanges is not None:  # type: ignore[attr-defined]
        refuse("routeTableRange and routeTableRanges exclude each other", "spec", "routeTableRange")
