"""Where things are in messages, in pieces that are packed and unpacked at once.

The same bytes as `messages` and `attributes` describe field by field, which this is tested against.
What is the same in most messages (a selector, limits, a template) is one piece.
"""

from __future__ import annotations

import struct
from typing import Final

from dataplane.xfrm.constants import XFRM_INF

HEADER: Final = struct.Struct("=IHHII")  # length, type, flags, sequence number, port
FLAGS: Final = struct.Struct("=H")
FLAGS_OFFSET: Final = 6
SENDER: Final = struct.Struct("=II")  # sequence number, port
SENDER_OFFSET: Final = 8
ATTRIBUTE: Final = struct.Struct("=HH")  # length with this, number
NUMBER_BITS: Final = 0x3FFF  # of an attribute; the others are flags

# Destination, source; ports; family, prefix lengths of destination and source, protocol, interface,
# user.
SELECTOR: Final = struct.Struct("=16s16s8sHBBB3xiI")
PORTS: Final = struct.Struct(">HHHH")  # that of the destination, its mask; of the source, its mask
LIMITS: Final = struct.Struct("=8Q")  # bytes, packets, seconds, seconds in use: soft, hard of each
ENDLESS: Final = LIMITS.pack(*[XFRM_INF] * 4, 0, 0, 0, 0)
UNUSED: Final = bytes(32)  # bytes, packets, when it was added, when it was used
# Destination, SPI, protocol, family, source, reqid, mode, share, optional, algorithms.
TEMPLATE: Final = struct.Struct("=16s4sB3xH2x16sIBBBx12s")
ANY_ALGORITHM: Final = b"\xff" * 12
MARK: Final = struct.Struct("=II")  # value, mask
ESN: Final = struct.Struct("=IIIIII")  # words of the bitmap, four halves of counters, window
ALGORITHM: Final = struct.Struct("=64sI")  # name, bits of the key, which follows
ALGORITHM_WITH_BITS: Final = struct.Struct("=64sII")  # and of what a packet is authenticated with

# What is written: length, type and flags of the header; 8 bytes for SENDER; and what is named here.
# Selector; limits and UNUSED; priority, index, direction, action.
NEW_POLICY: Final = struct.Struct("=IHH8x56s96sIIBB6x")
OLD_POLICY: Final = struct.Struct("=IHH8x56s4xB3x")  # selector, direction
# Of a state, behind header and selector where it is made: destination, SPI, protocol, source; and
# behind the header where it is deleted: destination, SPI.
STATE_ENDS: Final = struct.Struct(">16sIB3x16s")
STATE_NAME: Final = struct.Struct(">16sI")

# What is listed, behind the header.  Selector; limits; bytes, packets, added, used; priority,
# index, direction, action, flags, share.
POLICY: Final = struct.Struct("=56s64s4QIIBBBB4x")
# Selector, destination, SPI, protocol, source; limits; bytes, packets, added, used; replays,
# failures; reqid, family, mode, replay window, flags.
STATE: Final = struct.Struct("=56s16s4sB3x16s64s4Q4xII4xIHBBB7x")
