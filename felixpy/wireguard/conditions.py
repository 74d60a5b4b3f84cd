"""What this node's Node says of WireGuard here, for those who look at nodes and not at agents.

in   the families as the dataplane has them, and what the pre-flight holds back
out  a condition for each family that WireGuard is on for, by type; None: there is to be none
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from dataplane.families import Family
from dataplane.wireguard.status import HELD, FamilyStatus
from felixpy.statusrep.conditions import Condition

_TYPES: Final[Mapping[Family, str]] = {4: "WireguardReady", 6: "WireguardReadyV6"}
# as the dataplane begins what it says of a kernel that lacks something
_LACKING: Final = "this kernel has no "


def conditions_of(
    known: Iterable[FamilyStatus], held: Mapping[Family, str]
) -> dict[str, Condition | None]:
    """`held`: why the pre-flight holds it back, in short.

    A family that is on and has neither a key nor a reason is left out: it is just beginning.
    """
    found: dict[str, Condition | None] = dict.fromkeys(_TYPES.values())
    for each in known:
        if each.phase == "unavailable":
            found[_TYPES[each.family]] = _unready(each.reason, held.get(each.family, ""))
        elif each.phase == "on" and each.key:
            message = f"{each.device} has its key"
            found[_TYPES[each.family]] = Condition("True", "KeyInKernel", message)
        elif each.phase == "on":
            del found[_TYPES[each.family]]
    return found


def _unready(reason: str, held: str) -> Condition:
    if reason == HELD:
        return Condition("False", "HeldBack", f"{reason}: {held}" if held else reason)
    lacking = reason.startswith(_LACKING)
    return Condition("False", "KernelLacksWireguard" if lacking else "NoDevice", reason)
