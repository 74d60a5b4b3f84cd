"""What a family's state is to those who look at nodes."""

from __future__ import annotations

import pytest

from dataplane.wireguard.status import HELD, FamilyStatus
from felixpy.statusrep.conditions import Condition
from felixpy.wireguard.conditions import conditions_of

NONE = "this kernel has no WireGuard (module wireguard)"
TAKEN = "a device of that name is no WireGuard device"
PORT = "UDP port: another program has 51820"


def family(phase: str, *, key: str = "", reason: str = "") -> FamilyStatus:
    return FamilyStatus(4, "wireguard.cali", phase, key=key, reason=reason)  # type: ignore[arg-type]


CASES = {
    "off": (family("off"), None),
    "going": (family("draining"), None),
    "on": (family("on", key="A"), Condition("True", "KeyInKernel", "wireguard.cali has its key")),
    "the kernel": (
        family("unavailable", reason=NONE),
        Condition("False", "KernelLacksWireguard", NONE),
    ),
    "the name": (family("unavailable", reason=TAKEN), Condition("False", "NoDevice", TAKEN)),
    "held": (
        family("unavailable", reason=HELD),
        Condition("False", "HeldBack", f"{HELD}: {PORT}"),
    ),
}


@pytest.mark.parametrize(("status", "condition"), CASES.values(), ids=CASES)
def test_of_one_family(status: FamilyStatus, condition: Condition | None) -> None:
    found = conditions_of((status,), {4: PORT})
    assert found == {"WireguardReady": condition, "WireguardReadyV6": None}


def test_of_both() -> None:
    six = FamilyStatus(6, "wg-v6.cali", "unavailable", reason=HELD)
    assert conditions_of((family("on"), six), {}) == {
        "WireguardReadyV6": Condition("False", "HeldBack", HELD)
    }
    assert conditions_of((), {}) == {"WireguardReady": None, "WireguardReadyV6": None}
