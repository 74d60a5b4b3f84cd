"""What went wrong, in plain words."""

import errno
import socket
import ssl

import pytest

from felixpy.etcd.explain import explain


def tls_error(reason: str) -> ssl.SSLError:
    error = ssl.SSLError(1, f"[SSL: {reason}]")
    error.reason = reason
    return error


CASES: list[tuple[Exception, str]] = [
    (ConnectionRefusedError(errno.ECONNREFUSED, "Connect call failed"), "connection refused"),
    (OSError(errno.EHOSTUNREACH, ""), "there is no way to its address"),
    (OSError(errno.ENETUNREACH, ""), "there is no way to its address"),
    (OSError(errno.ETIMEDOUT, ""), "no answer in time"),
    (TimeoutError(), "no answer in time"),
    (ConnectionResetError(errno.ECONNRESET, ""), "it closed the connection"),
    (ConnectionResetError(), "it closed the connection"),
    (BrokenPipeError(), "it closed the connection"),
    (OSError(errno.EMFILE, ""), "too many open files"),
    (
        OSError(
            "Multiple exceptions: [Errno 111] Connect call failed ('::1', 1, 0, 0), "
            "[Errno 113] Connect call failed ('10.0.0.1', 1)"
        ),
        "connection refused, there is no way to its address",
    ),
    (OSError("something else"), "something else"),
    (socket.gaierror(socket.EAI_NONAME, "Name or service not known"), "its name is not known"),
    (
        socket.gaierror(socket.EAI_AGAIN, "Temporary failure"),
        "its name cannot be looked up at the moment",
    ),
    (socket.gaierror(socket.EAI_FAIL, "Bad"), "its name cannot be looked up: Bad"),
    (
        tls_error("SSLV3_ALERT_CERTIFICATE_EXPIRED"),
        "it does not accept our certificate: it has expired",
    ),
    (tls_error("TLSV1_ALERT_PROTOCOL_VERSION"), "it speaks no TLS of version 1.2 or newer"),
    (tls_error("NO_SHARED_CIPHER"), "TLS failed: no shared cipher"),
    (ssl.SSLEOFError(8, "EOF occurred"), "it closed the connection in the midst of TLS"),
    (ValueError("odd"), "odd"),
    (KeyError(), "KeyError"),
]  # fmt: skip


@pytest.mark.parametrize(("error", "words"), CASES)
def test_words(error: Exception, words: str) -> None:
    assert explain(error) == words
