"""Everything that the survey needs, read once: configuration, datastore, kernel.

    in   the configuration file, perhaps a directory in the datastore's place
    out  Report; ConfigError, SnapshotError or DataplaneError

The agent need not run.  The configuration is resolved as an agent's, with what the datastore says.
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Iterable, Iterator, Mapping
from ipaddress import ip_address
from pathlib import Path
from typing import NamedTuple

from msgspec import structs

from calc_graph.graph import CalcGraph
from calc_graph.judge import Address
from calc_graph.model import Node, NodeKey
from calc_graph.updates import HostEndpointUpdate
from dataplane.interfaces import Interface, InterfaceMonitor
from dataplane.settings import Settings
from felixpy.config import Config, to_settings
from felixpy.datastore.snapshot import Snapshot, read_directory, read_snapshot
from felixpy.datastore.source import BadInput
from felixpy.etcd.settings import to_etcd_settings
from felixpy.exposure import targets
from felixpy.exposure.survey import Exposed, Survey
from felixpy.exposure.targets import Target
from felixpy.judging import host_view, judge_settings
from felixpy.live_config import LiveConfig
from felixpy.ways import SOMEWHERE, Ways

SECONDS = 60.0  # for all of a large etcd over a slow line


class Report(NamedTuple):
    """`errors`: nothing was asked; `unknown`: what could not be asked about, and why."""

    location: str
    errors: tuple[BadInput, ...] = ()
    exposed: tuple[Exposed, ...] = ()
    workloads: int = 0
    asked: tuple[Target, ...] = ()
    by_design: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()


class _Kernel(NamedTuple):
    """`seen`: interfaces as an agent sees them; `addresses`: all, with the interface of each."""

    seen: Mapping[str, Interface]
    addresses: frozenset[tuple[str, str]]


def read(path: Path, directory: Path | None) -> Report:
    live = LiveConfig(path, os.environ)
    if directory is not None:
        snapshot = read_directory(directory)
    else:
        snapshot = read_snapshot(live.config, SECONDS)
    if snapshot.errors:
        return Report(snapshot.location, snapshot.errors)
    for key, value in snapshot.values.items():
        live.note(key, value)
    live.settle()
    return asyncio.run(_survey(snapshot, live.config))


async def _survey(snapshot: Snapshot, config: Config) -> Report:
    graph = CalcGraph(config.felix_hostname)
    graph.in_sync()
    for key, value in snapshot.values.items():
        graph.update(key, value)
    updates = graph.flush()
    settings = await asyncio.to_thread(to_settings, config)
    kernel = await _read_kernel(settings)
    etcd, unknown = await asyncio.to_thread(_etcd, config)
    asked = (
        *targets.of_host(config, kernel.addresses),
        *targets.of_datastore(etcd),
        *targets.of_metadata(settings),
        *targets.of_nodes(config, _nodes(snapshot)),
    )
    ways = Ways(
        {interface.index: name for name, interface in kernel.seen.items()},
        needed=any(isinstance(update, HostEndpointUpdate) for update in updates),
    )
    own = {ip_address(address) for _, address in kernel.addresses}
    try:
        await ways.learn(target.address.packed for target in asked if target.address not in own)
    finally:
        ways.close()

    def leaving(target: Target) -> str | None:
        if target.address in own:
            return None
        return ways.to(target.address.packed) or SOMEWHERE

    survey = Survey(
        judge_settings(settings), updates, asked, host_view(kernel.seen.values()), leaving
    )
    return Report(
        snapshot.location,
        exposed=tuple(survey.exposed()),
        workloads=survey.workloads,
        asked=asked,
        by_design=tuple(_by_design(settings)),
        unknown=(*unknown, *_warnings(snapshot)),
    )


async def _read_kernel(settings: Settings) -> _Kernel:
    """Raises DataplaneError."""
    seen = await _interfaces(settings)
    # a workload talks to its gateway, which may have the link's own address
    render = structs.replace(settings.render, interface_prefixes=())
    everything = await _interfaces(structs.replace(settings, render=render))
    return _Kernel(
        seen,
        frozenset(
            (name, address)
            for name, interface in everything.items()
            for address in interface.addresses
        ),
    )


async def _interfaces(settings: Settings) -> Mapping[str, Interface]:
    monitor = InterfaceMonitor(settings)
    try:
        return await monitor.start()
    finally:
        monitor.close()


def _etcd(config: Config) -> tuple[list[tuple[str, Address, int]], list[str]]:
    """The addresses of its members, and what is not known of them; may take its time."""
    if config.datastore_type == "file":
        return [], []
    found: list[tuple[str, Address, int]] = []
    unknown = []
    for endpoint in to_etcd_settings(config).endpoints:
        try:
            answers = socket.getaddrinfo(endpoint.host, endpoint.port, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError) as error:
            unknown.append(f"etcd {endpoint}: {error}")
            continue
        addresses = dict.fromkeys(str(answer[4][0]) for answer in answers)
        found += [(str(endpoint), ip_address(each), endpoint.port) for each in addresses]
    return found, unknown


def _nodes(snapshot: Snapshot) -> Iterable[tuple[str, Node]]:
    for key, value in snapshot.values.items():
        if isinstance(key, NodeKey) and isinstance(value, Node):
            yield key.name, value


def _by_design(settings: Settings) -> Iterator[str]:
    """What no policy can close; the judge calls it bootstrapping."""
    if settings.ipv6:
        yield "neighbour discovery of IPv6 with this host"
    render = settings.render
    if render.openstack:
        yield "DHCP (UDP 68 to 67, IPv6 546 to 547) and DNS (UDP 53) of this host"
        if render.metadata_addr:
            yield (
                f"OpenStack's metadata, {render.metadata_addr} TCP {render.metadata_port},"
                " where that is an address of this host"
            )


def _warnings(snapshot: Snapshot) -> Iterator[str]:
    for invalid in snapshot.invalid:
        yield f"counts as absent: {invalid}"
    if not snapshot.ready:
        yield "ClusterInformation default: datastoreReady is not true: an agent waits until it is"
