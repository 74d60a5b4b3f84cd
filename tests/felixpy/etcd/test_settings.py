"""From the configuration to where etcd is."""

from pathlib import Path

import pytest

from felixpy.config import examine
from felixpy.config.sources import parse_file, read_environment, read_machine
from felixpy.etcd.settings import Endpoint, EtcdSettings, to_etcd_settings


def settings_of(file: str, **variables: str) -> EtcdSettings:
    sources = (parse_file(file, "f.cfg"), *read_environment(variables), read_machine({}, "n1"))
    resolved = examine(sources)
    assert resolved.errors == ()
    return to_etcd_settings(resolved.config)


ENDPOINTS = [
    # file, endpoints, TLS
    ("EtcdEndpoints = http://a:1", [("a", 1)], False),
    ("EtcdEndpoints = https://A,https://b:1", [("a", 2379), ("b", 1)], True),
    ("EtcdEndpoints = https://[FD00:0::1]:1", [("fd00::1", 1)], True),
    ("EtcdEndpoints = https://[::1]", [("::1", 2379)], True),
    ("EtcdAddr = [fd00::1]:1", [("fd00::1", 1)], False),
    ("EtcdAddr = 10.0.0.1\nEtcdScheme = HTTPS", [("10.0.0.1", 2379)], True),
    ("EtcdScheme = https", [("127.0.0.1", 2379)], True),
    ("DatastoreType = etcdv3", [("127.0.0.1", 2379)], False),
    ("DatastoreType = file", [], False),
]


@pytest.mark.parametrize(("file", "endpoints", "tls"), ENDPOINTS)
def test_endpoints(file: str, endpoints: list[tuple[str, int]], tls: bool) -> None:
    settings = settings_of(file)
    assert settings.endpoints == tuple(Endpoint(*each) for each in endpoints)
    assert settings.tls is tls


def test_endpoints_read_as_they_are_written() -> None:
    assert [str(Endpoint(host, 1)) for host in ("etcd-1", "10.0.0.1", "fd00::1")] == [
        "etcd-1:1",
        "10.0.0.1:1",
        "[fd00::1]:1",
    ]


def test_who_we_are(tmp_path: Path) -> None:
    cert, key = tmp_path / "cert", tmp_path / "key"
    cert.touch()
    key.touch()
    settings = settings_of(
        f"EtcdEndpoints = https://a\nEtcdCaFile = {tmp_path}\nEtcdUsername = node",
        ETCD_CERT_FILE=str(cert),
        CALICO_ETCD_KEY_FILE=str(key),
        FELIX_ETCDPASSWORD="swordfish",
    )
    assert settings == EtcdSettings(
        endpoints=(Endpoint("a", 2379),),
        tls=True,
        ca_file=str(tmp_path),
        cert_file=str(cert),
        key_file=str(key),
        username="node",
        password="swordfish",
    )


def test_the_password_is_not_shown() -> None:
    settings = EtcdSettings((Endpoint("a", 1),), False, username="node", password="swordfish")
    assert "node" in repr(settings)
    for text in (repr(settings), f"{settings}", str(settings.__rich_repr__())):
        assert "swordfish" not in text
    assert "password=''" in repr(EtcdSettings((), False))
