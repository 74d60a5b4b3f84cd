"""Whom to believe, and how to prove who we are: the files behind TLS.

    ssl_context(settings)   for one connection; the files are read afresh each time, so that the
                            next connection goes by what has been rotated in
    warnings(settings)      what works but should not stay as it is
    explain(error)          see felixpy.etcd.explain

Nothing is guessed and nothing is left out: a file that cannot be used is a CredentialsError, never
a connection that trusts more or says less than was asked for.  No text repeats what is in a key.
"""

from __future__ import annotations

import os
import re
import ssl
import stat
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, NoReturn

from felixpy.etcd.expiry import expiries
from felixpy.etcd.explain import explain
from felixpy.etcd.settings import EtcdSettings

__all__ = ["CredentialsError", "explain", "ssl_context", "warnings"]

_CERTIFICATE: Final = re.compile(rb"-----BEGIN (X509 |TRUSTED )?CERTIFICATE-----")
_PRIVATE_KEY: Final = re.compile(rb"-----BEGIN ([A-Z]+ )?PRIVATE KEY-----")
_HASHED: Final = re.compile(r"[0-9a-f]{8}\.\d+")  # as `openssl rehash` names links
_SUFFIXES: Final = (".pem", ".crt")
_NOTICE_SECONDS: Final = 14 * 86400


class CredentialsError(Exception):
    """A file named in the configuration cannot be used; says which, and why."""


