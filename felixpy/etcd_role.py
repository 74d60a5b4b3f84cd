"""What one node's agent may do in etcd, and the commands that allow just that.

    in   a node's name, and names for etcd's role and user
    out  permissions(...)     what is read and what is written; nothing else is asked of etcd
         render_script(...)   `etcdctl` for it, to be pasted or piped to sh

What is read follows from the ranges that the agent lists and watches, what is written from the keys
of its status, so neither can be forgotten here when there is more of it.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from typing import Final, Literal

from msgspec import Struct

from felixpy.datastore.etcd_keys import ranges, resource_key
from felixpy.statusrep.keys import endpoint_directories, node_status_directory, process_keys

PASSWORD: Final = "FELIXPY_PASSWORD"  # noqa: S105 - the name of a variable


class RoleError(ValueError):
    """A name that etcd or its command line could not take, or would take for something else."""


class Permission(Struct, frozen=True):
    """`prefix`: for every key that begins with `key`, which then ends in "/"."""

    type: Literal["read", "write", "readwrite"]
    key: str
    prefix: bool


class Role(Struct, frozen=True):
    """`region` is the parameter OpenstackRegion; `password`: the user has one, else a certificate;
    `bgp` is the parameter BGPEnabled, `wireguard` says whether the node may have WireGuard.

    Raises RoleError.
    """

    node: str
    region: str
    user: str
    role: str
    password: bool
    bgp: bool = False
    wireguard: bool = False

    def __post_init__(self) -> None:
        _check("user", self.user)
        _check("role", self.role)
        if ":" in self.user:
            raise RoleError(f"user {self.user!r}: etcdctl takes what follows a : for a password")


def _check(what: str, name: str) -> None:
    if not name or not name.isprintable():
        raise RoleError(f"{what} {name!r}: a name is made of printable characters")
    if name == "root":
        raise RoleError(f"{what} 'root' may do everything, which cannot be limited")


def permissions(
    node: str, region: str, *, bgp: bool, wireguard: bool = False
) -> tuple[Permission, ...]:
    """etcd cannot tell the status of a resource from its spec: who may report may rewrite both."""
    reported = node_status_directory()
    own = [resource_key("Node", node)] if wireguard else []  # its public key is in the status
    return (
        *(
            Permission(
                "readwrite" if range_.prefix == reported else "read", range_.prefix, prefix=True
            )
            for range_ in ranges(bgp=bgp)
        ),
        # what earlier agents of this node have left there is looked up, and removed
        *(Permission("readwrite", key, prefix=True) for key in endpoint_directories(node, region)),
        *(Permission("write", key, prefix=False) for key in (*process_keys(node, region), *own)),
    )


def render_script(role: Role) -> str:
    """Commands joined by &&, so that the first that fails is the last, in a pasted text too."""
    return "".join((*(f"# {line}\n" for line in _notes(role)), " &&\n".join(_commands(role)), "\n"))


def _notes(role: Role) -> Iterator[str]:
    """Without quotes of their own: an interactive zsh does not know comments."""
    name, user = shlex.quote(role.role), shlex.quote(role.user)
    yield f"Role {name}: what felixpy on node {role.node} reads in etcd, and its own status."
    if role.bgp:
        yield "BGPEnabled is on: it reads BGP's resources too, and answers in CalicoNodeStatus."
    if role.wireguard:
        yield f"WireGuard: it publishes its key in the Node {role.node}, which it may rewrite then."
    yield "To be run as a user who has the role root. etcdctl takes where etcd is, whom to believe"
    yield "and who you are from ETCDCTL_ENDPOINTS, ETCDCTL_CACERT, ETCDCTL_CERT, ETCDCTL_KEY,"
    yield "ETCDCTL_USER and ETCDCTL_PASSWORD. It may be run again, as after an update of felixpy."
    yield "Roles limit nobody before authentication is on: see etcdctl auth enable."
    if role.password:
        yield f"User {user} gets the password in the variable {PASSWORD}, one word; it goes to"
        yield "etcdctl by standard input, as everybody on the machine can see arguments."
        yield "The node needs both: EtcdUsername, EtcdPassword. With client certificates use"
        yield "--no-password instead: then the user is the common name of the certificate."
    else:
        yield f"User {user} has no password: etcd takes for it whoever shows a client certificate"
        yield "with this common name (EtcdCertFile), where it runs with --client-cert-auth."


def _commands(role: Role) -> Iterator[str]:
    name, user = shlex.quote(role.role), shlex.quote(role.user)
    yield _unless(f"etcdctl role get -- {name}", f"etcdctl role add -- {name}")
    for permission in permissions(role.node, role.region, bgp=role.bgp, wireguard=role.wireguard):
        option = "--prefix=true " if permission.prefix else ""
        key = shlex.quote(permission.key)
        yield f"etcdctl role grant-permission {option}-- {name} {permission.type} {key}"
    if role.password:
        add = (
            f'{{ : "${{{PASSWORD}:?is not set}}" && '
            f"printf '%s\\n' \"${PASSWORD}\" | etcdctl user add --interactive=false -- {user}; }}"
        )
    else:
        add = f"etcdctl user add --no-password -- {user}"
    yield _unless(f"etcdctl user get -- {user}", add)
    yield f"etcdctl user grant-role -- {user} {name}"


def _unless(there: str, make: str) -> str:
    return f"{{ {there} >/dev/null 2>&1 || {make}; }}"
