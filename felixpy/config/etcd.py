"""Which datastore is meant, and whether what was said of etcd makes sense as a whole.

    in   Said     values, who gave them, and what nobody but the clients' own variables gave
    out  Choice   the values that follow from others, and what is wrong or odd

A mistake here would lead the agent to another datastore than the one meant, or let it believe
somebody who must not be believed: so nothing is guessed, and every contradiction is an error.
What merely has no effect is a warning.
Source: projectcalico/calico felix/config/config_params.go, DatastoreConfig.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from msgspec import Struct, field

from felixpy.config.problems import Problem, error, warning
from felixpy.config.sources import Setting

ETCD = (
    "EtcdEndpoints",
    "EtcdAddr",
    "EtcdScheme",
    "EtcdKeyFile",
    "EtcdCertFile",
    "EtcdCaFile",
    "EtcdUsername",
    "EtcdPassword",
)
_NAMED_BY = ("EtcdEndpoints", "EtcdAddr", "EtcdScheme")
_TLS_FILES = ("EtcdCaFile", "EtcdCertFile", "EtcdKeyFile")
_TOGETHER = (("EtcdCertFile", "EtcdKeyFile"), ("EtcdUsername", "EtcdPassword"))
_BUILT = ("file", "etcdv3")


class Said(Struct, frozen=True):
    """By the names of parameters.

    values     all that are asked for here, defaults included
    origins    where those that are set come from
    client     those that are set only by the variables that every client of etcd reads
    discovery  ETCD_DISCOVERY_SRV, where it is set
    """

    values: Mapping[str, Any]
    origins: Mapping[str, str]
    client: frozenset[str] = frozenset()
    discovery: Setting | None = None

    def has(self, name: str) -> bool:
        return name in self.origins and bool(self.values[name])


class Choice(Struct):
    """By the names of parameters: what takes the place of a value, and where that comes from."""

    values: dict[str, Any] = field(default_factory=dict)
    origins: dict[str, str] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)

    def set(self, name: str, value: object, origin: str) -> None:
        self.values[name] = value
        self.origins[name] = origin


def choose_datastore(said: Said) -> Choice:
    choice = Choice()
    kind = _choose_kind(said, choice)
    if kind == "etcdv3":
        _choose_endpoints(said, choice)
        _check_together(said, choice)
        _check_tls(said, choice)
    elif kind not in _BUILT:
        reason = f"= {kind}: this version of felixpy reads only {' or '.join(_BUILT)}"
        choice.problems.append(error(said.origins["DatastoreType"], "DatastoreType", reason))
    return choice


def _choose_kind(said: Said, choice: Choice) -> str:
    """Whoever names an etcd means it, as Felix's default is etcd."""
    kind: str = said.values["DatastoreType"]
    if "DatastoreType" in said.origins:
        return kind
    named = [(name, said.origins[name]) for name in _NAMED_BY if said.has(name)]
    if said.discovery:
        named.append((said.discovery.name, said.discovery.where))
    if named:
        name, where = named[0]
        choice.set("DatastoreType", "etcdv3", f"implied by {name} ({where})")
        return "etcdv3"
    reason = f"has no effect: no etcd is named, and so DatastoreType is {kind}"
    idle = [name for name in ETCD if said.has(name)]
    choice.problems += [warning(said.origins[name], name, reason) for name in idle]
    return kind


# ---------------------------------------------------------------- where etcd is


def _choose_endpoints(said: Said, choice: Choice) -> None:
    """EtcdEndpoints; else EtcdAddr with EtcdScheme, as Felix 1.x had it; else this machine's.

    EtcdAddr counts more than endpoints that only the clients' variables give: they are the weaker
    source of the two.
    """
    old = [name for name in ("EtcdAddr", "EtcdScheme") if name in said.origins]
    overruled = said.has("EtcdAddr") and "EtcdEndpoints" in said.client
    if said.has("EtcdEndpoints") and not overruled:
        reason = "has no effect: EtcdEndpoints takes precedence"
        choice.problems += [warning(said.origins[name], name, reason) for name in old]
        if said.discovery:
            choice.problems.append(warning(said.discovery.where, "", reason))
        return
    if said.discovery and not said.has("EtcdAddr"):
        reason = (
            "felixpy does not look up SRV records; "
            "name the members of the cluster in EtcdEndpoints (ETCD_ENDPOINTS) instead"
        )
        choice.problems.append(error(said.discovery.where, "", reason))
        return
    _map_old_names(said, old, choice)


def _map_old_names(said: Said, old: list[str], choice: Choice) -> None:
    address = said.values["EtcdAddr"]
    if not address:
        reason = "is not set, and EtcdAddr is none: no etcd is named"
        choice.problems.append(error(said.origins["EtcdAddr"], "EtcdEndpoints", reason))
        return
    endpoint = f"{said.values['EtcdScheme']}://{address}"
    names, where = "the defaults of EtcdScheme and EtcdAddr", "default"
    if old:
        names, where = " and ".join(old), said.origins[old[0]]
    choice.set("EtcdEndpoints", (endpoint,), f"made of {names} ({where})" if old else where)
    reason = f"is not set; by {names} it is {endpoint}"
    choice.problems.append(warning(where if old else "configuration", "EtcdEndpoints", reason))


# ---------------------------------------------------------------- whom to believe, and who we are


def _check_together(said: Said, choice: Choice) -> None:
    for pair in _TOGETHER:
        for name, other in (pair, pair[::-1]):
            if said.has(name) and not said.has(other):
                reason = f"is set without {other}: each is of use only with the other"
                choice.problems.append(error(said.origins[name], name, reason))


def _check_tls(said: Said, choice: Choice) -> None:
    endpoints = choice.values.get("EtcdEndpoints", said.values["EtcdEndpoints"])
    if not endpoints:
        return
    if not endpoints[0].startswith("https:"):
        reason = "has no effect: etcd is spoken to by http, without TLS"
        idle = [name for name in _TLS_FILES if said.has(name)]
        choice.problems += [warning(said.origins[name], name, reason) for name in idle]
    elif not said.has("EtcdCaFile"):
        reason = "is not set: the authorities that this machine trusts vouch for etcd"
        choice.problems.append(warning("configuration", "EtcdCaFile", reason))
