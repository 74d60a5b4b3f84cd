"""What the guarded resources make up: the graph, and the configuration that they and this machine
give.  One place to put a resource, whichever of the two is about it.
"""

from __future__ import annotations

from urllib.parse import urlsplit

from calc_graph.graph import CalcGraph
from calc_graph.judge import JudgeSettings
from calc_graph.model import FelixConfiguration, FelixConfigurationKey
from calc_graph.updates import Update
from dataplane.settings import Settings
from felixpy.config import Config, Source, to_settings
from felixpy.judging import judge_settings
from felixpy.live_config import LiveConfig
from felixpy.lockout.resources import GuardedKey, GuardedValue, MachineKey


class NodeState:
    """Nothing here brings a configuration into force: that is for LiveConfig.settle."""

    def __init__(self, graph: CalcGraph, live: LiveConfig) -> None:
        self._graph = graph
        self._live = live
        self._settings_of: Config | None = None
        self._settings = Settings("")
        self._judge_settings = JudgeSettings()

    def put(self, key: GuardedKey, value: GuardedValue | None) -> None:
        """None: absent."""
        match key, value:
            case MachineKey(), tuple():
                self._live.machine = value
            case FelixConfigurationKey(), FelixConfiguration() | None:
                self._live.note(key, value)
            case _:
                self._graph.update(key, value)  # type: ignore[arg-type]  # it refuses other pairs

    def flush(self) -> list[Update]:
        return self._graph.flush()

    def replay(self) -> list[Update]:
        """Everything, as of the last flush."""
        return self._graph.replay()

    @property
    def machine(self) -> tuple[Source, ...]:
        """File and environment, as they were read last."""
        return self._live.machine

    @property
    def config(self) -> Config:
        """As it would be in force with the resources as they are."""
        return self._live.preview()

    @property
    def settings(self) -> Settings:
        """Made of `config`; an address that would have to be looked up is another one here."""
        self._make()
        return self._settings

    @property
    def judge_settings(self) -> JudgeSettings:
        self._make()
        return self._judge_settings

    @property
    def datastore_ports(self) -> frozenset[int]:
        if self._live.config.datastore_type == "file":
            return frozenset()
        ports = (urlsplit(url).port for url in self._live.config.etcd_endpoints)
        return frozenset(port for port in ports if port is not None)

    def _make(self) -> None:
        config = self.config
        if config is not self._settings_of:
            self._settings_of = config
            self._settings = to_settings(config, resolver=lambda _: "")
            self._judge_settings = judge_settings(self._settings)
