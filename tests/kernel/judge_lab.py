"""A node with the real dataplane in this process, for questions to the judge and to the kernel.

             caliw1 … caliw5             eth0            eth0
    w1 … w5 ════════════════════ node ════════════════════════ outside, where every address is
                                   ║     eth1            eth0
                                   ╚══════════════════════════ beyond, 198.51.100.0/24, fd98::/16

Two addresses are translated by rules that are not ours: one to w1, one to a port beyond.  Policy
may forbid the discovery of neighbours, so all of them are written down.
"""

from __future__ import annotations

import ipaddress
import json
import sys
import time
from collections.abc import Sequence
from typing import NamedTuple

from calc_graph.judge import Flow, HostInterface, HostView, Judge
from calc_graph.updates import Update
from dataplane.build import build_dataplane
from dataplane.dataplane import Dataplane
from dataplane.settings import Settings
from tests.kernel.conftest import Namespace
from tests.kernel.packets_craft import craft
from tests.kernel.packets_lab import HOST_ADDRESSES, PLUGS, PROBER, TRAVEL, Address, Lab
from tests.oracle import HOST, OUTSIDE, Packet
from tests.oracle.packet import TCP, UDP

BEYOND = "beyond"
BEYOND_NETS = tuple(map(ipaddress.ip_network, ("198.51.100.0/24", "fd98::/16")))
SECOND_ADDRESSES = {4: ipaddress.ip_address("172.31.0.10"), 6: ipaddress.ip_address("fd31::10")}
TO_WORKLOAD = {4: ipaddress.ip_address("203.0.113.99"), 6: ipaddress.ip_address("fd77::99")}
TO_BEYOND = {4: ipaddress.ip_address("203.0.113.98"), 6: ipaddress.ip_address("fd77::98")}
_BEYOND_TARGET = {4: ipaddress.ip_address("198.51.100.7"), 6: ipaddress.ip_address("fd98::7")}
_BEYOND_PORT = 1000
_PLACES = {plug.interface: plug.name for plug in PLUGS.values()}
_CABLES = {OUTSIDE: "eth0", BEYOND: "eth1"}


class Question(NamedTuple):
    """A packet as it is sent, and what the judge is asked of it."""

    packet: Packet
    flow: Flow

    @property
    def place(self) -> str:
        return _PLACES.get(self.packet.enters, self.packet.enters)

    @property
    def to_itself(self) -> bool:
        return self.flow.in_interface is None and self.flow.out_interface is None

    @property
    def can_be_told(self) -> bool:
        """Not if it comes back to its sender, whom error messages bring packets back to, too."""
        return self.to_itself or self.flow.in_interface != self.flow.out_interface


def question(
    packet: Packet, judge: Judge, view: HostView, *, established: bool = False
) -> Question:
    """What the packet becomes on its way through the node."""
    family = packet.family
    port = packet.destination_port if packet.has_ports else None
    destination, to_port = packet.destination, port
    translated = packet.protocol in (TCP, UDP) and not established
    if translated and destination == TO_WORKLOAD[family]:
        destination = PLUGS["w1"].addresses[family]
    elif translated and destination == TO_BEYOND[family]:
        destination, to_port = _BEYOND_TARGET[family], _BEYOND_PORT
    else:
        translated = False
    entering = {HOST: None, **_CABLES}.get(packet.enters, packet.enters)
    out = _out_interface(destination, judge, view)
    flow = Flow(
        source=packet.source,
        destination=destination,
        protocol=packet.protocol,
        source_port=packet.source_port if packet.has_ports else None,
        destination_port=to_port,
        icmp_type=packet.icmp_type if packet.is_icmp else None,
        icmp_code=packet.icmp_code if packet.is_icmp else None,
        in_interface=entering,
        out_interface=out,
        established=established,
        original_destination=packet.destination if translated else None,
        original_port=port if translated else None,
        original_out_interface="eth0" if translated and entering is None else None,
    )
    return Question(packet, flow)


def _out_interface(destination: Address, judge: Judge, view: HostView) -> str | None:
    if destination in (*HOST_ADDRESSES.values(), *SECOND_ADDRESSES.values()):
        return None
    interface = judge.workload_interface(destination, view)
    if interface is None:
        interface = "eth1" if any(destination in net for net in BEYOND_NETS) else "eth0"
    return interface


