"""What is remembered comes back as it was, and a disk that is full is no reason to stop."""

from __future__ import annotations

from pathlib import Path

from structlog.testing import capture_logs

from calc_graph.model import (
    FelixConfiguration,
    FelixConfigurationKey,
    HostEndpoint,
    HostEndpointKey,
    Icmp,
    NetworkSet,
    NetworkSetKey,
    Peer,
    Policy,
    PolicyKey,
    PortRange,
    Profile,
    ProfileKey,
    Rule,
    Tier,
    TierKey,
)
from felixpy.lockout.memory import NAME, Memory, Remembered
from felixpy.lockout.resources import GuardedKey, GuardedValue

RULE = Rule(
    "deny",
    ip_version=6,
    protocol="icmpv6",
    icmp=Icmp(135),
    source=Peer(nets=("fd00::/8",), selector="has(a)"),
    destination=Peer(ports=(PortRange(1, 2),)),
    annotations=(("a", "b"),),
)
HELD: dict[GuardedKey, GuardedValue | None] = {
    PolicyKey("NetworkPolicy", "shop", "p"): Policy("t", "all()", 1.5, (RULE,), (RULE,)),
    PolicyKey("GlobalNetworkPolicy", "", "new"): None,
    TierKey("t"): Tier(2.0, "Pass"),
    ProfileKey("p"): Profile((RULE,), labels={"a": "b"}),
    HostEndpointKey("n1", "h"): HostEndpoint("eth0", ("10.0.0.1",), {"a": "b"}),
    NetworkSetKey("s"): NetworkSet(("10.0.0.0/8",)),
    FelixConfigurationKey("default"): FelixConfiguration({"a": "b"}, created="2026"),
}
WHOLE = Remembered(HELD, frozenset({"ssh from 10.0.0.7"}))


def test_it_comes_back(tmp_path: Path) -> None:
    memory = Memory(tmp_path)
    assert memory.load() == Remembered()
    memory.save(WHOLE)
    assert Memory(tmp_path).load() == WHOLE
    assert (tmp_path / NAME).stat().st_mode & 0o777 == 0o600


def test_the_same_is_not_written_again(tmp_path: Path) -> None:
    memory = Memory(tmp_path)
    memory.save(Remembered())
    assert list(tmp_path.iterdir()) == []
    memory.save(WHOLE)
    (tmp_path / NAME).unlink()
    memory.save(WHOLE)
    assert list(tmp_path.iterdir()) == []


def test_a_directory_that_cannot_be_written(tmp_path: Path) -> None:
    memory = Memory(tmp_path / "absent")
    with capture_logs() as logs:
        memory.save(WHOLE)
        memory.save(WHOLE)
    assert [line["event"] for line in logs] == ["lockout.memory_not_written"]
