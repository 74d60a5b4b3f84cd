"""Why a connection did not come about or did not last, in plain words.

The words read on after the name of the server: "etcd-1:2379: its certificate has expired".
"""

from __future__ import annotations

import errno
import os
import re
import socket
import ssl
from typing import Final

_UNKNOWN_AUTHORITY: Final = "its certificate is signed by an authority we do not know"
# X509_V_ERR_… of OpenSSL
_VERIFY: Final = {
    2: _UNKNOWN_AUTHORITY,
    9: "its certificate is not valid yet, or this machine's clock is wrong",
    10: "its certificate, or that of its authority, has expired",
    18: _UNKNOWN_AUTHORITY,
    19: _UNKNOWN_AUTHORITY,
    20: _UNKNOWN_AUTHORITY,
    21: _UNKNOWN_AUTHORITY,
    24: "its certificate is signed by one that is not an authority's",
    26: "its certificate is not meant for a server",
}
_WRONG_NAME: Final = re.compile(r"certificate is not valid for '([^']+)'")

_ASKS: Final = "it asks for a client certificate, and EtcdCertFile is not set or not the right one"
_REFUSES: Final = "it does not accept our certificate"
_TOO_OLD: Final = "it speaks no TLS of version 1.2 or newer"
# the reason's name in OpenSSL; an ALERT is what the other side says of us
_TLS: Final = {
    "CERTIFICATE_REQUIRED": _ASKS,
    "BAD_CERTIFICATE": _ASKS,  # what servers before TLS 1.3 say where there is none at all
    "HANDSHAKE_FAILURE": "it does not agree to our TLS, or asks for a client certificate",
    "UNKNOWN_CA": f"{_REFUSES}: it does not know its authority",
    "CERTIFICATE_EXPIRED": f"{_REFUSES}: it has expired",
    "CERTIFICATE_REVOKED": f"{_REFUSES}: it was revoked",
    "CERTIFICATE_UNKNOWN": _REFUSES,
    "UNSUPPORTED_CERTIFICATE": f"{_REFUSES}: it is not meant for a client",
    "NO_APPLICATION_PROTOCOL": "it does not speak HTTP/2",
    "WRONG_VERSION_NUMBER": "it does not speak TLS: is http meant, not https?",
    "PACKET_LENGTH_TOO_LONG": "it does not speak TLS: is http meant, not https?",
    "RECORD_LAYER_FAILURE": "it does not speak TLS: is http meant, not https?",
    "PROTOCOL_VERSION": _TOO_OLD,
    "UNSUPPORTED_PROTOCOL": _TOO_OLD,
    "UNEXPECTED_EOF_WHILE_READING": "it closed the connection in the midst of TLS",
}
_ALERT: Final = re.compile(r"^(SSLV3|TLSV1|TLSV13)_ALERT_")

_SILENT: Final = "no answer in time"
_CLOSED: Final = "it closed the connection"
_SYSTEM: Final = {
    errno.ECONNREFUSED: "connection refused",
    errno.EHOSTUNREACH: "there is no way to its address",
    errno.ENETUNREACH: "there is no way to its address",
    errno.EADDRNOTAVAIL: "there is no way to its address",
    errno.ETIMEDOUT: _SILENT,
    errno.ECONNRESET: _CLOSED,
}
_LOOK_UP: Final = {
    socket.EAI_NONAME: "its name is not known",
    socket.EAI_NODATA: "its name is known, but no address of it",
    socket.EAI_AGAIN: "its name cannot be looked up at the moment",
}
# asyncio's, where several addresses failed in different ways: one OSError without a number
_SEVERAL: Final = re.compile(r"\[Errno (\d+)\]")


def explain(error: Exception) -> str:
    match error:
        case ssl.SSLCertVerificationError():
            return _of_verification(error)
        case ssl.SSLError():
            return _of_tls(error)
        case socket.gaierror():
            return _LOOK_UP.get(error.errno or 0, f"its name cannot be looked up: {error.strerror}")
        case TimeoutError():
            return _SILENT
        case ConnectionResetError() | ConnectionAbortedError() | BrokenPipeError():
            return _CLOSED  # asyncio raises them without a number too
        case OSError():
            return _of_system(error)
    return str(error) or type(error).__name__


def _of_verification(error: ssl.SSLCertVerificationError) -> str:
    if wrong := _WRONG_NAME.search(error.verify_message):
        return f"its certificate is not for {wrong[1]!r}"
    if known := _VERIFY.get(error.verify_code):
        return known
    return f"its certificate cannot be trusted: {error.verify_message}"


def _of_tls(error: ssl.SSLError) -> str:
    # only OpenSSL's own have a reason; Python raises some without
    reason = _ALERT.sub("", getattr(error, "reason", None) or "")
    if known := _TLS.get(reason):
        return known
    if isinstance(error, ssl.SSLEOFError | ssl.SSLZeroReturnError):
        return _TLS["UNEXPECTED_EOF_WHILE_READING"]
    return f"TLS failed: {(reason or str(error)).replace('_', ' ').lower()}"


def _of_system(error: OSError) -> str:
    numbers = [error.errno] if error.errno else [int(each) for each in _SEVERAL.findall(str(error))]
    words = dict.fromkeys(_SYSTEM.get(each, os.strerror(each).lower()) for each in numbers)
    return ", ".join(words) or str(error) or type(error).__name__
