"""A small HTTP server for those who look after the node: GET of a few fixed paths.

A thread of its own, so that it also answers when the event loop does not: whoever asks for the
agent's health then learns just that.
"""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Callable, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import NamedTuple

from msgspec import Struct

_PATIENCE = 10.0  # seconds for a client to say what it wants


class Answer(NamedTuple):
    code: int
    body: bytes
    content_type: str = "text/plain; charset=utf-8"


# is told what the client accepts
Page = Callable[[str], Answer]


class Tls(Struct, frozen=True):
    """Paths of PEM files; with `client_ca` clients may, or must, show a certificate of its."""

    certificate: str
    key: str
    client_ca: str = ""
    client_required: bool = False

    def context(self) -> ssl.SSLContext:
        """Raises OSError, of which ssl.SSLError is one, for files that cannot be used."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.certificate, self.key or None)
        if self.client_required and not self.client_ca:
            raise OSError("clients must show a certificate, but no authority of theirs is known")
        if self.client_ca:
            context.load_verify_locations(self.client_ca)
            required = self.client_required
            context.verify_mode = ssl.CERT_REQUIRED if required else ssl.CERT_OPTIONAL
        return context


class HttpServer:
    def __init__(
        self, host: str, port: int, pages: Mapping[str, Page], tls: Tls | None = None
    ) -> None:
        """`host` "" is every address; raises OSError when the address cannot be had."""
        self._server = _Server(host, port, pages, tls.context() if tls else None)
        self._thread = threading.Thread(
            target=self._server.serve_forever, name=f"http-{port}", daemon=True
        )
        self._thread.start()

    @property
    def port(self) -> int:
        return int(self._server.server_address[1])

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def __init__(
        self, host: str, port: int, pages: Mapping[str, Page], context: ssl.SSLContext | None
    ) -> None:
        found = socket.getaddrinfo(host or None, port, 0, socket.SOCK_STREAM, 0, socket.AI_PASSIVE)
        families = {family: address for family, _, _, _, address in reversed(found)}
        # IPv4 first, as Felix's defaults "localhost" and "0.0.0.0" are known by
        self.address_family = min(families)
        self.pages = pages
        super().__init__(families[self.address_family][:2], _Handler)  # type: ignore[arg-type]
        if context is not None:
            # the handshake is left to the client's own thread: one that is slow holds up nobody
            self.socket = context.wrap_socket(
                self.socket, server_side=True, do_handshake_on_connect=False
            )

    def server_bind(self) -> None:
        """Without the look-up of the host's full name, which may wait for a name server."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind(self.server_address)
        self.server_address = self.socket.getsockname()
        self.server_name, self.server_port = str(self.server_address[0]), self.server_address[1]

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that goes away, or speaks no TLS, is no news."""


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    server_version = "felixpy"
    sys_version = ""
    timeout = _PATIENCE

    def do_GET(self) -> None:
        pages = self.server.pages
        page = pages.get(self.path.partition("?")[0])
        if page is None:
            known = " and ".join(pages)
            answer = Answer(404, f"only {known} can be had here\n".encode())
        else:
            answer = page(self.headers.get("Accept", ""))
        self.send_response(answer.code)
        self.send_header("Content-Type", answer.content_type)
        self.send_header("Content-Length", str(len(answer.body)))
        self.end_headers()
        self.wfile.write(answer.body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """A probe every second is no news."""
