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
import shutil
from collections.abc import Callable
from ipaddress import ip_network
from pathlib import Path
from typing import NamedTuple

from tests.felixpy.bgp.upstream.matrix import MATRIX, NODE_AS, Setting, Try
from tests.felixpy.bgp.upstream.rendering import BORDER_AS, SPINE_AS, text_of
from tests.kernel.bgp_routers import eventually
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
        below, above = {
            "tor": (0, SPINE_AS),
            "spine": (TOR_AS, BORDER_AS),
            "border": (SPINE_AS, 0),
        }[setting.role]
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
        self._file = directory / "bird.conf"
        self._file.write_text(text)
        space.run(f"bird -p -c {self._file}")
        space.start("bird", "-f", "-c", str(self._file), "-s", str(self._control))
        eventually(self._control.exists, "a BIRD")

    def configure(self, text: str) -> None:
        self._file.write_text(text)
        # birdc's exit code is that of a failure where the daemon is still at it
        self._space.run(f"birdc -s {self._control} configure", check=False)

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


def wire(
    netns: Callable[[str], Namespace], veth: Callable[..., None], setting: Setting
) -> tuple[Namespace, Namespace]:
    """The router's machine and the one of all around it, made by the fixtures of those names."""
    router, around = netns("router"), netns("around")
    veth(router, "eth0", around, "eth0")
    addresses = {4: "24", 6: "64 nodad"}
    for space in (router, around):
        space.run("sysctl -qw net.ipv6.conf.eth0.accept_dad=0")
        space.run("ip link set eth0 down && ip link set eth0 up")
    for family, rest in addresses.items():
        router.run(f"ip addr add {ROUTER[family]}/{rest} dev eth0")
    for player in players(setting):
        around.run(f"ip addr add {player.address}/{addresses[player.family]} dev eth0")
    return router, around


# ---------------------------------------------------------------- the routers


class Seen(NamedTuple):
    """Nets that came from a player: past the policy, and not."""

    accepted: set[str]
    refused: set[str]


class BirdRouter:
    def __init__(self, space: Namespace, directory: Path, setting: Setting) -> None:
        self._setting = setting
        self.daemon = Daemon(space, directory, self._around(text_of(setting, "bird")))

    def configure(self, policy: str) -> None:
        """Another policy in the place of the one that it has."""
        self.daemon.configure(self._around(policy))

    def _around(self, policy: str) -> str:
        lines = ["router id 10.0.0.254;", "protocol device { }", "protocol direct { ipv4; ipv6; }"]
        for family in ROUTER:
            lines.append(f"protocol static own{family} {{ ipv{family};")
            lines += [f"  route {net} blackhole;" for net in originated(self._setting, family)]
            lines.append("}")
        lines.append(policy)
        lines += [
            f"protocol bgp '{player.group}-ONE' from '{player.group}-BGP' {{"
            f" neighbor {player.address} as {player.number}; }}"
            for player in players(self._setting)
            if player.group
        ]
        return "\n".join(lines) + "\n"

    def seen(self, everybody: list[Player]) -> dict[Player, Seen]:
        return {player: self._seen(player) for player in everybody}

    def _seen(self, player: Player) -> Seen:
        start = f"protocol {_protocol(player)} table master{player.family}"
        return Seen(self.daemon.nets(start), self.daemon.nets(f"filtered {start}"))

    def reason(self, player: Player, net: str) -> int:
        text = self.daemon.ask(f"show route {net} filtered protocol {_protocol(player)} all")
        [reason] = re.findall(r"calico_why: (\d+)", text)
        return int(reason)


def _protocol(player: Player) -> str:
    name = f"{player.group}-ONE" if player.group else f"CALICO-{player.whom}-V{player.family}-BGP"
    return f"'{name}'"


