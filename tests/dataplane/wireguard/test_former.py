"""Which devices were ours before their parameter was changed, and which are their owners' own."""

from __future__ import annotations

import pytest

from dataplane.families import Family
from dataplane.settings import WireguardSettings
from dataplane.wireguard import former
from dataplane.wireguard.former import Device, Former, is_former
from dataplane.wireguard.state import DeviceState
from tests.dataplane.wireguard.builders import OWN_KEY

SETTINGS = WireguardSettings(devices=("new", "new6"))
OURS = SETTINGS.mark


@pytest.mark.parametrize(
    ("case", "family", "port", "mark", "led_to", "expected"),
    [
        ("as it was", 4, 51820, OURS, True, True),
        ("routes are closed already", 4, 51820, OURS, False, True),
        ("the port is changed as well", 4, 51830, OURS, True, True),
        ("the other family's", 4, 51821, OURS, False, False),
        ("IPv6", 6, 51821, OURS, False, True),
        ("an operator's own, on our port", 4, 51820, 0, False, False),
        ("an operator's own, with routes in our table", 4, 51830, 0x1, True, False),
        ("an operator's own, with our mark", 4, 51830, OURS, False, False),
    ],
)
def test_ours_by_another_name(
    case: str, family: Family, port: int, mark: int, led_to: bool, expected: bool
) -> None:
    state = DeviceState(9, OWN_KEY, port, mark, {})
    assert is_former(state, family, SETTINGS, led_to=led_to) is expected, case


async def test_it_is_looked_for_until_it_is_gone_and_then_never(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    looks: list[Family] = []
    refusing = [True]

    async def find(family: Family, _: WireguardSettings) -> list[Device]:
        looks.append(family)
        return [Device("old", 9)]

    async def delete(self: Former, device: Device) -> None:
        if refusing:
            refusing.clear()
            raise former.FormerError("busy")

    monkeypatch.setattr(former, "find", find)
    monkeypatch.setattr(Former, "_delete", delete)
    old = Former(4, SETTINGS)
    with pytest.raises(former.FormerError):
        await old.remove()
    await old.remove()
    await old.remove()
    assert looks == [4, 4]
