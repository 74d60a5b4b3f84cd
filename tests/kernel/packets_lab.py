"""One node with the real agent, five workloads and the rest of the world, in network namespaces.

             caliw1 … caliw5             eth0            eth0
    w1 … w5 ════════════════════ node ════════════════════════ outside, where every address is
    10.65.0.11 …                 172.30.0.10             whatever a packet says
    fd65::11 …                   fd30::10

What arrives is heard where it arrives, in front of any filter there, and nothing answers.
"""

from __future__ import annotations

import ipaddress
import itertools
import json
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from tests.kernel.conftest import Namespace
from tests.kernel.packets_craft import craft
from tests.oracle import HOST, OUTSIDE, Packet

NODE = "n1"
HOST_SIDE_MAC, GATEWAY4, GATEWAY6 = "ee:ee:ee:ee:ee:ee", "169.254.1.1", "fe80::ecee:eeff:feee:eeee"
PROBER = Path(__file__).with_name("packets_prober.py")
ROOT = Path(__file__).parent.parent.parent
PATIENCE = 15.0  # seconds for the agent to take up a change
TRAVEL = 0.1  # seconds after which a packet that is not there will not come

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Key = tuple[str, str, str]  # kind, namespace, name
Manifests = Mapping[Key, Mapping[str, Any]]


class Plug(NamedTuple):
    """A workload's place in the topology, whether or not an endpoint is registered for it."""

    name: str
    interface: str
    mac: str
    addresses: dict[int, Address]  # by family


PLUGS = {
    f"w{n}": Plug(
        f"w{n}",
        f"caliw{n}",
        f"02:65:00:00:00:1{n}",
        {
            4: ipaddress.ip_address(f"10.65.0.1{n}"),
            6: ipaddress.ip_address(f"fd65::1{n}"),
        },
    )
    for n in range(1, 6)
}
HOST_ADDRESSES: dict[int, Address] = {
    4: ipaddress.ip_address("172.30.0.10"),
    6: ipaddress.ip_address("fd30::10"),
}
_PLACES = {plug.interface: plug.name for plug in PLUGS.values()} | {HOST: HOST, OUTSIDE: OUTSIDE}
# what would be answered goes no further; routers and neighbours have to be found all the same
_QUIET = """
table inet quiet {
  chain input {
    type filter hook input priority 0; policy drop;
    icmpv6 type { nd-router-solicit, nd-router-advert, nd-neighbor-solicit, nd-neighbor-advert } \
accept
  }
}
"""


class AgentError(AssertionError):
    """The agent ended, or did not take up what it was given."""