class FrrRouter:
    """bgpd and zebra, with sockets of their own; what they write stays in the namespace."""

    def __init__(self, space: Namespace, directory: Path, setting: Setting) -> None:
        """`directory` is given to the user frr, which the daemons become: it must reach it."""
        self._space = space
        self._directory = directory
        self._setting = setting
        shutil.chown(directory, "frr", "frrvty")
        (directory / "empty.conf").touch()
        # without zebra bgpd knows no interfaces, and takes no route with a link-local next hop
        for daemon, *options in (("zebra",), ("bgpd", "-p", "179")):
            space.start(
                f"/usr/lib/frr/{daemon}", *options, "-f", str(directory / "empty.conf"),
                "-i", str(directory / f"{daemon}.pid"), "-z", str(directory / "zserv"),
                "--vty_socket", str(directory), "-P", "0", "--log", f"file:{directory}/log",
            )  # fmt: skip
            eventually((directory / f"{daemon}.vty").exists, f"FRR's {daemon}")
        self.paste(text_of(setting, "frr"))
        self.paste(self._by_hand())

    def _by_hand(self) -> str:
        lines = [f"router bgp {own_as(self._setting)}", " bgp router-id 10.0.0.254",
                 " no bgp network import-check", " bgp route-map delay-timer 1"]  # fmt: skip
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
        """As the comment on top says; `vtysh -C`, which knows the grammar only, takes it too."""
        file = self._directory / "pasted"
        file.write_text(text)
        self._space.run(f"vtysh -C -f {file}")
        vtysh = f"vtysh --vty_socket {self._directory} 2>&1"
        said = self._space.run(vtysh, stdin=f"configure terminal\n{text}")
        assert "% " not in said, said

    def show(self, *commands: str) -> list[dict]:
        """All by one vtysh, which takes its time to start."""
        asked = " ".join(f"-c 'show {command} json'" for command in commands)
        text = self._space.run(f"vtysh --vty_socket {self._directory} {asked}").strip()
        found = []
        while text:
            document, end = json.JSONDecoder().raw_decode(text)
            found.append(document)
            text = text[end:].strip()
        return found

    def drops(self) -> dict[str, int]:
        """How often each session has fallen."""
        [found] = self.show("bgp neighbors")
        return {
            whom: each["connectionsDropped"]
            for whom, each in found.items()
            if "." in whom or ":" in whom
        }

    def seen(self, everybody: list[Player]) -> dict[Player, Seen]:
        commands = [
            f"bgp ipv{player.family} unicast neighbors {player.address} {what}"
            for player in everybody
            for what in ("routes", "filtered-routes")
        ]
        found = iter(self.show(*commands))
        return {
            player: Seen(set(accepted.get("routes", {})), set(refused.get("receivedRoutes", {})))
            for player, accepted, refused in zip(everybody, found, found, strict=True)
        }


Router = BirdRouter | FrrRouter


# ---------------------------------------------------------------- what comes of it


class Outcome(NamedTuple):
    """(whom, direction, net) of the tries that did not end as the matrix says."""

    wrong: list[Try]
    tried: int


def settle(router: Router, around: Around, setting: Setting) -> None:
    """Every session is up, and the router has looked at everything that was tried."""
    everybody = players(setting)

    def looked_at_all() -> bool:
        return all(
            attempt.net in seen.accepted | seen.refused
            for player, seen in router.seen(everybody).items()
            for attempt in tries(setting, "in", player.family)
            if attempt.whom == player.whom
        )

    eventually(lambda: around.established() == len(everybody), "sessions")
    eventually(looked_at_all, "what is announced")


def outcome(router: Router, around: Around, setting: Setting) -> Outcome:
    """What the router told, it told by the time that all it may tell has arrived."""
    everybody = players(setting)
    told: dict[Player, set[str]] = {}

    def all_told() -> bool:
        told.update((player, around.told(player)) for player in everybody)
        return all(
            attempt.net in told[player] or not attempt.accepted
            for player in everybody
            for attempt in tries(setting, "out", player.family)
            if attempt.whom == player.whom
        )

    eventually(all_told, "what the router tells")
    wrong, count = [], 0
    for player, seen in router.seen(everybody).items():
        for direction, nets in (("in", seen.accepted), ("out", told[player])):
            for attempt in tries(setting, direction, player.family):
                if attempt.whom == player.whom:
                    count += 1
                    if (attempt.net in nets) != attempt.accepted:
                        wrong.append(attempt)
    return Outcome(wrong, count)
