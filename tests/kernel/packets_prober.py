"""Sends crafted packets from the network namespace it runs in, and notes which tokens arrive there.

    {"op": "send", "packets": [[family, hex], …]}   whole packets, beginning with the IP header
    {"op": "heard"}                                  the tokens that came since the last time
    answer: a line of JSON for each line read

A token is TOKEN and eight hexadecimal digits, anywhere in a packet.  With the argument "packet" it
hears what comes in on eth0, before any filter; with "socket" what reaches the sockets of a host,
behind every filter.  Runs as a script of its own: nothing of the project is imported.
"""

import json
import re
import selectors
import socket
import sys

TOKEN = b"fxpkt:"
_ANY_PROTOCOL = 0x0003  # ETH_P_ALL
_OUTGOING = 4  # PACKET_OUTGOING: the packets that go out pass a tap, too
_PATTERN = re.compile(TOKEN + rb"([0-9a-f]{8})")
_IPV6_HDRINCL = 36
_SO_RCVBUFFORCE = 33
_HEARD_PROTOCOLS = (1, 4, 6, 17, 58, 89, 103, 132, 253, 254)


def taps():
    tap = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(_ANY_PROTOCOL))
    tap.bind(("eth0", _ANY_PROTOCOL))
    return [tap]


def raw_sockets():
    return [
        socket.socket(family, socket.SOCK_RAW, protocol)
        for family in (socket.AF_INET, socket.AF_INET6)
        for protocol in _HEARD_PROTOCOLS
    ]


class Prober:
    def __init__(self, ears):
        self._heard = set()
        self._out = {
            4: socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW),
            6: socket.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_RAW),
        }
        self._out[4].setsockopt(socket.IPPROTO_IP, socket.IP_HDRINCL, 1)
        self._out[6].setsockopt(socket.IPPROTO_IPV6, _IPV6_HDRINCL, 1)
        self._selector = selectors.DefaultSelector()
        self._selector.register(sys.stdin.fileno(), selectors.EVENT_READ)
        for ear in ears:
            ear.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, 8 << 20)
            ear.setblocking(False)
            self._selector.register(ear, selectors.EVENT_READ)

    def run(self):
        while True:
            asked = False
            for key, _ in self._selector.select():
                if isinstance(key.fileobj, int):
                    asked = True
                else:
                    self._listen(key.fileobj)
            if asked:
                line = sys.stdin.readline()  # never more than one is under way
                if not line:
                    return
                print(json.dumps(self._answer(json.loads(line))), flush=True)

    def _answer(self, request):
        if request["op"] == "send":
            return {"refused": [text for text in map(self._send, request["packets"]) if text]}
        heard, self._heard = sorted(self._heard), set()
        return {"heard": heard}

    def _send(self, packet):
        family, text = packet
        data = bytes.fromhex(text)
        if family == 4:
            target = (socket.inet_ntop(socket.AF_INET, data[16:20]), 0)
        else:
            target = (socket.inet_ntop(socket.AF_INET6, data[24:40]), 0, 0, 0)
        try:
            self._out[family].sendto(data, target)
        except OSError as error:
            return f"{target[0]}: {error}"
        return ""

    def _listen(self, ear):
        while True:
            try:
                data, origin = ear.recvfrom(2048)
            except BlockingIOError:
                return
            if ear.family == socket.AF_PACKET and origin[2] == _OUTGOING:
                continue
            self._heard.update(found.decode() for found in _PATTERN.findall(data))


if __name__ == "__main__":
    Prober(taps() if sys.argv[1] == "packet" else raw_sockets()).run()