def ssl_context(settings: EtcdSettings) -> ssl.SSLContext:
    """TLS towards etcd: at least 1.2, HTTP/2, the server's certificate and name checked.

    Raises:
        CredentialsError: a file is missing, cannot be read or is not what it should be.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # checks certificate and name
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    # Only what the certificate lists as its names counts, as for Go's clients.
    context.hostname_checks_common_name = False
    context.set_alpn_protocols(["h2"])
    _trust(context, settings.ca_file)
    if settings.cert_file:
        _identify(context, settings.cert_file, settings.key_file)
    return context


# ---------------------------------------------------------------- whom to believe


def _trust(context: ssl.SSLContext, named: str) -> None:
    if not named:
        context.load_default_certs(ssl.Purpose.SERVER_AUTH)
        return
    path = Path(named)
    if path.is_dir():
        _trust_directory(context, path)
        return
    if not _CERTIFICATE.search(_read("EtcdCaFile", named)):
        raise CredentialsError(f"EtcdCaFile {named}: there is no certificate in PEM form in it")
    # What was put into this file is to be believed, an intermediate authority too, as with Go's
    # clients.  In a directory a server's certificate may lie beside that of its authority.
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    _load_authorities(context, path)


def _trust_directory(context: ssl.SSLContext, directory: Path) -> None:
    """Every certificate in a *.pem or *.crt; keys and other things beside them do not matter."""
    try:
        entries = sorted(entry for entry in directory.iterdir() if entry.is_file())
    except OSError as error:
        raise CredentialsError(f"EtcdCaFile {directory}: {_reason(error)}") from None
    hashed = [entry for entry in entries if _HASHED.fullmatch(entry.name)]
    found = [
        entry
        for entry in entries
        if entry.suffix in _SUFFIXES and _CERTIFICATE.search(_read("EtcdCaFile", str(entry)))
    ]
    if not found and not hashed:
        raise CredentialsError(
            f"EtcdCaFile {directory}: no file in this directory is a certificate "
            "(*.pem or *.crt, or named as `openssl rehash` does)"
        )
    for entry in found:
        _load_authorities(context, entry)
    if hashed:
        context.load_verify_locations(capath=directory)


def _load_authorities(context: ssl.SSLContext, path: Path) -> None:
    try:
        context.load_verify_locations(cafile=path)
    except OSError as error:  # ssl's errors are of this kind too
        raise CredentialsError(f"EtcdCaFile {path}: {_reason(error)}") from None


# ---------------------------------------------------------------- who we are


def _identify(context: ssl.SSLContext, cert_file: str, key_file: str) -> None:
    if not _CERTIFICATE.search(_read("EtcdCertFile", cert_file)):
        raise CredentialsError(f"EtcdCertFile {cert_file}: there is no certificate in it")
    if not _PRIVATE_KEY.search(_read("EtcdKeyFile", key_file)):
        raise CredentialsError(f"EtcdKeyFile {key_file}: there is no private key in it")

    def refuse_to_ask() -> NoReturn:
        """Without it OpenSSL would ask on the terminal."""
        raise CredentialsError(
            f"EtcdKeyFile {key_file}: the key is encrypted, and nobody is there to be asked for "
            "its password; store it without one, readable by root only"
        )

    try:
        context.load_cert_chain(cert_file, key_file, password=refuse_to_ask)
    except ssl.SSLError as error:
        if error.reason == "KEY_VALUES_MISMATCH":
            said = f"EtcdKeyFile {key_file}: the key does not belong to EtcdCertFile {cert_file}"
        else:
            said = f"EtcdCertFile {cert_file} or EtcdKeyFile {key_file}: {_reason(error)}"
        raise CredentialsError(said) from None
    except OSError as error:
        # read a moment ago, and gone now
        said = f"EtcdCertFile {cert_file} or EtcdKeyFile {key_file}: {_reason(error)}"
        raise CredentialsError(said) from None


def _read(name: str, path: str) -> bytes:
    try:
        # whoever names a pipe would make the agent wait for ever
        if not stat.S_ISREG(Path(path).stat().st_mode):
            raise CredentialsError(f"{name} {path}: not a file")
        return Path(path).read_bytes()
    except OSError as error:
        raise CredentialsError(f"{name} {path}: {_reason(error)}") from None


def _reason(error: OSError) -> str:
    if isinstance(error, ssl.SSLError):
        return f"damaged, or not in PEM form ({(error.reason or 'unknown').lower()})"
    return f"cannot be read: {error.strerror}"


# ---------------------------------------------------------------- what should not stay so


def warnings(settings: EtcdSettings, now: float | None = None) -> list[str]:
    """Sentences for the log; `now` in seconds since 1970.

    Files that cannot be read are not its business.
    """
    now = time.time() if now is None else now
    said = []
    if settings.tls and settings.key_file:
        said += _readers_of_key(settings.key_file)
        # of a chain, the first to expire breaks it; of authorities, the last one leaves nobody
        said += _expiring("EtcdCertFile", min(_expiries(settings.cert_file), default=None), now)
    if settings.tls and settings.ca_file:
        said += _writers_of_authorities(settings.ca_file)
        said += _expiring("EtcdCaFile", max(_expiries(settings.ca_file), default=None), now)
    if settings.username and not settings.tls:
        said.append(
            "EtcdUsername and EtcdPassword cross the network in clear: etcd is spoken to by http"
        )
    return said


def _readers_of_key(path: str) -> list[str]:
    try:
        found = Path(path).stat()
    except OSError:
        return []
    return _judge_key(path, stat.S_IMODE(found.st_mode), found.st_uid, os.geteuid())


def _judge_key(path: str, mode: int, owner: int, we: int) -> list[str]:
    """As PostgreSQL's clients have it: the owner alone, or, where root owns it, its group may read
    too (as with Debian's ssl-cert); nobody else at all.
    """
    said = []
    allowed = 0o640 if owner == 0 else 0o600
    if mode & 0o066 & ~allowed:
        said.append(
            f"EtcdKeyFile {path}: others can get at the key (mode {mode:04o}); "
            f"chmod {mode & allowed:04o} {path}"
        )
    if owner not in (0, we):
        said.append(f"EtcdKeyFile {path}: the key belongs to user {owner}, who can read it")
    return said


def _writers_of_authorities(path: str) -> list[str]:
    try:
        mode = Path(path).stat().st_mode
    except OSError:
        return []
    if not mode & stat.S_IWOTH:
        return []
    return [f"EtcdCaFile {path}: everybody can write it, and so have the agent believe anybody"]


def _expiries(path: str) -> list[float]:
    try:
        return expiries(Path(path).read_bytes())
    except OSError:  # a directory too: which of its certificates counts is not known here
        return []


def _expiring(name: str, expiry: float | None, now: float) -> list[str]:
    if expiry is None or expiry > now + _NOTICE_SECONDS:
        return []
    day = datetime.fromtimestamp(expiry, UTC).date()
    return [f"{name}: the certificate {'expires' if expiry > now else 'expired'} on {day}"]
