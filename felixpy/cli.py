"""The command line: what there is to say, and which module carries it out.

Commands are verbs as `wg`, `ip` and `systemctl` have them.  Each lives in a module of
felixpy.commands whose function `run(arguments)` does it and returns an exit status; those of a
group, such as `felixpy bgp`, in a package below that, with a function `add_arguments(parser)`
besides.  Modules are imported only when their command runs, so that `felixpy status` need not load
the agent.  A configuration that cannot be read at all is answered here, for all of them.
"""

from __future__ import annotations

import argparse
import importlib
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from types import ModuleType

from felixpy import exits, log
from felixpy.config import ConfigError
from felixpy.console import say

CONFIG = Path("/etc/felixpy.cfg")
_WIREGUARD = {
    "key": "print this node's public keys, as the other nodes have to know them",
}
_IPSEC = {
    "key": "make a key, say what a key file holds, or end a key that others still use",
}
_DOCTOR = {
    "wireguard": "look for what stands in the way of WireGuard, here and on the way to each node",
    "ipsec": "look for what stands in the way of IPsec: kernel, interface, keys, other users of it",
}
_BGP = {
    "rejected": "list the routes that a filter refuses, with the reason and the rule",
    "config": "print the configuration that BIRD should run with, without its passwords",
    "rbac": "print what Kubernetes has to allow for the Secrets that hold passwords",
    "upstream": "print the policy for the routers above, against the same hijacks",
}


