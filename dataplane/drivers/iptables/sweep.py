"""Everything of ours out of one backend's tables, and nothing else.

For `felixpy cleanup`, and for what an agent on the other backend has left behind.  Chains go by
their prefixes, rules in kernel chains by their ids.
"""

from __future__ import annotations

from collections.abc import Sequence

import structlog

from dataplane.drivers.iptables.blocks import RefusedError
from dataplane.drivers.iptables.detect import Kind, describe, installed, legacy_tables
from dataplane.drivers.iptables.reader import Reader
from dataplane.drivers.iptables.save import is_owned
from dataplane.drivers.iptables.tables import Table
from dataplane.drivers.iptables.writer import BatchWriter
from dataplane.errors import ChainsRefusedError
from dataplane.families import Family
from dataplane.runner import Runner

log = structlog.get_logger(__name__)


async def sweep(
    kind: Kind,
    family: Family,
    tables: Sequence[str],
    runner: Runner,
    *,
    lock_probe_micros: int,
    dry_run: bool = False,
) -> int:
    """The number of chains taken out; raises a DataplaneError when something of ours remains.

    With `dry_run` the number of those that are there.

    Looking makes no table: legacy ones are only read where the kernel has them.
    """
    if kind == "legacy":
        tables = [table for table in tables if table in legacy_tables(family)]
    if not tables or not installed(kind, family):
        return 0
    backend = await describe(kind, family, runner)
    if backend.kind != kind:
        return 0
    writer = BatchWriter(backend, runner, lock_probe_micros=lock_probe_micros)
    contents = await Reader(backend, runner).read_tables(tables)
    if dry_run:
        return sum(is_owned(chain) for name in tables for chain in contents[name].chains)
    removed = 0
    remaining: dict[tuple[str, str], str] = {}
    for name in tables:
        table = Table(name, legacy=kind == "legacy", append=False)
        table.observe(contents[name], written_meanwhile=frozenset())
        removed += await _empty(table, writer, family)
        remaining |= {(name, chain): why for chain, why in table.undeletable.items()}
    if removed:
        log.info("iptables.swept", backend=backend.command, chains=removed)
    if remaining:
        raise ChainsRefusedError(family, remaining)
    return removed


async def _empty(table: Table, writer: BatchWriter, family: Family) -> int:
    removed = 0
    while plan := table.plan():
        if plan.write is not None:
            try:
                await writer.write([plan.write])
            except RefusedError as error:
                raise ChainsRefusedError(
                    family, {(table.name, error.chain): error.reason}
                ) from error
            table.done(plan)
        if plan.delete is not None:
            try:
                await writer.write([plan.delete])
            except RefusedError as error:
                for chain in [error.chain] if error.chain else plan.deleted:
                    table.undeleted(chain, error.reason)
            else:
                table.deleted(plan)
                removed += len(plan.deleted)
    return removed
