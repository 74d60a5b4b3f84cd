"""WireGuard's public keys, as text."""

from __future__ import annotations

import base64
import binascii

KEY_BYTES = 32


def is_wireguard_key(text: str) -> bool:
    try:
        return len(base64.b64decode(text, validate=True)) == KEY_BYTES
    except (binascii.Error, ValueError):  # ValueError: not ASCII
        return False
