"""What the pre-flight says of keys and kernel, without a kernel."""

from __future__ import annotations

from dataplane.errors import DataplaneError
from dataplane.families import Family
from dataplane.ipsec.keys import Key, KeyRing
from felixpy.ipsec.keyfile import parse
from felixpy.ipsec.preflight import check_kernel
from tests.fakes.xfrm import FakeXfrm
from tests.felixpy.ipsec.key_texts import line


class Kernel(FakeXfrm):
    """It has ESP for IPv4, and does not answer for IPv6."""

    async def trial(self, key: Key, family: Family = 4) -> str:
        if family == 6:
            raise DataplaneError("no answer")
        return "" if key.id == 3 else "this kernel cannot do that"


def ring(key_id: int) -> KeyRing:
    return parse(line(key_id).encode(), "keys").ring


async def test_what_a_kernel_does_not_say_is_no_verdict() -> None:
    found = await check_kernel(Kernel(), ring(3), (4, 6))
    assert [(each.verdict, each.family, each.text) for each in found] == [
        ("ok", 4, "ESP with rfc4106(gcm(aes)) 128"),
        ("warn", 6, "ESP with rfc4106(gcm(aes)) 128 could not be tried: no answer"),
    ]
    refused = await check_kernel(Kernel(), ring(4), (4,))
    assert [(each.verdict, each.text) for each in refused] == [
        ("fail", "this kernel cannot do that")
    ]
