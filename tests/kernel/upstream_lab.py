"""A router above, run by a real daemon with a rendered policy, and a BIRD that plays all around it.

    router    BirdRouter or FrrRouter: the text as `felixpy bgp upstream` prints it, with sessions
      |
    around    a BIRD for each node, or for each side of a spine; none of them filters anything, so
              whatever is stopped, the router stops

Each player announces what the matrix lets it try, and the router originates what it shall keep to
itself; `outcome` says what got through.
"""

from __future__ import annotations

import json
import re
import shlex
import time
from collections.abc import Callable
from ipaddress import ip_network
from pathlib import Path
from typing import NamedTuple

from tests.felixpy.bgp.upstream.matrix import MATRIX, NODE_AS, Setting, Try
from tests.felixpy.bgp.upstream.rendering import BORDER_AS, SPINE_AS, text_of
from tests.kernel.conftest import Namespace

TOR_AS = 65001
PASSWORD = "REPLACE-ME"  # as printed: what both ends have here
ROUTER = {4: "10.0.0.254", 6: "fd00::254"}


class Player(NamedTuple):
    """A neighbour of the router in one family; `group`: in the router's words, "" for a node."""

    whom: str
    family: int
    address: str
    number: int  # its AS
    group: str = ""

    @property
    def name(self) -> str:
        return f"{self.whom}_{self.family}"


def players(setting: Setting) -> list[Player]:
    found = []
    for family, start in ((4, "10.0.0."), (6, "fd00::")):
        if setting.role == "tor":
            nodes = (f"n{n}" for n in (1, 2, 3))
            found += [Player(node, family, f"{start}{node[1]}", NODE_AS) for node in nodes]
        below, above = {"tor": (0, SPINE_AS), "spine": (TOR_AS, BORDER_AS), "border": (SPINE_AS, 0)}[
            setting.role
        ]
        for whom, number, last in (("below", below, 11), ("above", above, 12)):
            if number:
                group = f"CALICO-{whom.upper()}-V{family}"
                found.append(Player(whom, family, f"{start}{last}", number, group))
    return found


def own_as(setting: Setting) -> int:
    return {"tor": TOR_AS, "spine": SPINE_AS, "border": BORDER_AS}[setting.role]


def tries(setting: Setting, direction: str, family: int) -> list[Try]:
    return [
        attempt
        for attempt in MATRIX[setting]
        if attempt.direction == direction and ip_network(attempt.net).version == family
    ]


def originated(setting: Setting, family: int) -> list[str]:
    """What the router has of its own, for its policy to tell or not to tell."""
    return sorted({attempt.net for attempt in tries(setting, "out", family)})


class Daemon:
    """A BIRD in a namespace."""

    def __init__(self, space: Namespace, directory: Path, text: str) -> None:
        directory.mkdir()
        self._space = space
        self._control = directory / "bird.ctl"
        file = directory / "bird.conf"
        file.write_text(text)
        space.run(f"bird -p -c {file}")
        space.start("bird", "-f", "-c", str(file), "-s", str(self._control))
        eventually(self._control.exists, "a BIRD")

    def ask(self, command: str) -> str:
        return self._space.run(f"birdc -s {self._control} {shlex.quote(command)}")

    def nets(self, query: str) -> set[str]:
        return set(re.findall(r"^(\S+/\d+)", self.ask(f"show route {query}"), re.MULTILINE))

    def established(self) -> int:
        return self.ask("show protocols").count("Established")


