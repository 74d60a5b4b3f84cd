"""Throw-away certificates: an authority, servers and clients.

authority = ca()
pair = authority.server(("etcd-1",), ("127.0.0.1",))
cert_file, key_file = pair.write(directory, "server")
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID


class Pair(NamedTuple):
    """In PEM form."""

    certificate: bytes
    key: bytes

    def write(self, directory: Path, name: str) -> tuple[Path, Path]:
        """NAME.crt, and NAME.key that only its owner can read."""
        certificate, key = directory / f"{name}.crt", directory / f"{name}.key"
        certificate.write_bytes(self.certificate)
        key.touch(mode=0o600)
        key.write_bytes(self.key)
        return certificate, key


class Authority:
    def __init__(self, name: str, issuer: Authority | None) -> None:
        self._name = _name(name)
        self._key = ec.generate_private_key(ec.SECP256R1())
        issued_by, signs = (issuer._name, issuer._key) if issuer else (self._name, self._key)
        builder = _builder(self._name, issued_by, self._key, timedelta(days=365))
        usage = x509.KeyUsage(False, False, False, False, False, True, True, False, False)
        self._certificate = (
            builder.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .add_extension(usage, critical=True)
            .sign(signs, hashes.SHA256())
        )

    @property
    def certificate(self) -> bytes:
        return self._certificate.public_bytes(Encoding.PEM)

    def write(self, directory: Path, name: str = "ca") -> Path:
        path = directory / f"{name}.crt"
        path.write_bytes(self.certificate)
        return path

    def server(
        self,
        names: Sequence[str] = (),
        ips: Sequence[str] = (),
        *,
        expired: bool = False,
        common_name: str = "etcd",
    ) -> Pair:
        others = [x509.DNSName(name) for name in names]
        addresses = [x509.IPAddress(ip_address(ip)) for ip in ips]
        life = timedelta(seconds=-60) if expired else timedelta(days=30)
        # etcd's gateway turns its own server certificate on itself as a client
        usages = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
        return self._issue(common_name, [*others, *addresses], usages, life)

    def client(
        self,
        name: str = "felixpy",
        *,
        life: timedelta = timedelta(days=30),
        passphrase: bytes = b"",
    ) -> Pair:
        return self._issue(name, [], [ExtendedKeyUsageOID.CLIENT_AUTH], life, passphrase)

    def _issue(
        self,
        name: str,
        others: Sequence[x509.GeneralName],
        usages: Sequence[x509.ObjectIdentifier],
        life: timedelta,
        passphrase: bytes = b"",
    ) -> Pair:
        key = ec.generate_private_key(ec.SECP256R1())
        builder = _builder(_name(name), self._name, key, life)
        builder = builder.add_extension(x509.ExtendedKeyUsage(usages), critical=False)
        if others:
            builder = builder.add_extension(x509.SubjectAlternativeName(others), critical=False)
        return Pair(
            builder.sign(self._key, hashes.SHA256()).public_bytes(Encoding.PEM),
            key.private_bytes(
                Encoding.PEM,
                PrivateFormat.PKCS8,
                BestAvailableEncryption(passphrase) if passphrase else NoEncryption(),
            ),
        )


def ca(name: str = "test authority", issuer: Authority | None = None) -> Authority:
    """An authority that vouches for itself, or one for which `issuer` does."""
    return Authority(name, issuer)


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey, life: timedelta
) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + life)
    )