class Lab:
    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._manifests = directory / "manifests"
        self._manifests.mkdir()
        self._log = directory / "agent.log"
        self._written: dict[Key, Mapping[str, Any]] = {}
        self._spaces: dict[str, Namespace] = {}
        self._probers: dict[str, subprocess.Popen[str]] = {}
        self._agent: subprocess.Popen[bytes] | None = None
        self._tokens = itertools.count(1)
        self._rounds = itertools.count(1)

    # ---------------------------------------------------------------- building

    def build(self) -> None:
        for place in (HOST, OUTSIDE, *PLUGS):
            self._spaces[place] = space = Namespace(place)
            space.run(
                "cd /proc/sys/net; echo 0 > ipv4/conf/all/rp_filter;"
                "echo 0 > ipv4/conf/default/rp_filter;"
                "for f in all default; do echo 0 > ipv6/conf/$f/accept_dad; done"
            )
            if place != HOST:
                space.run("nft -f -", stdin=_QUIET)
        self._connect_outside()
        for plug in PLUGS.values():
            self._plug(plug)
        for place, space in self._spaces.items():
            way = "socket" if place == HOST else "packet"
            self._probers[place] = space.start(sys.executable, str(PROBER), way)

    def _connect_outside(self) -> None:
        host, outside = self._spaces[HOST], self._spaces[OUTSIDE]
        host.run(f"ip link add eth0 type veth peer name eth0 netns {outside.name}")
        for space, last in ((host, "10"), (outside, "1")):
            space.run(
                f"ip addr add 172.30.0.{last}/24 dev eth0;"
                f"ip addr add fd30::{last}/64 dev eth0 nodad; ip link set eth0 up"
            )
        host.run("ip route add default via 172.30.0.1; ip route add default via fd30::1")
        outside.run("ip route add default via 172.30.0.10; ip route add default via fd30::10")

    def _plug(self, plug: Plug) -> None:
        host, inside = self._spaces[HOST], self._spaces[plug.name]
        host.run(
            f"ip link add {plug.interface} address {HOST_SIDE_MAC}"
            f" type veth peer name eth0 netns {inside.name}; ip link set {plug.interface} up"
        )
        inside.run(
            f"ip link set eth0 address {plug.mac}; ip link set eth0 up;"
            f"ip addr add {plug.addresses[4]}/32 dev eth0;"
            f"ip addr add {plug.addresses[6]}/128 dev eth0 nodad;"
            f"ip neigh add {GATEWAY4} lladdr {HOST_SIDE_MAC} dev eth0 nud permanent;"
            f"ip neigh add {GATEWAY6} lladdr {HOST_SIDE_MAC} dev eth0 nud permanent;"
            f"ip route add {GATEWAY4} dev eth0 scope link;"
            f"ip route add default via {GATEWAY4} dev eth0;"
            f"ip route add default via {GATEWAY6} dev eth0"
        )

    def start_agent(self) -> None:
        config = self._directory / "felixpy.cfg"
        options = {
            "FelixHostname": NODE,
            "DatastoreType": "file",
            "DatastorePath": self._manifests,
            "RunDir": self._directory / "run",
            "MTUFile": self._directory / "mtu",
            "LogFormat": "json",
            "LogSeverityScreen": "INFO",
            "LogFilePath": "none",
            "LogSeveritySys": "none",
            "HealthEnabled": "false",
        }
        lines = [f"{name} = {value}\n" for name, value in options.items()]
        config.write_text("[global]\n" + "".join(lines))
        command = ["ip", "netns", "exec", self._spaces[HOST].name, sys.executable]
        with self._log.open("wb") as log:
            self._agent = subprocess.Popen(
                [*command, "-m", "felixpy", "run", "--config", str(config)],
                cwd=ROOT,
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    def close(self) -> None:
        if self._agent is not None:
            self._agent.terminate()
            try:
                self._agent.wait(15)
            except subprocess.TimeoutExpired:
                self._agent.kill()
                self._agent.wait()
        for space in reversed(self._spaces.values()):
            space.delete()

    # ---------------------------------------------------------------- the agent

    def apply(self, manifests: Manifests) -> None:
        """Have the agent take up these and no others, by writing the files that differ.

        The one written last bears a number that shows in the kernel.  Raises AgentError.
        """
        round_ = next(self._rounds)
        for key in self._written.keys() - manifests.keys():
            self._path(key).unlink()
        for key, manifest in manifests.items():
            if self._written.get(key) != manifest:
                self._write(key, manifest)
        self._written = dict(manifests)
        self._write(MARKER, marker(round_))
        self._await_round(round_)

    def _path(self, key: Key) -> Path:
        return self._manifests / (".".join(part for part in key if part).lower() + ".yaml")

    def _write(self, key: Key, manifest: Mapping[str, Any]) -> None:
        path = self._path(key)
        scratch = path.with_name(f".{path.name}.tmp")
        scratch.write_text(yaml.safe_dump(manifest, sort_keys=False))
        scratch.rename(path)

    def _await_round(self, round_: int) -> None:
        sign = f'"round={round_}"'
        deadline = time.monotonic() + PATIENCE
        for command in ("iptables", "ip6tables"):
            while sign not in self._spaces[HOST].saved("-t filter", command):
                if self._agent is not None and self._agent.poll() is not None:
                    raise AgentError(f"the agent ended: {self.log()}")
                if time.monotonic() > deadline:
                    raise AgentError(f"round {round_} did not reach the kernel: {self.log()}")
                time.sleep(0.02)

    def log(self) -> str:
        return "\n".join(self._log.read_text().splitlines()[-30:])

    def complaints(self) -> list[str]:
        """What the agent has logged as an error."""
        wrong = []
        for line in self._log.read_text().splitlines():
            try:
                bad = json.loads(line).get("level") in ("error", "critical")
            except ValueError:  # a traceback
                bad = True
            if bad:
                wrong.append(line)
        return wrong

    def tables(self, words: Iterable[str]) -> str:
        """The rules of both families in which one of the words is, and the sets."""
        wanted = tuple(words)
        text = self._spaces[HOST].saved()
        lines = [line for line in text.splitlines() if any(word in line for word in wanted)]
        return "\n".join(lines) + "\n" + self._spaces[HOST].run("ipset save")

    # ---------------------------------------------------------------- packets

    def ask(self, packets: Sequence[Packet]) -> list[str | None]:
        """Where each packet arrives, if anywhere, as the first of a flow.

        No two of them may belong to one flow.
        """
        self._spaces[HOST].run("conntrack -F 2>&1")
        return self.send(packets)

    def send(self, packets: Sequence[Packet]) -> list[str | None]:
        """The same with the flows that there are."""
        tokens = {f"{next(self._tokens):08x}": packet for packet in packets}
        for place in self._probers:
            sent = [
                [packet.family, craft(packet, f"fxpkt:{token}").hex()]
                for token, packet in tokens.items()
                if _PLACES[packet.enters] == place
            ]
            refused = self._tell(place, {"op": "send", "packets": sent})["refused"]
            assert not refused, f"{place} could not send: {refused}"
        time.sleep(TRAVEL)
        heard: dict[str, str] = {}
        for place in self._probers:
            for token in self._tell(place, {"op": "heard"})["heard"]:
                # an error message may bring a packet back to where it came from
                if token in tokens and place != _PLACES[tokens[token].enters]:
                    heard[token] = place
        return [heard.get(token) for token in tokens]

    def _tell(self, place: str, request: Mapping[str, Any]) -> dict[str, Any]:
        prober = self._probers[place]
        assert prober.stdin is not None
        assert prober.stdout is not None
        prober.stdin.write(json.dumps(request) + "\n")
        prober.stdin.flush()
        line = prober.stdout.readline()
        assert line.startswith("{"), f"the prober in {place} ended: {line}{prober.stdout.read()}"
        return json.loads(line)


# ---------------------------------------------------------------- a number that shows in the kernel

MARKER: Key = ("Profile", "", "marker")


def marker(round_: int) -> dict[str, Any]:
    """A profile whose only rule matches nothing: workloads name it last."""
    rule = {
        "action": "Deny",
        "protocol": 255,
        "metadata": {"annotations": {"round": str(round_)}},
    }
    return {
        "apiVersion": "projectcalico.org/v3",
        "kind": "Profile",
        "metadata": {"name": MARKER[2]},
        "spec": {"ingress": [rule]},
    }