class Around:
    """A BIRD for each player, as none has two sessions with the same neighbour."""

    def __init__(self, space: Namespace, directory: Path, setting: Setting) -> None:
        directory.mkdir()
        self._daemons: dict[str, Daemon] = {}
        everybody = players(setting)
        for number, whom in enumerate(dict.fromkeys(player.whom for player in everybody), 1):
            lines = [f"router id 10.0.0.{number};", "protocol device { }", "protocol direct { "
                     "ipv4; ipv6; }"]  # fmt: skip
            for player in everybody:
                if player.whom == whom:
                    lines += _played(player, setting)
            text = "\n".join(lines) + "\n"
            self._daemons[whom] = Daemon(space, directory / whom, text)

    def established(self) -> int:
        return sum(daemon.established() for daemon in self._daemons.values())

    def told(self, player: Player) -> set[str]:
        """What the router has told it."""
        query = f"protocol {player.name} table t_{player.name}"
        return self._daemons[player.whom].nets(query)


def _played(player: Player, setting: Setting) -> list[str]:
    attempts = [t for t in tries(setting, "in", player.family) if t.whom == player.whom]
    table = f"t_{player.name}"
    longer = [
        f"    if net = {attempt.net} then bgp_path.prepend({number});"
        for attempt in attempts
        for number in attempt.path[1:]
    ]
    secured = [f'  direct; ttl security on; password "{PASSWORD}";']
    return [
        f"ipv{player.family} table {table};",
        f"protocol static s_{player.name} {{ ipv{player.family} {{ table {table}; }};",
        *(f"  route {attempt.net} blackhole;" for attempt in attempts),
        "}",
        f"protocol bgp {player.name} {{",
        f"  local {player.address} as {player.number}; strict bind on;",
        f"  neighbor {ROUTER[player.family]} as {own_as(setting)};",
        *([] if player.group else secured),
        "  allow local as 3; connect delay time 1; connect retry time 1; error wait time 1, 2;",
        f"  ipv{player.family} {{ table {table}; next hop self; import all; export filter {{",
        *longer,
        "    if source = RTS_STATIC then accept; reject; }; };",
        "}",
    ]


def wire(router: Namespace, around: Namespace, setting: Setting) -> None:
    addresses = {4: "24", 6: "64 nodad"}
    for family, rest in addresses.items():
        router.run(f"ip addr add {ROUTER[family]}/{rest} dev eth0")
    for player in players(setting):
        around.run(f"ip addr add {player.address}/{addresses[player.family]} dev eth0")


# ---------------------------------------------------------------- the routers


class BirdRouter:
    def __init__(self, space: Namespace, directory: Path, setting: Setting) -> None:
        lines = ["router id 10.0.0.254;", "protocol device { }", "protocol direct { ipv4; ipv6; }"]
        for family in ROUTER:
            lines.append(f"protocol static own{family} {{ ipv{family};")
            lines += [f"  route {net} blackhole;" for net in originated(setting, family)]
            lines.append("}")
        lines.append(text_of(setting, "bird"))
        lines += [
            f"protocol bgp '{player.group}-ONE' from '{player.group}-BGP' {{"
            f" neighbor {player.address} as {player.number}; }}"
            for player in players(setting)
            if player.group
        ]
        self.daemon = Daemon(space, directory, "\n".join(lines) + "\n")

    def accepted(self, player: Player) -> set[str]:
        return self.daemon.nets(f"protocol {_protocol(player)} table master{player.family}")

    def refused(self, player: Player) -> set[str]:
        return self.daemon.nets(
            f"filtered protocol {_protocol(player)} table master{player.family}"
        )

    def reason(self, player: Player, net: str) -> int:
        text = self.daemon.ask(f"show route {net} filtered protocol {_protocol(player)} all")
        return int(re.search(r"calico_why: (\d+)", text)[1])


def _protocol(player: Player) -> str:
    name = f"{player.group}-ONE" if player.group else f"CALICO-{player.whom}-V{player.family}-BGP"
    return f"'{name}'"


