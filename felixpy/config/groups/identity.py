"""Where the agent reads from, and who it is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from felixpy.config.network_types import AUTHORITY, ENDPOINTS, HOSTNAME, REGION
from felixpy.config.parameter import param
from felixpy.config.types import EXISTING_FILE, FILE, TEXT, one_of


@dataclass(frozen=True)
class Identity:
    """Datastore and identity"""

    # Felix's default is etcdv3; felixpy's needs no server.  Where an etcd is named and this is
    # not set, it is etcdv3 as well: see `resolve`.
    datastore_type: Literal["file", "etcdv3", "kubernetes"] = param(
        "DatastoreType",
        one_of("file", "etcdv3", "kubernetes", none="file"),
        "file",
        "Where the resources come from: a directory of manifests, etcd, or a Kubernetes API.",
        flags="LDZ",
    )
    datastore_path: str = param(
        "DatastorePath",
        FILE,
        "/etc/felixpy/manifests",
        "Directory whose manifests are the resources when DatastoreType is file.",
        flags="LDZ",
    )
    felix_hostname: str = param(
        "FelixHostname",
        HOSTNAME,
        "",
        "Name of this node in the datastore; unset: the kernel's host name in lower case.",
        flags="LDZ",
    )
    run_dir: str = param(
        "RunDir",
        FILE,
        "/run/felixpy",
        "Directory of the running agent's lock, status and control socket.",
        flags="LDZ",
    )
    etcd_endpoints: tuple[str, ...] = param(
        "EtcdEndpoints",
        ENDPOINTS,
        (),
        "The members of the etcd cluster; takes precedence over EtcdAddr and EtcdScheme.",
        flags="L",
        effect="later",
    )
    etcd_addr: str = param(
        "EtcdAddr",
        AUTHORITY,
        "127.0.0.1:2379",
        "The one etcd server, where EtcdEndpoints is unset.",
        flags="L",
        effect="later",
    )
    etcd_scheme: Literal["http", "https"] = param(
        "EtcdScheme",
        one_of("http", "https", none="http"),
        "http",
        "How EtcdAddr is spoken to.",
        flags="L",
        effect="later",
    )
    etcd_key_file: str = param(
        "EtcdKeyFile",
        EXISTING_FILE,
        "",
        "Private key with which the agent identifies itself to etcd.",
        flags="L",
        effect="later",
    )
    etcd_cert_file: str = param(
        "EtcdCertFile",
        EXISTING_FILE,
        "",
        "Certificate that belongs to EtcdKeyFile.",
        flags="L",
        effect="later",
    )
    etcd_ca_file: str = param(
        "EtcdCaFile",
        EXISTING_FILE,
        "",
        "Certificates of the authorities that may vouch for etcd.",
        flags="L",
        effect="later",
    )
    etcd_username: str = param(
        "EtcdUsername",
        TEXT,
        "",
        "User name for etcd, where it asks for one.",
        flags="L",
        effect="later",
    )
    etcd_password: str = param(
        "EtcdPassword",
        TEXT,
        "",
        "Password that belongs to EtcdUsername.",
        flags="L",
        secret=True,
        effect="later",
    )
    openstack_region: str = param(
        "OpenstackRegion",
        REGION,
        "",
        "OpenStack region in whose name the status of this node is reported.",
        flags="D",
        effect="later",
    )
    cluster_guid: str = param(
        "ClusterGUID",
        TEXT,
        "baddecaf",
        "Identity of the cluster, as its ClusterInformation has it.",
        live=True,
        effect="nothing",
    )
    cluster_type: str = param(
        "ClusterType",
        TEXT,
        "",
        'What the cluster consists of; one that contains "openstack" gets OpenStack\'s rules.',
        live=True,
    )
    calico_version: str = param(
        "CalicoVersion",
        TEXT,
        "",
        "Version of the cluster's Calico, as its ClusterInformation has it.",
        live=True,
        effect="nothing",
    )
    variant: str = param(
        "Variant",
        TEXT,
        "Calico",
        "Which make of Calico the cluster runs, as its ClusterInformation has it.",
        effect="nothing",
    )
