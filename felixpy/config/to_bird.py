"""The parameters of BGP in the words of the dataplane's part that is BIRD."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from calc_graph.bgp.felix import FelixSettings
from dataplane.bird.settings import BirdSettings
from felixpy.config.parameters import Config

_NAMESPACE = "calico-system"
# what stands for sessions in BGPBfdPeers that is not the name of a BGPPeer
_NO_PEERS = ("mesh", "*")


def to_bird_settings(config: Config) -> BirdSettings:
    return BirdSettings(
        config_file=Path(config.bird_config_file),
        control_socket=Path(config.bird_control_socket),
        confirm_seconds=float(config.bird_confirm_timeout_secs),
        interface_prefixes=config.interface_prefix,
        device_route_protocol=config.device_route_protocol,
        router_id=config.bgp_router_id,
        bfd=frozenset(config.bgp_bfd_peers),
        unguarded=frozenset(config.bgp_unguarded_peers),
    )


def to_felix_settings(config: Config) -> FelixSettings:
    return FelixSettings(
        config.program_cluster_routes,
        config.ipv4_normal_route_priority,
        config.ipv6_normal_route_priority,
        frozenset(_named_peers(config)),
    )


def _named_peers(config: Config) -> Iterator[tuple[str, str]]:
    for name in config.bgp_bfd_peers:
        if name not in _NO_PEERS:
            yield "BGPBfdPeers", name
    for name in config.bgp_unguarded_peers:
        yield "BGPUnguardedPeers", name


def secrets_namespace(environ: Mapping[str, str]) -> str:
    """In which namespace Secrets are looked for: that in which calico/node would run.

    Source: projectcalico/calico confd/pkg/backends/calico/client.go, and the manifests of its
    operator, whose namespace is the default here.
    """
    return environ.get("NAMESPACE", "").strip() or _NAMESPACE