class FrrRouter:
    """bgpd alone; nobody asks it to write routes into a kernel."""

    def __init__(self, space: Namespace, directory: Path, setting: Setting) -> None:
        directory.mkdir()
        self._space = space
        self._directory = directory
        self._setting = setting
        (directory / "empty.conf").touch()
        space.start(
            "/usr/lib/frr/bgpd", "-S", "-Z", "-f", str(directory / "empty.conf"),
            "-i", str(directory / "bgpd.pid"), "--vty_socket", str(directory), "-P", "0",
            "--log", f"file:{directory}/log",
        )  # fmt: skip
        eventually((directory / "bgpd.vty").exists, "a bgpd")
        self.paste(text_of(setting, "frr"))
        self.paste(self._by_hand())

    def _by_hand(self) -> str:
        lines = [f"router bgp {own_as(self._setting)}", " bgp router-id 10.0.0.254",
                 " no bgp network import-check", " timers bgp 3 9"]  # fmt: skip
        for player in players(self._setting):
            if player.group:
                lines.append(f" neighbor {player.address} remote-as {player.number}")
                lines.append(f" neighbor {player.address} peer-group {player.group}")
        for family in ROUTER:
            lines.append(f" address-family ipv{family} unicast")
            lines += [f"  network {net}" for net in originated(self._setting, family)]
            lines.append(" exit-address-family")
        return "\n".join(lines) + "\n"

    def paste(self, text: str) -> None:
        """As somebody would: vtysh stops at nothing, but says what it does not know."""
        file = self._directory / "pasted"
        file.write_text(text)
        self._space.run(f"vtysh -C -f {file}")
        said = self._space.run(f"vtysh --vty_socket {self._directory} -f {file} 2>&1", check=False)
        assert "Unknown" not in said, said
        assert "% " not in said, said

    def show(self, command: str) -> dict:
        text = self._space.run(f"vtysh --vty_socket {self._directory} -c 'show {command} json'")
        return json.loads(text)

    def accepted(self, player: Player) -> set[str]:
        return set(self._neighbor(player, "routes").get("routes", {}))

    def refused(self, player: Player) -> set[str]:
        return set(self._neighbor(player, "filtered-routes").get("receivedRoutes", {}))

    def _neighbor(self, player: Player, what: str) -> dict:
        start = f"bgp ipv{player.family} unicast neighbors {player.address}"
        return self.show(f"{start} {what}")


Router = BirdRouter | FrrRouter


# ---------------------------------------------------------------- what comes of it


class Outcome(NamedTuple):
    """(whom, direction, net) of the tries that did not end as the matrix says."""

    wrong: list[Try]
    count: int


def settle(router: Router, around: Around, setting: Setting) -> None:
    """Every session is up, and the router has looked at everything that was tried."""
    everybody = players(setting)
    eventually(lambda: around.established() == len(everybody), "sessions")
    for player in everybody:
        expected = {t.net for t in tries(setting, "in", player.family) if t.whom == player.whom}
        eventually(
            lambda p=player, e=expected: e <= router.accepted(p) | router.refused(p),
            f"what {player.name} announces",
        )


def outcome(router: Router, around: Around, setting: Setting) -> Outcome:
    """What the router told, it told by the time that all it may tell has arrived."""
    for player in players(setting):
        told = {t.net for t in tries(setting, "out", player.family)
                if t.whom == player.whom and t.accepted}  # fmt: skip
        eventually(lambda p=player, t=told: t <= around.told(p), f"what {player.name} is told")
    wrong, count = [], 0
    for player in players(setting):
        passed = {"in": router.accepted(player), "out": around.told(player)}
        for direction, nets in passed.items():
            for attempt in tries(setting, direction, player.family):
                if attempt.whom == player.whom:
                    count += 1
                    if (attempt.net in nets) != attempt.accepted:
                        wrong.append(attempt)
    return Outcome(wrong, count)


def eventually(ask: Callable[[], bool], what: str, seconds: float = 30.0) -> None:
    deadline = time.monotonic() + seconds
    while not ask():
        assert time.monotonic() < deadline, f"{what}: not within {seconds:g} s"
        time.sleep(0.1)
