"""Where settings come from: the file, the environment, the datastore, and the machine's own name.

Each reader makes `Source`s: names and raw texts, each with the place to name in a message.  What
the texts mean is `felixpy.config.resolve`'s business.  The order of precedence is that of `Rank`.
Source: projectcalico/calico felix/config/env_var_loader.go, file_loader.go; the INI is go-ini's.
"""

from __future__ import annotations

import os
import re
import socket
from collections.abc import Iterable, Mapping
from enum import IntEnum
from pathlib import Path

from msgspec import Struct

from calc_graph import selector
from calc_graph.model import ClusterInformation, FelixConfiguration
from felixpy.config.parameters import PARAMETERS, canonical, canonical_field
from felixpy.config.problems import ConfigError, Problem, error, warning
from felixpy.config.types import MILLIS, SECONDS, parse_duration

DEFAULT_PATH = Path("/etc/felixpy.cfg")
_ANNOTATION = "config.projectcalico.org/"
# Not a parameter, but what the clients' ETCD_DISCOVERY_SRV is called on its way to `resolve`.
DISCOVERY = "EtcdDiscoverySrv"
_CLIENT_VARIABLES = {
    "DATASTORE_TYPE": "DatastoreType",
    "ETCD_ENDPOINTS": "EtcdEndpoints",
    "ETCD_DISCOVERY_SRV": DISCOVERY,
    "ETCD_USERNAME": "EtcdUsername",
    "ETCD_PASSWORD": "EtcdPassword",
    "ETCD_KEY_FILE": "EtcdKeyFile",
    "ETCD_CERT_FILE": "EtcdCertFile",
    "ETCD_CA_CERT_FILE": "EtcdCaFile",
}
_ROUTER_ID = "CALICO_ROUTER_ID"  # as calico/node has it


class Rank(IntEnum):
    """The higher one decides."""

    MACHINE = 0
    CLUSTER = 1  # FelixConfiguration "default" and ClusterInformation
    SELECTED = 2  # the FelixConfiguration whose nodeSelector matches
    NODE = 3  # FelixConfiguration "node.NAME"
    CLIENT = 4  # the variables that every client of the datastore, or calico/node, reads
    FILE = 5
    ENVIRONMENT = 6

    @property
    def local(self) -> bool:
        """May set parameters that only this machine has a say in."""
        return self in (Rank.MACHINE, Rank.CLIENT, Rank.FILE, Rank.ENVIRONMENT)


class Setting(Struct, frozen=True):
    name: str
    text: str
    where: str


class Source(Struct, frozen=True):
    """No two settings of the same parameter; what was odd while reading is in `problems`."""

    rank: Rank
    settings: tuple[Setting, ...] = ()
    problems: tuple[Problem, ...] = ()


def _source(rank: Rank, settings: Iterable[Setting]) -> Source:
    """The later of two settings of one parameter wins, and the earlier one is said to be lost."""
    last: dict[str, Setting] = {}
    problems = []
    for setting in settings:
        key = setting.name.lower()
        if lost := last.pop(key, None):
            problems.append(
                warning(lost.where, lost.name, f"is set again at {setting.where}, which counts")
            )
        last[key] = setting
    return Source(rank, tuple(last.values()), tuple(problems))


# ---------------------------------------------------------------- file


def read_file(path: Path) -> Source:
    """The settings of a configuration file; a file that is not there has none.

    Raises:
        ConfigError: the file cannot be read, or a line of it is not a setting.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        return Source(Rank.FILE)
    except (OSError, UnicodeDecodeError) as reason:
        raise ConfigError((error(str(path), "", f"cannot be read: {reason}"),)) from None
    return parse_file(text, str(path))


def parse_file(text: str, path: str) -> Source:
    """As `read_file`; sections may have any name, and their names mean nothing."""
    settings = []
    problems = []
    lines = enumerate(text.split("\n"), 1)
    for number, line in lines:
        content = line.strip()
        if not content or content[0] in "#;":
            continue
        if content[0] == "[":
            if "]" not in content:
                problems.append(error(f"{path}:{number}", "", f"{content!r} has no closing ]"))
            continue
        while content.endswith("\\"):
            content = content[:-1] + next(lines, (0, ""))[1].strip()
        name, delimiter, value = _split(content)
        if not delimiter or not name:
            problems.append(error(f"{path}:{number}", "", _malformed(content)))
            continue
        settings.append(Setting(name, _value(value), f"{path}:{number}"))
    if problems:
        raise ConfigError(tuple(problems))
    return _source(Rank.FILE, settings)


def _malformed(line: str) -> str:
    """Only the first word is repeated: what follows may be a password whose "=" was forgotten."""
    if line[:1] in ("", "=", ":"):
        return "a value without a name"
    first, *rest = line.split(maxsplit=1)
    shown = f"{first} …" if rest else first
    return f"{shown!r} is not of the form name = value"


def _split(line: str) -> tuple[str, str, str]:
    found = re.search("[=:]", line)
    if not found:
        return line, "", ""
    return line[: found.start()].strip(), found[0], line[found.end() :]


def _value(text: str) -> str:
    """Without comment and quotes; between backquotes everything is as it stands."""
    text = text.strip()
    if text.startswith("`") and (end := text.find("`", 1)) > 0:
        return text[1:end]
    text = re.split("[#;]", text, maxsplit=1)[0].rstrip()
    if len(text) > 1 and text[0] == text[-1] and text[0] in "\"'":
        return text[1:-1]
    return text


# ---------------------------------------------------------------- environment


def read_environment(environ: Mapping[str, str]) -> tuple[Source, Source]:
    """FELIX_NAME in any case, and the variables that go by Calico's names."""
    settings = [
        Setting(_known(variable[len("felix_") :]), value.strip(), f"environment {variable}")
        for variable, value in sorted(environ.items())
        if variable.lower().startswith("felix_")
    ]
    return _source(Rank.ENVIRONMENT, settings), _client_environment(environ)


