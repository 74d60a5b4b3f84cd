"""The datastore that the configuration names, and where this node's status goes beside it."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from felixpy.config import Config
from felixpy.datastore.etcd_keys import ranges
from felixpy.datastore.etcd_source import EtcdSource
from felixpy.datastore.manifests import ManifestSource
from felixpy.datastore.source import Source
from felixpy.etcd.client import EtcdClient
from felixpy.etcd.settings import to_etcd_settings
from felixpy.ipsec.life import is_kept
from felixpy.statusrep.directory import DirectoryStatusStore
from felixpy.statusrep.etcd import EtcdStatusStore
from felixpy.statusrep.store import StatusStore


class Datastore(NamedTuple):
    source: Source
    status: StatusStore


def open_datastore(config: Config, run_directory: Path) -> Datastore:
    """Not yet connected.

    A directory of manifests is only read: what this node says of itself goes to `run_directory`.
    What nodes publish of IPsec is read as long as something of it may be left here.
    """
    if config.datastore_type == "file":
        manifests = ManifestSource(Path(config.datastore_path).absolute())
        return Datastore(manifests, DirectoryStatusStore(run_directory))
    client = EtcdClient(to_etcd_settings(config), config.felix_hostname)
    ipsec = config.ipsec_enabled or is_kept(run_directory)
    source = EtcdSource(client, ranges=ranges(bgp=config.bgp_enabled, ipsec=ipsec))
    return Datastore(source, EtcdStatusStore(client))
