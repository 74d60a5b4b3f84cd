"""The private key of a device: made here, and nowhere but in the kernel a moment later.

A private key is any 32 bytes with five bits of them fixed (Curve25519); the kernel works out the
public one.  It exists in arrays only, which can be overwritten, never in a string or in immutable
bytes, of which Python would keep copies: so it is read from the random device, as os.urandom gives
bytes.
"""

from __future__ import annotations

import os
from pathlib import Path

from dataplane.wireguard.state import KEY_BYTES

_RANDOM = Path("/dev/urandom")


def new_private_key() -> bytearray:
    """Whoever gets it overwrites it with `forget`.  Raises OSError."""
    os.getrandom(1)  # waits until the kernel has gathered enough; reading the device would not
    key = bytearray(KEY_BYTES)
    with _RANDOM.open("rb", buffering=0) as source:
        if source.readinto(key) != KEY_BYTES:
            raise OSError(f"{_RANDOM}: too little was read")
    key[0] &= 248
    key[31] = key[31] & 127 | 64
    return key


def forget(secret: bytearray) -> None:
    """Overwrite it in place."""
    secret[:] = bytes(len(secret))
