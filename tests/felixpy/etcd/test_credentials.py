"""Real TLS over the loopback interface: whom the agent believes, and what it says when it does not.

The server's side blocks in a thread: asyncio's own swallows the alerts that a real one sends.
"""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from felixpy.etcd.credentials import (
    CredentialsError,
    _judge_key,
    explain,
    ssl_context,
    warnings,
)
from felixpy.etcd.settings import EtcdSettings
from tests.fakes.certificates import Authority, Pair, ca

NAMES, ADDRESSES = ("etcd-1", "etcd-1.example"), ("127.0.0.1", "::1")
CA, STRANGER = ca(), ca("stranger")
SERVER = CA.server(NAMES, ADDRESSES)


def settings(**files: Any) -> EtcdSettings:
    return EtcdSettings((), tls=True, **{name: str(path) for name, path in files.items()})


def server_side(directory: Path, pair: Pair, clients: Authority | None = None) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*pair.write(directory, "server"))
    context.set_alpn_protocols(["h2"])
    if clients is not None:
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(cadata=clients.certificate.decode())
    return context


@contextmanager
def serving(context: ssl.SSLContext | None, host: str = "127.0.0.1") -> Iterator[int]:
    """One connection: a greeting by TLS, or without a context by something that is not TLS."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.create_server((host, 0), family=family)

    def serve() -> None:
        connection, _ = listening.accept()
        with connection:
            if context is None:
                connection.recv(1)
                connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
                return
            try:
                with context.wrap_socket(connection, server_side=True) as spoken:
                    spoken.sendall(b"!")
                    spoken.recv(1)
            except OSError:
                return  # it is the client that has to say why

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield listening.getsockname()[1]
    finally:
        thread.join()
        listening.close()


async def greeted(
    server: ssl.SSLContext | None, client: ssl.SSLContext, name: str, host: str = "127.0.0.1"
) -> str:
    """What the connection came to: "h2", or why it did not."""
    with serving(server, host) as port:
        try:
            reader, writer = await asyncio.open_connection(
                host, port, ssl=client, server_hostname=name
            )
            try:
                assert await reader.read(1) == b"!"
                return str(writer.get_extra_info("ssl_object").selected_alpn_protocol())
            finally:
                writer.close()
                await writer.wait_closed()
        except OSError as error:
            return explain(error)


@pytest.mark.parametrize("name", [*NAMES, *ADDRESSES])
async def test_a_server_by_each_of_its_names(tmp_path: Path, name: str) -> None:
    context = ssl_context(settings(ca_file=CA.write(tmp_path)))
    assert await greeted(server_side(tmp_path, SERVER), context, name) == "h2"


async def test_a_server_by_ipv6(tmp_path: Path) -> None:
    context = ssl_context(settings(ca_file=CA.write(tmp_path)))
    assert await greeted(server_side(tmp_path, SERVER), context, "::1", host="::1") == "h2"


UNKNOWN = "its certificate is signed by an authority we do not know"
NOT_BELIEVED = [
    # certificate of the server, name it is called by, what is said
    (STRANGER.server(NAMES), "etcd-1", UNKNOWN),
    (
        CA.server(NAMES, expired=True),
        "etcd-1",
        "its certificate, or that of its authority, has expired",
    ),
    (SERVER, "etcd-2", "its certificate is not for 'etcd-2'"),
    (SERVER, "10.0.0.1", "its certificate is not for '10.0.0.1'"),
    (SERVER, "fd00::1", "its certificate is not for 'fd00::1'"),
    (CA.server((), common_name="etcd-1"), "etcd-1", "its certificate is not for 'etcd-1'"),
    (CA.client(), "etcd-1", "its certificate is not meant for a server"),
]


@pytest.mark.parametrize(("pair", "name", "said"), NOT_BELIEVED)
async def test_who_is_not_believed(tmp_path: Path, pair: Pair, name: str, said: str) -> None:
    context = ssl_context(settings(ca_file=CA.write(tmp_path)))
    assert await greeted(server_side(tmp_path, pair), context, name) == said


async def test_what_does_not_speak_tls(tmp_path: Path) -> None:
    context = ssl_context(settings(ca_file=CA.write(tmp_path)))
    said = "it does not speak TLS: is http meant, not https?"
    assert await greeted(None, context, "etcd-1") == said


def test_the_least_that_is_asked_of_tls() -> None:
    context = ssl_context(settings())
    assert context.minimum_version is ssl.TLSVersion.TLSv1_2
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert context.check_hostname


# ---------------------------------------------------------------- authorities


async def test_without_authorities_the_system_s_count(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = server_side(tmp_path, SERVER)
    assert await greeted(server, ssl_context(settings()), "etcd-1") == UNKNOWN
    monkeypatch.setenv("SSL_CERT_FILE", str(CA.write(tmp_path)))
    assert await greeted(server, ssl_context(settings()), "etcd-1") == "h2"


async def test_named_authorities_take_the_place_of_the_system_s(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(CA.write(tmp_path)))
    context = ssl_context(settings(ca_file=STRANGER.write(tmp_path, "other")))
    assert await greeted(server_side(tmp_path, SERVER), context, "etcd-1") == UNKNOWN


async def test_an_intermediate_authority_in_a_file_is_believed_by_itself(tmp_path: Path) -> None:
    middle = ca("middle", issuer=CA)
    server = server_side(tmp_path, middle.server(NAMES))
    context = ssl_context(settings(ca_file=middle.write(tmp_path)))
    assert await greeted(server, context, "etcd-1") == "h2"


async def test_a_directory_of_authorities(tmp_path: Path) -> None:
    directory = tmp_path / "cas"
    directory.mkdir()
    STRANGER.write(directory, "a")
    (directory / "b.pem").write_bytes(CA.certificate)
    (directory / "key.pem").write_bytes(CA.client().key)
    (directory / "README").write_text("-----BEGIN CERTIFICATE-----\nnot one\n")
    (directory / "sub.pem").mkdir()
    server = server_side(tmp_path, SERVER)
    assert await greeted(server, ssl_context(settings(ca_file=directory)), "etcd-1") == "h2"
    (directory / "b.pem").unlink()
    assert await greeted(server, ssl_context(settings(ca_file=directory)), "etcd-1") == UNKNOWN


async def test_a_server_s_certificate_in_the_directory_is_no_authority(tmp_path: Path) -> None:
    directory = tmp_path / "pki"
    directory.mkdir()
    STRANGER.write(directory)
    SERVER.write(directory, "server")
    context = ssl_context(settings(ca_file=directory))
    assert await greeted(server_side(tmp_path, SERVER), context, "etcd-1") == UNKNOWN


async def test_a_directory_of_hashed_names(tmp_path: Path) -> None:
    directory = tmp_path / "hashed"
    directory.mkdir()
    # `openssl x509 -noout -hash` of a certificate whose subject is CN = test authority
    (directory / "f20e0b1e.0").write_bytes(CA.certificate)
    context = ssl_context(settings(ca_file=directory))
    assert await greeted(server_side(tmp_path, SERVER), context, "etcd-1") == "h2"


# ---------------------------------------------------------------- who we are

ASKS = "it asks for a client certificate, and EtcdCertFile is not set or not the right one"


async def test_a_client_certificate(tmp_path: Path) -> None:
    authority = CA.write(tmp_path)
    server = server_side(tmp_path, SERVER, clients=CA)
    cert, key = CA.client().write(tmp_path, "client")
    known = ssl_context(settings(ca_file=authority, cert_file=cert, key_file=key))
    assert await greeted(server, known, "etcd-1") == "h2"
    assert await greeted(server, ssl_context(settings(ca_file=authority)), "etcd-1") == ASKS


async def test_a_client_certificate_of_another_authority(tmp_path: Path) -> None:
    cert, key = STRANGER.client().write(tmp_path, "client")
    context = ssl_context(settings(ca_file=CA.write(tmp_path), cert_file=cert, key_file=key))
    server = server_side(tmp_path, SERVER, clients=CA)
    said = "it does not accept our certificate: it does not know its authority"
    assert await greeted(server, context, "etcd-1") == said


async def test_rotated_files_count_at_the_next_connection(tmp_path: Path) -> None:
    cert, key = STRANGER.client().write(tmp_path, "client")
    used = settings(ca_file=STRANGER.write(tmp_path), cert_file=cert, key_file=key)
    ssl_context(used)
    CA.write(tmp_path)
    CA.client().write(tmp_path, "client")
    server = server_side(tmp_path, SERVER, clients=CA)
    assert await greeted(server, ssl_context(used), "etcd-1") == "h2"


# ---------------------------------------------------------------- files that cannot be used

CLIENT, OTHER = CA.client(), CA.client("other")
DAMAGED = CA.certificate[:60] + b"####" + CA.certificate[64:]
UNUSABLE = [
    # what the files hold (None: there is none), file that is blamed, what is said of it
    ({"ca": None}, "EtcdCaFile", "cannot be read: No such file or directory"),
    ({"ca": b""}, "EtcdCaFile", "there is no certificate in PEM form in it"),
    ({"ca": CLIENT.key}, "EtcdCaFile", "there is no certificate in PEM form in it"),
    ({"ca": DAMAGED}, "EtcdCaFile", "damaged, or not in PEM form"),
    ({"ca": CA.certificate + DAMAGED}, "EtcdCaFile", "damaged, or not in PEM form"),
    ({"cert": None}, "EtcdCertFile", "cannot be read: No such file or directory"),
    ({"cert": CLIENT.key}, "EtcdCertFile", "there is no certificate in it"),
    ({"cert": DAMAGED}, "EtcdCertFile", "damaged, or not in PEM form"),
    ({"key": None}, "EtcdKeyFile", "cannot be read: No such file or directory"),
    ({"key": CLIENT.certificate}, "EtcdKeyFile", "there is no private key in it"),
    ({"key": OTHER.key}, "EtcdKeyFile", "the key does not belong to EtcdCertFile"),
    ({"key": CA.client(passphrase=b"x").key}, "EtcdKeyFile", "the key is encrypted"),
    (
        {"key": CLIENT.key[:60] + b"####" + CLIENT.key[64:]},
        "EtcdKeyFile",
        "damaged, or not in PEM form",
    ),
]


@pytest.mark.parametrize(("held", "blamed", "said"), UNUSABLE)
def test_files_that_cannot_be_used(
    tmp_path: Path, held: dict[str, bytes | None], blamed: str, said: str
) -> None:
    all_held = {"ca": CA.certificate, "cert": CLIENT.certificate, "key": CLIENT.key, **held}
    for name, content in all_held.items():
        if content is not None:
            (tmp_path / name).write_bytes(content)
    used = settings(ca_file=tmp_path / "ca", cert_file=tmp_path / "cert", key_file=tmp_path / "key")
    with pytest.raises(CredentialsError) as caught:
        ssl_context(used)
    text = str(caught.value)
    assert blamed in text
    assert said in text
    for line in CLIENT.key.splitlines()[1:-1]:
        assert line.decode() not in text


def test_directories_and_pipes_that_cannot_be_used(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with pytest.raises(CredentialsError, match="not a file"):
        ssl_context(settings(ca_file=pipe))
    with pytest.raises(CredentialsError, match="no file in this directory is a certificate"):
        ssl_context(settings(ca_file=tmp_path))
    (tmp_path / "a.pem").write_bytes(CA.certificate)
    (tmp_path / "b.pem").write_bytes(DAMAGED)
    with pytest.raises(CredentialsError, match=r"b\.pem: damaged"):
        ssl_context(settings(ca_file=tmp_path))


# ---------------------------------------------------------------- warnings

MODES = [
    # mode, owner, what is said
    (0o400, 0, []),
    (0o600, 0, []),
    (0o640, 0, []),
    (0o660, 0, ["k: others can get at the key (mode 0660); chmod 0640 k"]),
    (0o644, 0, ["k: others can get at the key (mode 0644); chmod 0640 k"]),
    (0o602, 0, ["k: others can get at the key (mode 0602); chmod 0600 k"]),
    (0o600, 8, []),
    (0o640, 8, ["k: others can get at the key (mode 0640); chmod 0600 k"]),
    (0o600, 9, ["k: the key belongs to user 9, who can read it"]),
]


@pytest.mark.parametrize(("mode", "owner", "said"), MODES)
def test_who_can_get_at_the_key(mode: int, owner: int, said: list[str]) -> None:
    assert _judge_key("k", mode, owner, we=8) == [f"EtcdKeyFile {text}" for text in said]


def test_the_mode_of_the_key_is_looked_at(tmp_path: Path) -> None:
    cert, key = CLIENT.write(tmp_path, "client")
    used = settings(cert_file=cert, key_file=key)
    assert warnings(used) == []
    key.chmod(0o666)
    (said,) = warnings(used)
    assert "mode 0666" in said
    key.unlink()
    assert warnings(used) == []


def test_authorities_that_everybody_can_write(tmp_path: Path) -> None:
    path = CA.write(tmp_path)
    assert warnings(settings(ca_file=path)) == []
    path.chmod(0o666)
    (said,) = warnings(settings(ca_file=path))
    assert "everybody can write it" in said


def test_certificates_near_their_end(tmp_path: Path) -> None:
    short = CA.client(life=timedelta(days=20))
    cert, key = short.write(tmp_path, "client")
    used = settings(ca_file=CA.write(tmp_path), cert_file=cert, key_file=key)
    now = datetime.now(UTC)
    assert warnings(used, now.timestamp()) == []
    end = (now + timedelta(days=20)).date()
    (said,) = warnings(used, (now + timedelta(days=7)).timestamp())
    assert said == f"EtcdCertFile: the certificate expires on {end}"
    assert len(warnings(used, (now + timedelta(days=400)).timestamp())) == 2


def test_a_password_in_clear() -> None:
    used = EtcdSettings((), tls=False, username="node", password="swordfish")
    (said,) = warnings(used)
    assert "in clear" in said
    assert "swordfish" not in said
    assert warnings(EtcdSettings((), tls=True, username="node", password="swordfish")) == []
