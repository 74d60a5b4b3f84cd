"""What an agent started now would give BIRD, for commands: the datastore is read once.

in   the configuration file's path, the environment
out  Offline: settings, what is wanted, the version, problems; or SnapshotError, ConfigError
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final

from msgspec import Struct

from calc_graph.bgp.graph import BgpGraph
from calc_graph.model import Key, Value
from dataplane.bird.render import render
from dataplane.bird.settings import BirdSettings
from dataplane.bird.version import Version
from dataplane.bird.wanted import Wanted
from felixpy.bgp.bringing import Brought
from felixpy.bgp.report import problems
from felixpy.bgp.secrets import Secrets
from felixpy.bgp.secrets_place import secrets_place, unit_credentials
from felixpy.config import Config, to_bird_settings, to_felix_settings
from felixpy.datastore.snapshot import read_snapshot
from felixpy.live_config import LiveConfig

SECONDS: Final = 60.0  # for all of a large etcd over a slow line
KINDS: Final = (
    *("ClusterInformation", "FelixConfiguration", "Node", "Profile", "IPPool"),
    *("BGPConfiguration", "BGPPeer", "BGPFilter", "WorkloadEndpoint"),
    *("IPAMBlock", "BlockAffinity"),
)


class Offline(Struct, frozen=True):
    """`errors`: why an agent would not start with this datastore; there is no version then."""

    settings: BirdSettings
    version: Version = Version("", "", {})
    problems: Mapping[str, str] = {}
    errors: tuple[str, ...] = ()


def read_offline(path: Path, environ: Mapping[str, str]) -> Offline:
    """Raises ConfigError, SnapshotError, and UnrenderableError where no file could work."""
    live = LiveConfig(path, environ)
    snapshot = read_snapshot(live.config, SECONDS, KINDS)
    if snapshot.errors:
        errors = tuple(str(error) for error in snapshot.errors)
        return Offline(BirdSettings(), errors=errors)
    for key, value in snapshot.values.items():
        live.note(key, value)
    config = live.preview()
    settings = to_bird_settings(config)
    wanted = _wanted(config, snapshot.values)
    place = secrets_place(config, environ)
    secrets = Secrets(place.path, place.namespace, unit_credentials(environ), lambda: None)
    secrets.want(wanted.secrets())
    credentials = secrets.credentials()
    version = render(wanted, credentials, settings)
    brought = Brought(
        version, dict(wanted.sessions), credentials, secrets.problems(), wanted.faults.faults
    )
    return Offline(settings, version, problems(brought))


def _wanted(config: Config, values: Mapping[Key, Value]) -> Wanted:
    graph = BgpGraph(config.felix_hostname)
    graph.settle(to_felix_settings(config))
    for key, value in values.items():
        graph.update(key, value)
    graph.in_sync()
    wanted = Wanted()
    wanted.apply(graph.flush())
    return wanted
