"""Where the agent reads from, and who it is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from felixpy.config.network_types import AUTHORITY, ENDPOINTS, HOSTNAME, REGION
from felixpy.config.parameter import param
from felixpy.config.types import EXISTING_FILE, EXISTING_FILE_OR_DIRECTORY, FILE, TEXT, one_of


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
    # Flag D on all of etcd, other than in Felix: where a mistake fell back to a default, the agent
    # would take its orders from another datastore, or from whoever can get in between.
    etcd_endpoints: tuple[str, ...] = param(
        "EtcdEndpoints",
        ENDPOINTS,
        (),
        "The members of the etcd cluster; takes precedence over EtcdAddr and EtcdScheme.",
        flags="LD",
    )
    etcd_addr: str = param(
        "EtcdAddr",
        AUTHORITY,
        "127.0.0.1:2379",
        "The one etcd server, where EtcdEndpoints is unset: Felix 1.x had this.",
        flags="LD",
    )
    etcd_scheme: Literal["http", "https"] = param(
        "EtcdScheme",
        one_of("http", "https", none="http"),
        "http",
        "How EtcdAddr is spoken to.",
        flags="LD",
    )
    etcd_key_file: str = param(
        "EtcdKeyFile",
        EXISTING_FILE,
        "",
        "Private key with which the agent identifies itself to etcd.",
        flags="LD",
    )
    etcd_cert_file: str = param(
        "EtcdCertFile",
        EXISTING_FILE,
        "",
        "Certificate that belongs to EtcdKeyFile.",
        flags="LD",
    )
    etcd_ca_file: str = param(
        "EtcdCaFile",
        EXISTING_FILE_OR_DIRECTORY,
        "",
        "The authorities that may vouch for etcd: a file or a directory of certificates; unset: "
        "those that this machine trusts.",
        flags="LD",
    )
    etcd_username: str = param(
        "EtcdUsername",
        TEXT,
        "",
        "User name for etcd, where it asks for one.",
        flags="LD",
    )
    etcd_password: str = param(
        "EtcdPassword",
        TEXT,
        "",
        "Password that belongs to EtcdUsername.",
        flags="LD",
        secret=True,
    )
    openstack_region: str = param(
        "OpenstackRegion",
        REGION,
        "",
        "OpenStack region in whose name the status of this node is reported.",
        flags="D",
        live=True,
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
