"""Health over HTTP: GET /readiness and GET /liveness.

A thread of its own, so that it also answers when the event loop does not: by then the reporters are
too late, and it says so.
"""

from __future__ import annotations

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from felixpy.health import Health


class HealthServer:
    def __init__(self, health: Health, host: str, port: int) -> None:
        """Raises OSError when the address cannot be had."""

        class Handler(BaseHTTPRequestHandler):
            server_version = "felixpy"
            sys_version = ""

            def do_GET(self) -> None:
                questions = {"/readiness": health.unready, "/liveness": health.dead}
                ask = questions.get(self.path)
                if ask is None:
                    self._answer(404, "only /readiness and /liveness are here\n")
                    return
                complaints = ask()
                if complaints:
                    self._answer(503, "".join(f"{line}\n" for line in complaints))
                else:
                    self._answer(200, "well\n")

            def _answer(self, code: int, text: str) -> None:
                body = text.encode()
                self.send_response(code)
                self.send_header("Content-Type", "text/plain; charset=utf-8")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002
                """A probe every second is no news."""

        self._server = ThreadingHTTPServer((host, port), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(
            target=self._server.serve_forever, name="health", daemon=True
        )
        self._thread.start()

    @property
    def port(self) -> int:
        return int(self._server.server_address[1])

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
