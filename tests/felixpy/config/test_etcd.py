"""Which datastore is meant, and what about etcd does not fit together."""

from __future__ import annotations

from pathlib import Path

import pytest

from felixpy.config.parameters import Config
from felixpy.config.problems import ConfigError
from felixpy.config.resolve import Resolved, examine, resolve
from felixpy.config.sources import Rank, Setting, Source, parse_file, read_environment

HOST = Source(Rank.MACHINE, (Setting("FelixHostname", "n1", "host name of the kernel"),))


def sources(file: str, environ: dict[str, str]) -> tuple[Source, ...]:
    return (parse_file(file, "f.cfg"), *read_environment(environ), HOST)


def said(resolved: Resolved) -> list[str]:
    return [f"{problem.severity}: {problem}" for problem in resolved.problems]


TYPES = [
    # file, environment, type, where it comes from
    ("EtcdEndpoints = http://a:1", {}, "etcdv3", "implied by EtcdEndpoints (f.cfg:1)"),
    ("etcdaddr = a:1", {}, "etcdv3", "implied by EtcdAddr (f.cfg:1)"),
    ("EtcdScheme = http", {}, "etcdv3", "implied by EtcdScheme (f.cfg:1)"),
    ("", {"ETCD_ENDPOINTS": "http://a:1"}, "etcdv3", "implied by EtcdEndpoints"),
    ("", {"FELIX_ETCDENDPOINTS": "http://a:1"}, "etcdv3", "implied by EtcdEndpoints"),
    ("", {"ETCD_DISCOVERY_SRV": "x"}, "etcdv3", "implied by EtcdDiscoverySrv"),
    ("", {"FELIX_DATASTORETYPE": "ETCDv3"}, "etcdv3", "environment FELIX_DATASTORETYPE"),
    ("", {"DATASTORE_TYPE": "kubernetes"}, "kubernetes", "environment DATASTORE_TYPE"),
    ("DatastoreType = file", {"DATASTORE_TYPE": "kubernetes"}, "file", "f.cfg:1"),
    ("DatastoreType = file\nEtcdEndpoints = http://a:1", {}, "file", "f.cfg:1"),
    ("EtcdEndpoints = none", {}, "file", "default"),
]


@pytest.mark.parametrize(("file", "environ", "kind", "where"), TYPES)
def test_datastore_type(file: str, environ: dict[str, str], kind: str, where: str) -> None:
    resolved = examine(sources(file, environ))
    assert resolved.config.datastore_type == kind
    assert resolved.origins.get("DatastoreType", "default").startswith(where)


A = "EtcdEndpoints = http://a\n"
ENDPOINTS = [
    # file, environment, endpoints
    (A, {}, ["http://a:2379"]),
    (A, {"FELIX_ETCDENDPOINTS": "http://b"}, ["http://b:2379"]),
    (A, {"ETCD_ENDPOINTS": "http://b"}, ["http://a:2379"]),
    ("", {"ETCD_ENDPOINTS": "http://b", "CALICO_ETCD_ENDPOINTS": "http://c"}, ["http://c:2379"]),
    ("etcdENDPOINTS: https://a:1, https://b", {}, ["https://a:1", "https://b:2379"]),
    ("EtcdAddr = a:1\nEtcdScheme = https", {}, ["https://a:1"]),
    ("EtcdAddr = a:1", {"FELIX_ETCDSCHEME": "https"}, ["https://a:1"]),
    ("EtcdAddr = b" + "\n" + A, {}, ["http://a:2379"]),
    # the clients' variables are the weakest source, whatever the name of the parameter
    ("EtcdAddr = b", {"ETCD_ENDPOINTS": "http://a"}, ["http://b:2379"]),
    ("EtcdScheme = https", {"ETCD_ENDPOINTS": "http://a"}, ["http://a:2379"]),
    ("EtcdAddr = b", {"ETCD_DISCOVERY_SRV": "x"}, ["http://b:2379"]),
    ("DatastoreType = etcdv3", {}, ["http://127.0.0.1:2379"]),
]


@pytest.mark.parametrize(("file", "environ", "endpoints"), ENDPOINTS)
def test_endpoints(file: str, environ: dict[str, str], endpoints: list[str]) -> None:
    assert list(resolve(sources(file, environ)).config.etcd_endpoints) == endpoints