def build_parser(*, groups: bool = True) -> argparse.ArgumentParser:
    """`groups`: with the commands of groups, whose modules say what they take."""
    parser = argparse.ArgumentParser(
        prog="felixpy",
        description="The per-node agent of a Calico network.",
        epilog=exits.HELP,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"felixpy {version('felixpy')}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)

    add = _Adder(commands)
    _add_agent(add)
    _add_readings(add)
    _add_etcd(add)
    _add_parts(add, groups=groups)
    _add_host(add)
    return parser


def _add_agent(add: _Adder) -> None:
    """What runs it, and asks one that runs."""
    add("run", "run the agent, in the foreground").add_config()

    status = add("status", "tell whether the agent runs, is in sync and content")
    status.add_config()
    status.add_json()
    status.parser.add_argument(
        "what",
        nargs="?",
        choices=("bgp", "wireguard", "ipsec"),
        metavar="PART",
        help="each session of bgp, or each peer of wireguard or ipsec, instead",
    )

    confirm = add("confirm", "let go what the agent holds back until somebody confirms it")
    confirm.add_config()
    confirm.add_json()
    confirm.parser.add_argument("id", nargs="*", metavar="ID", help="only these (default: all)")
    confirm.parser.add_argument(
        "--list", "--dry-run", action="store_true", help="say what is held back, and leave it"
    )


def _add_readings(add: _Adder) -> None:
    """What needs no agent that runs."""
    config = add("config", "print effective parameters, where they come from and what they mean")
    config.add_config()
    config.add_json()
    config.parser.add_argument("name", nargs="*", metavar="NAME", help="only these, in full")
    config.parser.add_argument("--set", action="store_true", help="only those that something sets")

    check = add("check", "read configuration and resources as the agent would; touch nothing")
    check.add_config()
    check.add_json()
    check.parser.add_argument(
        "what",
        nargs="?",
        choices=_Offered(("exposure",)),
        metavar="exposure",
        help="list the workloads that policy lets reach hosts, datastore or metadata",
    )
    check.parser.add_argument(
        "directory", nargs="?", type=Path, metavar="DIRECTORY", help="instead of DatastorePath"
    )

    cleanup = add("cleanup", "take everything of felixpy's out of the kernel, and only that")
    cleanup.add_config()
    cleanup.add_json()
    cleanup.parser.add_argument(
        "--dry-run", action="store_true", help="say what is there, and leave it"
    )


def _add_etcd(add: _Adder) -> None:
    etcd = add("etcd", "print the etcdctl commands for a role that a node's agent can do with")
    etcd.add_config()
    etcd.add_json()
    etcd.parser.add_argument("what", choices=("roles",), metavar="roles", help="the commands")
    for option, whose in (
        ("--node", "the node (default: FelixHostname of this configuration)"),
        ("--user", "etcd's user (default: felixpy-NODE)"),
        ("--role", "etcd's role (default: felixpy-NODE)"),
    ):
        etcd.parser.add_argument(option, metavar="NAME", help=whose)
    etcd.parser.add_argument(
        "--no-password", action="store_true", help="the user is a certificate's common name"
    )
    etcd.parser.add_argument(
        "--wireguard",
        action="store_true",
        help="the node publishes its WireGuard key (default: if this configuration says so)",
    )
    etcd.parser.add_argument(
        "--ipsec",
        action="store_true",
        help="the node may have IPsec (default: if this configuration says so)",
    )


def _add_parts(add: _Adder, *, groups: bool) -> None:
    bgp = add("bgp", "tell about BGP: refused routes, configurations, permissions")
    if groups:
        bgp.add_group(_BGP)

    wireguard = add("wireguard", "tell about WireGuard: this node's public keys")
    if groups:
        wireguard.add_group(_WIREGUARD)

    ipsec = add("ipsec", "make keys of IPsec, look at them, or end them")
    if groups:
        ipsec.add_group(_IPSEC)

    doctor = add("doctor", "look for what stands in the way of something, before it is used")
    if groups:
        doctor.add_group(_DOCTOR)


def _add_host(add: _Adder) -> None:
    """What changes this machine, or shows how."""
    demo = add("demo", "show a policy at work, in network namespaces of its own")
    demo.parser.add_argument(
        "--pause",
        type=float,
        default=0.0,
        metavar="SECONDS",
        help="wait before each change (default: wait for nothing)",
    )
    demo.add_json()

    install = add("install", "put unit, configuration and command where Debian expects them")
    uninstall = add("uninstall", "take away what install put there, except configuration")
    for command in (install, uninstall):
        command.add_json()
        command.parser.add_argument(
            "--root", type=Path, default=Path("/"), metavar="DIR", help="treat DIR as /"
        )
        command.parser.add_argument(
            "--dry-run", action="store_true", help="say what would be done, and do nothing"
        )
    install.parser.add_argument("--now", action="store_true", help="enable and start it as well")

    completion = add("completion", "print a completion script for a shell")
    completion.parser.add_argument("shell", choices=("bash", "zsh", "fish"))


class _Offered(tuple[str, ...]):
    """Words that completion offers; others are taken, too."""

    __slots__ = ()

    def __contains__(self, _: object) -> bool:
        return True


class _Adder:
    """Adds commands that name the module of felixpy.commands which runs them."""

    def __init__(
        self, commands: argparse._SubParsersAction[argparse.ArgumentParser], package: str = ""
    ) -> None:
        self._commands = commands
        self._package = package

    def __call__(self, name: str, summary: str) -> _Command:
        parser = self._commands.add_parser(
            name,
            help=summary,
            description=summary[0].upper() + summary[1:] + ".",
            epilog=exits.HELP,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        parser.set_defaults(command=self._package + name)
        return _Command(parser, name)


class _Command:
    def __init__(self, parser: argparse.ArgumentParser, name: str) -> None:
        self.parser = parser
        self._name = name

    def add_config(self) -> None:
        self.parser.add_argument(
            "-c",
            "--config",
            type=Path,
            default=CONFIG,
            metavar="FILE",
            help=f"the configuration file (default: {CONFIG})",
        )

    def add_json(self) -> None:
        self.parser.add_argument("--json", action="store_true", help="print JSON")

    def add_group(self, summaries: Mapping[str, str]) -> None:
        """Make it a group of these commands; each takes a configuration and prints JSON."""
        commands = self.parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
        add = _Adder(commands, f"{self._name}.")
        for name, summary in summaries.items():
            command = add(name, summary)
            command.add_config()
            command.add_json()
            _module(command.parser.get_default("command")).add_arguments(command.parser)


def _module(command: str) -> ModuleType:
    return importlib.import_module(f"felixpy.commands.{command}")


def main(argv: Sequence[str] | None = None) -> int:
    words = sys.argv[1:] if argv is None else argv
    arguments = build_parser(
        groups=[*words[:1]] in (["bgp"], ["wireguard"], ["ipsec"], ["doctor"])
    ).parse_args(words)
    run: Callable[[argparse.Namespace], int] = _module(arguments.command).run
    log.set_up(screen="ERROR")
    try:
        code = run(arguments)
        sys.stdout.flush()
    except ConfigError as error:
        for line in str(error).splitlines():
            say(f"felixpy: {line}", sys.stderr)
        return exits.REFUSED
    except KeyboardInterrupt:
        return exits.FAILED
    except BrokenPipeError:  # the reader of a pipe has seen enough; there is no more to flush
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return exits.OK
    return code
