"""The datastore that the configuration names."""

from __future__ import annotations

from pathlib import Path

from felixpy.config import Config
from felixpy.datastore.etcd_source import EtcdSource
from felixpy.datastore.manifests import ManifestSource
from felixpy.datastore.source import Source
from felixpy.etcd.client import EtcdClient
from felixpy.etcd.settings import to_etcd_settings


def open_source(config: Config) -> Source:
    """Not yet connected."""
    if config.datastore_type == "file":
        return ManifestSource(Path(config.datastore_path).absolute())
    return EtcdSource(EtcdClient(to_etcd_settings(config), config.felix_hostname))
