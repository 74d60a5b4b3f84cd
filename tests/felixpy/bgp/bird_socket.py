"""A socket that answers as BIRD does: a greeting, and for each command the reply that it is given.

with bird_at(path, {"show status": STATUS}) as bird:
    bird.replies[...] = ...     another reply from now on
"""

from __future__ import annotations

import contextlib
import socketserver
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path

_END = "0000 \n"
GREETING = "0001 BIRD 2.0.12 ready.\n"
STATUS = """\
1000-BIRD 2.0.12
1011-Router ID is 10.0.0.1
 Hostname is n1
 Current server time is 2026-11-21 19:40:00
 Last reboot on 2026-11-20 08:00:00
 Last reconfiguration on 2026-11-21 19:33:03
0013 Daemon is up and running
"""
_CHANGES = """\
     Route change stats:     received   rejected   filtered    ignored   accepted
       Import updates:              3          0          1          0          2
       Import withdraws:            0          0        ---          0          0
       Export updates:              9          5          3        ---          1
       Export withdraws:            0        ---        ---        ---          0
"""
_UP = """\
1002-Mesh_10_0_0_2 BGP        ---        up     2026-11-21 19:33:04  Established
1006-  BGP state:          Established
     Neighbor address: 10.0.0.2
     Neighbor AS:      64512
     Local AS:         64512
     Neighbor ID:      10.0.0.2
     Local capabilities
       Graceful restart
     Neighbor capabilities
       Graceful restart
     Session:          internal multihop AS4
     Source address:   10.0.0.1
     Hold timer:       226.404/240
     Keepalive timer:  28.353/80
   Channel ipv4
     State:          UP
     Routes:         2 imported, 1 filtered, 4 exported, 1 preferred
"""
_DOWN = """\
1002-Global_10_0_0_254 BGP        ---        start  2026-11-19 08:00:00  Active        Socket: \
Connection refused
1006-  BGP state:          Active
     Neighbor address: 10.0.0.254
     Neighbor AS:      65001
     Local AS:         64512
     Last error:       Socket: Connection refused
   Channel ipv4
     State:          DOWN
"""
PROTOCOLS = (
    "2002-Name       Proto      Table      State  Since         Info\n"
    + "".join(
        "1002-" + line.removeprefix("1002-") + "\n"
        for text in (_UP, _DOWN)
        for line in text.splitlines()[:1]
    )
    + "0000 \n"
)
SESSIONS = (
    "2002-Name       Proto      Table      State  Since         Info\n"
    + _UP
    + _CHANGES
    + " \n"
    + _DOWN
    + "0000 \n"
)
ALL_UP = SESSIONS.replace(_DOWN, "")
FILTERED = (
    """\
1007-Table master4:
 198.51.100.0/24      unicast [Mesh_10_0_0_2 2026-11-21 19:33:05] (100) [i]
 \tvia 10.0.0.2 on eth0
1008-\tType: BGP univ
1012-\tBGP.next_hop: 10.0.0.2
 \twhy: 3
1007-10.65.9.0/26         unicast [Global_10_0_0_254 2026-11-21 19:33:05] (100) [AS65001i]
 \tvia 10.0.0.254 on eth0
1008-\tType: BGP univ
1012-\tBGP.as_path: 65001
 \twhy: 2003
1007-192.0.2.0/24         unicast [kernel4 2026-11-21 19:33:05] * (10)
 \tvia 10.0.0.2 on eth0
1008-\tType: inherit univ
1012-\twhy: 20
"""
    + _END
)
NOEXPORT = (
    """\
1007-Table master4:
 10.0.0.0/24          unicast [direct1 2026-11-21 19:33:03] * (240)
 \tdev eth0
1008-\tType: device univ
1012-\twhy: 10
1007-10.65.1.7/32         unicast [kernel4 2026-11-21 19:33:03] * (10)
 \tdev cali1
1008-\tType: inherit univ
1012-\tKernel.source: 80
 \twhy: 10
1007-10.65.77.7/32        unicast [kernel4 2026-11-21 19:33:03] * (10)
 \tdev cali2
1008-\tType: inherit univ
1012-\tKernel.source: 80
 \twhy: 10
1007-10.65.2.0/26         unicast [Mesh_10_0_0_2 2026-11-21 19:33:03] * (100) [i]
 \tvia 10.0.0.2 on eth0
1008-\tType: BGP univ
"""
    + _END
)
STATIC = (
    """\
1007-Table master4:
 10.65.1.0/26         blackhole [static4 2026-11-21 19:33:03] * (200)
1008-\tType: static univ
"""
    + _END
)
USUAL = {
    "show status": STATUS,
    "show protocols": PROTOCOLS,
    "show protocols all": SESSIONS,
    "show route filtered all": FILTERED,
    "show route protocol 'static4' all": STATIC,
    "show route noexport 'Mesh_10_0_0_2' all": NOEXPORT,
}


class _Server(socketserver.ThreadingUnixStreamServer):
    daemon_threads = True
    replies: dict[str, str]


class _Handler(socketserver.StreamRequestHandler):
    def handle(self) -> None:
        server = self.server
        assert isinstance(server, _Server)
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            self.wfile.write(GREETING.encode())
            command = self.rfile.readline().decode().strip()
            if command:
                reply = server.replies.get(command, "9001 syntax error\n")
                self.wfile.write(reply.encode())


class Bird:
    def __init__(self, server: _Server) -> None:
        self.replies = server.replies


@contextlib.contextmanager
def bird_at(path: Path, replies: Mapping[str, str] = USUAL) -> Iterator[Bird]:
    with _Server(str(path), _Handler) as server:
        server.replies = dict(replies)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield Bird(server)
        finally:
            server.shutdown()
            thread.join()
            path.unlink()
