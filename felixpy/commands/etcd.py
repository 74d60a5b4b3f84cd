"""`felixpy etcd roles`: the `etcdctl` commands that let a node's agent do its work, and no more.

etcd is not asked, so a WireguardEnabled that stands there has to be said by --wireguard: whoever
runs the commands need not be the node, nor have felixpy.
"""

from __future__ import annotations

import argparse
import os
import sys

import msgspec

from felixpy import exits
from felixpy.config import PARAMETERS, Config, ConfigError, Resolved, examine, read_local
from felixpy.console import say
from felixpy.etcd_role import Role, RoleError, permissions, render_script


def run(arguments: argparse.Namespace) -> int:
    resolved = examine(read_local(arguments.config, os.environ))
    rests_on = {"OpenstackRegion", "BGPEnabled"} | (set() if arguments.node else {"FelixHostname"})
    if not arguments.wireguard:
        rests_on |= {"WireguardEnabled", "WireguardEnabledV6"}
    if wrong := [error for error in resolved.errors if error.name in rests_on]:
        raise ConfigError(wrong)
    try:
        role = _role(arguments, resolved)
    except RoleError as error:
        say(f"felixpy: {error}", sys.stderr)
        return exits.REFUSED
    script = render_script(role)
    if arguments.json:
        allowed = permissions(role.node, role.region, bgp=role.bgp, wireguard=role.wireguard)
        found = {**msgspec.structs.asdict(role), "permissions": allowed, "script": script}
        say(msgspec.json.format(msgspec.json.encode(found), indent=2).decode())
    else:
        say(script)
    return exits.OK


def _role(arguments: argparse.Namespace, resolved: Resolved) -> Role:
    config = resolved.config
    node = config.felix_hostname if arguments.node is None else _node(arguments.node)
    name = f"felixpy-{node}"
    return Role(
        node=node,
        region=config.openstack_region,
        user=name if arguments.user is None else arguments.user,
        role=name if arguments.role is None else arguments.role,
        password=not (arguments.no_password or _has_certificate_only(config)),
        bgp=config.bgp_enabled,
        wireguard=arguments.wireguard or config.wireguard_enabled or config.wireguard_enabled_v6,
    )


def _node(text: str) -> str:
    """Raises RoleError: a / in it, and the role would cover what is another node's."""
    try:
        node: str = PARAMETERS["FelixHostname"].type.parse(text)
    except ValueError as reason:
        raise RoleError(f"node {text!r}: {reason}") from None
    return node


def _has_certificate_only(config: Config) -> bool:
    return bool(config.etcd_cert_file) and not config.etcd_username
