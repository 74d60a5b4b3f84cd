"""What passes a wire, counted: a program that runs in the namespace of a laboratory's bridge.

    in   a line, any                        on standard input
    out  {"esp4": 7, "02:31:00:00:00:01 UDP-53 10.65.1.2 > 10.65.2.2": 1, …}
         since the line before; first who has sent the frame, then what the packet says

ESP is counted by the kernel, however fast it comes, its fragments too; ARP is left out, and so is
what IPv6 says to neighbours.  Everything else is told by its ends.
"""

from __future__ import annotations

import json
import struct
from collections import Counter

from tests.guest.wireguard_wire import counted, describe, lines, received, taps

_IPV4, _IPV6, _ARP = 0x0800, 0x86DD, 0x0806
_ESP, _FRAGMENT = 50, 44
_BEGINNING, _WHOLE = 14, 0xFFFF


def instructions(esp4: int, esp6: int, rest: int) -> bytes:
    """How many bytes to take of ESP over IPv4, over IPv6, and of all else; never of ARP."""
    load_half, load_byte, equal, give = 0x28, 0x30, 0x15, 0x06
    return b"".join(
        struct.pack("=HBBI", *instruction)
        for instruction in (
            (load_half, 0, 0, 12),
            (equal, 0, 2, _IPV4),
            (load_byte, 0, 0, 23),
            (equal, 7, 9, _ESP),
            (equal, 0, 5, _IPV6),
            (load_byte, 0, 0, 20),
            (equal, 5, 0, _ESP),
            (equal, 0, 5, _FRAGMENT),
            (load_byte, 0, 0, 54),
            (equal, 2, 3, _ESP),
            (equal, 3, 2, _ARP),
            (give, 0, 0, esp4),
            (give, 0, 0, esp6),
            (give, 0, 0, rest),
            (give, 0, 0, 0),
        )
    )


def watch_wire() -> None:
    quiet = {4: taps(instructions(_BEGINNING, 0, 0)), 6: taps(instructions(0, _BEGINNING, 0))}
    rest = taps(instructions(0, 0, _WHOLE))
    counts: Counter[str] = Counter()
    for asked in lines(rest):
        counts.update(what for what in map(describe, received(rest)) if what is not None)
        if asked:
            counts.update({f"esp{family}": counted(tap) for family, tap in quiet.items()})
            print(json.dumps(+counts), flush=True)
            counts.clear()