PLAIN = "has no effect: etcd is spoken to by http, without TLS"
HALF = "each is of use only with the other"
SAID = [
    # file ({} is a directory with files in it), environment, what is said
    (A, {}, []),
    (A + "EtcdUsername = u\nEtcdPassword = p", {}, []),
    ("EtcdEndpoints = https://a\nEtcdCaFile = {}/f", {}, []),
    ("EtcdEndpoints = https://a\nEtcdCaFile = {}\nEtcdCertFile = {}/f\nEtcdKeyFile = {}/f", {}, []),
    (
        "EtcdEndpoints = https://a",
        {},
        [
            "warning: configuration: EtcdCaFile is not set: "
            "the authorities that this machine trusts vouch for etcd"
        ],
    ),
    (
        "EtcdScheme = https\nEtcdAddr = a:1\nEtcdCaFile = {}",
        {},
        [
            "warning: f.cfg:2: EtcdEndpoints is not set; "
            "by EtcdAddr and EtcdScheme it is https://a:1"
        ],
    ),
    (
        "DatastoreType = etcdv3",
        {},
        [
            "warning: configuration: EtcdEndpoints is not set; by the defaults of EtcdScheme and "
            "EtcdAddr it is http://127.0.0.1:2379"
        ],
    ),
    (
        A + "EtcdAddr = b\nEtcdScheme = https",
        {"ETCD_DISCOVERY_SRV": "x"},
        [
            "warning: f.cfg:2: EtcdAddr has no effect: EtcdEndpoints takes precedence",
            "warning: f.cfg:3: EtcdScheme has no effect: EtcdEndpoints takes precedence",
            "warning: environment ETCD_DISCOVERY_SRV: has no effect: "
            "EtcdEndpoints takes precedence",
        ],
    ),
    (
        A + "EtcdCaFile = {}\nEtcdCertFile = {}/f\nEtcdKeyFile = {}/f",
        {},
        [
            f"warning: f.cfg:2: EtcdCaFile {PLAIN}",
            f"warning: f.cfg:3: EtcdCertFile {PLAIN}",
            f"warning: f.cfg:4: EtcdKeyFile {PLAIN}",
        ],
    ),
    (
        "EtcdCaFile = {}",
        {"ETCD_PASSWORD": "p"},
        [
            "warning: f.cfg:1: EtcdCaFile has no effect: "
            "no etcd is named, and so DatastoreType is file",
            "warning: environment ETCD_PASSWORD: EtcdPassword has no effect: "
            "no etcd is named, and so DatastoreType is file",
        ],
    ),
    ("DatastoreType = file\nEtcdAddr = a\nEtcdUsername = u", {"ETCD_DISCOVERY_SRV": "x"}, []),
]  # fmt: skip


@pytest.mark.parametrize(("file", "environ", "words"), SAID)
def test_what_is_said(tmp_path: Path, file: str, environ: dict[str, str], words: list[str]) -> None:
    (tmp_path / "f").touch()
    assert said(resolve(sources(file.replace("{}", str(tmp_path)), environ))) == words


S = "EtcdEndpoints = https://a\nEtcdCaFile = /\n"
STOPS = [
    # file, environment, what the error says
    (A + "EtcdUsername = u", {}, f"f.cfg:2: EtcdUsername is set without EtcdPassword: {HALF}"),
    (
        A,
        {"ETCD_PASSWORD": "p"},
        f"environment ETCD_PASSWORD: EtcdPassword is set without EtcdUsername: {HALF}",
    ),
    (
        S + "EtcdCertFile = /proc/self/stat",
        {},
        f"f.cfg:3: EtcdCertFile is set without EtcdKeyFile: {HALF}",
    ),
    (
        S + "EtcdKeyFile = /proc/self/stat",
        {},
        f"f.cfg:3: EtcdKeyFile is set without EtcdCertFile: {HALF}",
    ),
    (
        "",
        {"ETCD_DISCOVERY_SRV": "example.org"},
        "environment ETCD_DISCOVERY_SRV: felixpy does not look up SRV records; "
        "name the members of the cluster in EtcdEndpoints (ETCD_ENDPOINTS) instead",
    ),
    (
        "DatastoreType = etcdv3\nEtcdAddr = none",
        {},
        "f.cfg:2: EtcdEndpoints is not set, and EtcdAddr is none: no etcd is named",
    ),
    (S + "EtcdKeyFile = /nonexistent", {}, "f.cfg:3: EtcdKeyFile = /nonexistent: cannot be read"),
    (S + "EtcdCertFile = /", {}, "f.cfg:3: EtcdCertFile = /: is a directory"),
    (A + "EtcdCaFile = /nonexistent", {}, "f.cfg:2: EtcdCaFile = /nonexistent: cannot be read"),
    ("EtcdEndpoints = http://a,https://b", {}, "http and https are mixed"),
    ("EtcdScheme = ftp", {}, "f.cfg:1: EtcdScheme = ftp: not one of the words it can be"),
    ("EtcdEndpoints = http://u:p@a", {}, "f.cfg:1: EtcdEndpoints = …@a: a user has no place in it"),
    ("DatastoreType = kubernetes", {}, "this version of felixpy reads only file or etcdv3"),
]


@pytest.mark.parametrize(("file", "environ", "words"), STOPS)
def test_what_stops_the_start(file: str, environ: dict[str, str], words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        resolve(sources(file, environ))
    assert words in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


RUNNING = [
    # file while running, environment: each is wrong somewhere, and right elsewhere
    ("EtcdEndpoints = https://b\nEtcdCaFile = /nonexistent", {}),
    ("EtcdEndpoints = https://b", {"FELIX_ETCDUSERNAME": "u"}),
    ("EtcdEndpoints = http://b/x\nEtcdUsername = v\nEtcdPassword = q", {}),
    ("DatastoreType = kubernetes\nEtcdUsername = v\nEtcdPassword = q", {}),
    ("", {"ETCD_DISCOVERY_SRV": "x"}),
]


@pytest.mark.parametrize(("file", "environ"), RUNNING)
@pytest.mark.parametrize("before", [S + "EtcdUsername = u\nEtcdPassword = p", ""])
def test_while_running_a_mistake_keeps_all_that_leads_to_the_datastore(
    before: str, file: str, environ: dict[str, str]
) -> None:
    running = resolve(sources(before, {})).config
    resolved = resolve(sources(file + "\nHealthPort = 1", environ), running)
    assert resolved.errors
    assert resolved.config == Config(**{**vars(running), "health_port": 1})


def test_while_running_a_mistake_that_does_not_count_keeps_nothing() -> None:
    running = resolve(sources(A, {})).config
    overruled = {"ETCD_ENDPOINTS": "junk"}
    resolved = resolve(sources("EtcdEndpoints = http://b", overruled), running)
    assert resolved.config.etcd_endpoints == ("http://b:2379",)
    assert len(resolved.errors) == 1