class JudgeLab(Lab):
    def __init__(self, directory) -> None:
        super().__init__(directory)
        self._dataplane: Dataplane | None = None

    @property
    def node(self) -> Namespace:
        return self._spaces[HOST]

    def build(self) -> None:
        super().build()
        beyond = self._spaces[BEYOND] = Namespace(BEYOND)
        beyond.run(
            "nft add table inet quiet; nft add chain inet quiet input"
            " '{ type filter hook input priority 0; policy drop; }'"
        )
        self.node.run(f"ip link add eth1 type veth peer name eth0 netns {beyond.name}")
        for space, last, name in ((self.node, "10", "eth1"), (beyond, "1", "eth0")):
            space.run(
                f"ip addr add 172.31.0.{last}/24 dev {name};"
                f"ip addr add fd31::{last}/64 dev {name} nodad; ip link set {name} up"
            )
        beyond.run("ip route add default via 172.31.0.10; ip route add default via fd31::10")
        self.node.run(
            "ip route add 198.51.100.0/24 via 172.31.0.1; ip route add fd98::/16 via fd31::1"
        )
        self._introduce(self._spaces[OUTSIDE], "eth0", 30)
        self._introduce(beyond, "eth1", 31)
        for plug in PLUGS.values():
            self.node.run(
                f"ip neigh replace {plug.addresses[6]} lladdr {plug.mac}"
                f" dev {plug.interface} nud permanent"
            )
        self._translate()
        self._probers[BEYOND] = beyond.start(sys.executable, str(PROBER), "packet")

    def _introduce(self, far: Namespace, interface: str, number: int) -> None:
        near_mac = _mac(self.node, interface)
        far_mac = _mac(far, "eth0")
        for address in (f"172.{number}.0.1", f"fd{number}::1"):
            self.node.run(
                f"ip neigh replace {address} lladdr {far_mac} dev {interface} nud permanent"
            )
        for address in (f"172.{number}.0.10", f"fd{number}::10"):
            far.run(f"ip neigh replace {address} lladdr {near_mac} dev eth0 nud permanent")

    def _translate(self) -> None:
        for family, command in ((4, "iptables-nft"), (6, "ip6tables-nft")):
            target = PLUGS["w1"].addresses[family]
            beyond = f"[{_BEYOND_TARGET[6]}]" if family == 6 else str(_BEYOND_TARGET[4])
            for chain in ("PREROUTING", "OUTPUT"):
                for protocol in ("tcp", "udp"):
                    rule = f"{command} -w -t nat -A {chain} -p {protocol}"
                    self.node.run(
                        f"{rule} -d {TO_WORKLOAD[family]} -j DNAT --to-destination {target};"
                        f"{rule} -d {TO_BEYOND[family]}"
                        f" -j DNAT --to-destination {beyond}:{_BEYOND_PORT}"
                    )

    def view(self) -> HostView:
        """What the dataplane sees, too."""
        assert self._dataplane is not None
        return HostView(
            {
                interface.name: HostInterface(interface.index, interface.addresses)
                for interface in self._dataplane._monitor.interfaces.values()
            }
        )

    # ---------------------------------------------------------------- the dataplane

    async def start(self, settings: Settings) -> None:
        """In the namespace of the calling thread."""
        self._dataplane = await build_dataplane(settings, lambda: None)

    async def stop(self) -> None:
        if self._dataplane is not None:
            await self._dataplane.close()

    async def told(self, updates: Sequence[Update]) -> None:
        assert self._dataplane is not None
        self._dataplane.desire(updates)
        while self._dataplane.seconds_to_next() == 0:
            applied = await self._dataplane.apply()
            problems = {} if applied is None else applied.problems
            # an endpoint that is refused, or has no interface, is a case like others
            assert all(" endpoint " in what for what in problems), problems
            if problems:
                break

    # ---------------------------------------------------------------- packets

    def arrived(self, questions: Sequence[Question], *, fresh: bool = True) -> list[str | None]:
        """Where each arrives, if anywhere; with `fresh`, connection tracking knows none of them."""
        if fresh:
            self.node.run("conntrack -F 2>&1")
        tokens = {f"{next(self._tokens):08x}": question for question in questions}
        for place in self._probers:
            sent = [
                [question.packet.family, craft(question.packet, f"fxpkt:{token}").hex()]
                for token, question in tokens.items()
                if question.place == place
            ]
            refused = self._tell(place, {"op": "send", "packets": sent})["refused"]
            # a host is told at once that its own rules forbid it
            assert all("Operation not permitted" in text for text in refused), refused
        time.sleep(TRAVEL)
        heard: dict[str, str] = {}
        for place in self._probers:
            for token in self._tell(place, {"op": "heard"})["heard"]:
                asked = tokens.get(token)
                if asked is not None and (place != asked.place or asked.to_itself):
                    heard[token] = place
        return [heard.get(token) for token in tokens]


def _mac(space: Namespace, interface: str) -> str:
    return str(json.loads(space.run(f"ip -j link show {interface}"))[0]["address"])
