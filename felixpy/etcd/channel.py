"""One connection to one server: HTTP/2 by grpclib, with the socket told to notice a dead peer.

grpclib would connect again by itself; here a channel is used for one connection only, so that
whoever uses it always knows which server has answered.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
import struct
from typing import Final, NamedTuple

from grpclib.client import Channel, Handler
from grpclib.config import Configuration
from grpclib.protocol import H2Protocol

from felixpy.etcd.settings import Endpoint

# The kernel asks a silent peer every second, at no cost to this process.  It counts in whole
# seconds, and gives the connection up after two: who is in a hurry looks at `hearing`.
_PROBE_SECONDS: Final = 1
_PATIENCE_MILLISECONDS: Final = 1500
# Where there is nobody else to turn to, a lost packet or two is no reason to begin anew.
_PROBE_SECONDS_ALONE: Final = 5
_PATIENCE_MILLISECONDS_ALONE: Final = 15_000

_WINDOW: Final = 2**24  # bytes under way; a page of a list is a few hundred thousand


# tcpi_probes, tcpi_unacked, tcpi_last_ack_recv of the kernel's struct tcp_info
_TCP_INFO: Final = struct.Struct("3xB20xI28xI")


class Hearing(NamedTuple):
    """`silent_seconds` since the peer's kernel has last acknowledged anything; `asked`: it has been
    asked since then, with data or by the kernel's probe.
    """

    silent_seconds: float
    asked: bool


class _Protocol(H2Protocol):
    """grpclib does not keep why a connection was lost, and of a server that refuses our certificate
    nothing else is heard: with TLS 1.3 it says so after the handshake.
    """

    lost_because: Exception | None = None

    def connection_lost(self, exc: BaseException | None) -> None:
        if isinstance(exc, Exception):
            self.lost_because = exc
        super().connection_lost(exc)


class EtcdChannel(Channel):
    def __init__(self, endpoint: Endpoint, tls: ssl.SSLContext | None, *, alone: bool) -> None:
        """`alone`: there is no other endpoint."""
        super().__init__(
            endpoint.host,
            endpoint.port,
            ssl=tls,
            config=Configuration(
                http2_connection_window_size=_WINDOW, http2_stream_window_size=_WINDOW
            ),
        )
        self._alone = alone
        self._used: _Protocol | None = None
        self._socket: socket.socket | None = None

    @property
    def lost_because(self) -> Exception | None:
        """What has ended the connection, where that is known."""
        return self._used.lost_because if self._used is not None else None

    def hearing(self) -> Hearing:
        """How the peer's kernel answers; it costs a system call and nothing on the network."""
        if self._socket is None or self._socket.fileno() < 0:
            return Hearing(0.0, asked=False)
        info = self._socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _TCP_INFO.size)
        probes, unacknowledged, milliseconds = _TCP_INFO.unpack(info)
        return Hearing(milliseconds / 1000, asked=probes + unacknowledged > 0)

    async def _create_connection(self) -> H2Protocol:
        if self._used is not None:
            raise self.lost_because or ConnectionResetError("the connection was closed")
        self._used = protocol = _Protocol(Handler(), self._config, self._h2_config)
        transport, _ = await asyncio.get_running_loop().create_connection(
            lambda: protocol,
            self._host,
            self._port,
            ssl=self._ssl,
            happy_eyeballs_delay=0.25,
        )
        self._socket = sock = transport.get_extra_info("socket")
        probe = _PROBE_SECONDS_ALONE if self._alone else _PROBE_SECONDS
        patience = _PATIENCE_MILLISECONDS_ALONE if self._alone else _PATIENCE_MILLISECONDS
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, probe)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, probe)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, patience)
        return protocol