def _known(name: str) -> str:
    return canonical(name) or name


def _client_environment(environ: Mapping[str, str]) -> Source:
    settings = []
    for variable, name in _CLIENT_VARIABLES.items():
        for candidate in (f"CALICO_{variable}", variable):
            if value := environ.get(candidate, "").strip():
                settings.append(Setting(name, value, f"environment {candidate}"))
                break
    if value := environ.get(_ROUTER_ID, "").strip():
        settings.append(Setting("BGPRouterID", value, f"environment {_ROUTER_ID}"))
    return Source(Rank.CLIENT, tuple(settings))


def read_machine(environ: Mapping[str, str], kernel_name: str | None = None) -> Source:
    """The node's name where nobody sets it: the kernel's host name, else $HOSTNAME."""
    name = (socket.gethostname() if kernel_name is None else kernel_name).lower()
    where = "host name of the kernel"
    if not name:
        name, where = environ.get("HOSTNAME", "").lower(), "environment HOSTNAME"
    return Source(Rank.MACHINE, (Setting("FelixHostname", name, where),) if name else ())


def read_local(
    path: Path = DEFAULT_PATH, environ: Mapping[str, str] | None = None
) -> tuple[Source, ...]:
    """All that this machine says by itself.  Raises ConfigError, as `read_file`."""
    variables = os.environ if environ is None else environ
    return (*read_environment(variables), read_file(path), read_machine(variables))


# ---------------------------------------------------------------- datastore


def read_datastore(
    hostname: str,
    node_labels: Mapping[str, str] | None,
    configurations: Mapping[str, FelixConfiguration],
    cluster: ClusterInformation | None = None,
) -> tuple[Source, ...]:
    """What the datastore's resources say to this node.

    Args:
        hostname: the node's name; FelixConfiguration "node.HOSTNAME" is its own
        node_labels: labels of the node's Node resource; None when there is none
        configurations: every FelixConfiguration by its name
        cluster: ClusterInformation "default", where there is one
    """
    own = f"node.{hostname}"
    sources = [_resource(Rank.NODE, own, configurations.get(own))]
    selected = _selected(node_labels, configurations)
    sources.append(_resource(Rank.SELECTED, selected, configurations.get(selected)))
    everywhere = _resource(Rank.CLUSTER, "default", configurations.get("default"))
    facts = _settings("ClusterInformation default", cluster.values if cluster else {})
    named = {setting.name.lower() for setting in facts if setting.text}
    kept = [each for each in everywhere.settings if each.name.lower() not in named]
    known = [each for each in facts if each.text]
    sources.append(Source(Rank.CLUSTER, (*known, *kept)))
    return tuple(sources)


def _selected(
    node_labels: Mapping[str, str] | None, configurations: Mapping[str, FelixConfiguration]
) -> str:
    """Of those whose nodeSelector matches the oldest, or the first by name; "" for none."""
    if node_labels is None:
        return ""
    matching = [
        (configuration.created, name)
        for name, configuration in configurations.items()
        if configuration.node_selector
        and name != "default"
        and not name.startswith("node.")
        and _matches(configuration.node_selector, node_labels)
    ]
    return min(matching, default=("", ""))[1]


def _matches(text: str, labels: Mapping[str, str]) -> bool:
    try:
        return selector.parse(text).matches(labels)
    except selector.SelectorError:
        return False


def _resource(rank: Rank, name: str, configuration: FelixConfiguration | None) -> Source:
    values = configuration.values if configuration else {}
    return Source(rank, _settings(f"FelixConfiguration {name}", values))


def _settings(where: str, values: Mapping[str, str]) -> tuple[Setting, ...]:
    """Annotations take the place of the fields that they repeat."""
    fields = [each for each in values.items() if not each[0].startswith(_ANNOTATION)]
    annotations = [
        (name.removeprefix(_ANNOTATION), text)
        for name, text in values.items()
        if name.startswith(_ANNOTATION)
    ]
    found = {}
    for field, text in (*fields, *annotations):
        name = canonical_field(field)
        found[name.lower()] = Setting(name, _without_unit(name, text.strip()), where)
    return tuple(found.values())


def _without_unit(name: str, text: str) -> str:
    """A duration such as "90s", as resources have it, in the unit that the parameter counts in."""
    parameter = PARAMETERS.get(name)
    if parameter is None or parameter.type not in (SECONDS, MILLIS) or not text[-1:].isalpha():
        return text
    try:
        seconds = parse_duration(text)
    except ValueError:
        return text
    return repr(seconds * 1000 if parameter.type is MILLIS else seconds)
