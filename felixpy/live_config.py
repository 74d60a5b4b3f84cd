"""The configuration as it changes: what the machine says and what the datastore says, resolved
together.

    in   read_machine()          file and environment, at the start and on SIGHUP
         note(key, value)        FelixConfiguration, ClusterInformation and Node resources
    out  settle() -> Settled     the configuration in force now, and what the last change asks for
         preview() -> Config     the same beforehand, without any effect
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from pathlib import Path

import structlog
from msgspec import Struct

from calc_graph.model import (
    ClusterInformation,
    ClusterInformationKey,
    FelixConfiguration,
    FelixConfigurationKey,
    Key,
    Node,
    NodeKey,
    Value,
)
from felixpy.config import (
    PARAMETERS,
    Config,
    ConfigError,
    Problem,
    Resolved,
    Source,
    diff,
    read_datastore,
    read_local,
    resolve,
)
from felixpy.config.etcd import ETCD

log = structlog.get_logger(__name__)

# Who the node is and where its resources come from: nothing that was learnt so far holds any more.
IDENTITY = ("DatastoreType", "DatastorePath", "FelixHostname", *ETCD)
_READ = (*IDENTITY, "BGPEnabled", "IPsecEnabled")  # and how much of them is read


class Ask(Enum):
    """What a change of the configuration asks for, the least first."""

    NOTHING = 0
    LIVE = 1  # exchange values in place
    DATAPLANE = 2  # build the dataplane anew; the graph stays
    EVERYTHING = 3  # begin again with the datastore


_WORDS = {
    Ask.NOTHING: "nothing",
    Ask.LIVE: "nothing but the new value",
    Ask.DATAPLANE: "the dataplane anew",
    Ask.EVERYTHING: "everything anew",
}


class Settled(Struct, frozen=True):
    resolved: Resolved
    ask: Ask
    changed: tuple[str, ...] = ()


class LiveConfig:
    def __init__(self, path: Path, environment: Mapping[str, str]) -> None:
        """Raises ConfigError when the agent must not start with what this machine says."""
        self._path = path
        self._environment = environment
        self._machine: tuple[Source, ...] = read_local(path, environment)
        self._configurations: dict[str, FelixConfiguration] = {}
        self._cluster: ClusterInformation | None = None
        self._node_labels: dict[str, dict[str, str]] = {}
        self._unreadable: tuple[Problem, ...] = ()
        self._dirty = True
        self._coming: Resolved | None = None  # what `settle` would make of it, once somebody asked
        self._started = False
        self.resolved = resolve(self._machine)

    @property
    def config(self) -> Config:
        return self.resolved.config

    @property
    def machine(self) -> tuple[Source, ...]:
        """What this machine says: another object whenever it was read again."""
        return self._machine

    @machine.setter
    def machine(self, sources: tuple[Source, ...]) -> None:
        self._machine = sources
        self._touch()

    def read_machine(self) -> None:
        """Read file and environment again.  What cannot be read changes nothing, and is said."""
        try:
            self._machine = read_local(self._path, self._environment)
        except ConfigError as error:
            self._say(error.problems)
            self._unreadable = error.problems
            return
        self._unreadable = ()
        self._touch()

    def note(self, key: Key, value: Value | None) -> None:
        match key, value:
            case FelixConfigurationKey(), FelixConfiguration():
                self._configurations[key.name] = value
            case FelixConfigurationKey(), _:
                self._configurations.pop(key.name, None)
            case ClusterInformationKey("default"), ClusterInformation() | None:
                self._cluster = value
            case NodeKey(), Node():
                if key.name != self.config.felix_hostname:
                    return
                self._node_labels[key.name] = value.labels
            case NodeKey(), _:
                if self._node_labels.pop(key.name, None) is None:
                    return
            case _:
                return
        self._touch()

    def forget_datastore(self) -> None:
        self._configurations.clear()
        self._cluster = None
        self._node_labels.clear()
        self._touch()

    def settle(self) -> Settled:
        """Resolve what has been noted since the last time.

        The first time a mistake in a parameter that security rests on raises ConfigError; later
        the last good value is kept.
        """
        if not self._dirty:
            return Settled(self.resolved, Ask.NOTHING)
        self._dirty = False
        old = self.resolved
        self.resolved = self._resolve()
        self._coming = None
        self._started = True
        known = set(old.problems)
        self._say(tuple(problem for problem in self.resolved.problems if problem not in known))
        change = diff(old.config, self.resolved.config)
        if not change.names:
            return Settled(self.resolved, Ask.NOTHING)
        if any(name in _READ for name in change.names):
            ask = Ask.EVERYTHING
        else:
            ask = Ask.LIVE if change.live else Ask.DATAPLANE
        shown = {name: self._show(name) for name in change.names}
        log.info("configuration.changed", **shown, asks=_WORDS[ask])
        return Settled(self.resolved, ask, change.names)

    def preview(self) -> Config:
        """What `settle` would bring into force; at the start it raises as that does."""
        return self._resolve().config if self._dirty else self.config

    def _touch(self) -> None:
        self._dirty, self._coming = True, None

    def _resolve(self) -> Resolved:
        if self._coming is None:
            config = self.config
            name = config.felix_hostname
            labels = self._node_labels.get(name)
            said = read_datastore(name, labels, self._configurations, self._cluster)
            previous = config if self._started else None
            self._coming = resolve((*self._machine, *said), previous=previous)
        return self._coming

    def _show(self, name: str) -> str:
        parameter = PARAMETERS[name]
        return parameter.show(getattr(self.config, parameter.attribute))

    def say_problems(self) -> None:
        """Log what is odd about the configuration in force, once there is a log."""
        self._say(self.resolved.problems)

    def problems(self) -> dict[str, str]:
        """Errors in force, of which there are none at the start, and what is not followed; by place
        and parameter.
        """
        standing = [problem for problem in self.resolved.problems if problem.standing]
        found = (*self.resolved.errors, *standing, *self._unreadable)
        return {f"{each.where} {each.name}".rstrip(): str(each) for each in found}

    def _say(self, problems: tuple[Problem, ...]) -> None:
        for problem in problems:
            say = log.error if problem.severity == "error" else log.warning
            say(
                "configuration.odd",
                where=problem.where,
                parameter=problem.name,
                reason=problem.reason,
            )
