"""What can be held back: the kinds, their names, and whom a verdict points at.

    a step that cuts a flow -> suspects, the likeliest first

Endpoints of workloads are not among them: there may be a hundred thousand, and what one of them
has to do with a host endpoint is at most an address in a set.  The configuration that this machine
itself gives is held back as a whole, under a key of its own: half a file is what nobody has
written.
"""

from __future__ import annotations

from typing import Final, TypeAlias

from msgspec import Struct

from calc_graph.judge import Step
from calc_graph.model import (
    FelixConfiguration,
    FelixConfigurationKey,
    HostEndpoint,
    HostEndpointKey,
    NetworkSet,
    NetworkSetKey,
    Policy,
    PolicyKey,
    Profile,
    ProfileKey,
    Tier,
    TierKey,
)
from felixpy.config import Source


class MachineKey(Struct, frozen=True, order=True):
    """File and environment."""


MACHINE: Final = MachineKey()
GuardedKey: TypeAlias = (
    PolicyKey
    | TierKey
    | ProfileKey
    | HostEndpointKey
    | NetworkSetKey
    | FelixConfigurationKey
    | MachineKey
)
GuardedValue: TypeAlias = (
    Policy | Tier | Profile | HostEndpoint | NetworkSet | FelixConfiguration | tuple[Source, ...]
)
GUARDED: Final[frozenset[type]] = frozenset(
    (PolicyKey, TierKey, ProfileKey, HostEndpointKey, NetworkSetKey, FelixConfigurationKey)
)


def suspects(step: Step) -> list[GuardedKey]:
    """The policy that decided, the endpoint that it decided for, the tier, the profile."""
    found: list[GuardedKey] = []
    if step.policy is not None:
        found.append(step.policy)
    if isinstance(step.endpoint, HostEndpointKey):
        found.append(step.endpoint)
    if step.tier:
        found.append(TierKey(step.tier))
    if step.profile:
        found.append(ProfileKey(step.profile))
    return found


def kind_and_name(key: GuardedKey) -> tuple[str, str]:
    """In the words of the datastore's manifests."""
    match key:
        case PolicyKey():
            return key.kind, f"{key.namespace}/{key.name}" if key.namespace else key.name
        case TierKey():
            return "Tier", key.name
        case ProfileKey():
            return "Profile", key.name
        case HostEndpointKey():
            return "HostEndpoint", key.name
        case NetworkSetKey():
            kind = "NetworkSet" if "/" in key.name else "GlobalNetworkSet"
            return kind, key.name
        case FelixConfigurationKey():
            return "FelixConfiguration", key.name
        case MachineKey():
            return "Configuration", "of this machine"


def identify(key: GuardedKey) -> str:
    """Unique, and fit to be typed."""
    kind, name = kind_and_name(key)
    return "Configuration/machine" if key == MACHINE else f"{kind}/{name}"
