"""What a laboratory of IPsec gives its nodes besides tests.guest.wireguard_manifests: keys.

A key is made of its ID and a word, so that two nodes have the same where both are the same.
"""

from __future__ import annotations

import hashlib

ALGORITHM = "rfc4106(gcm(aes))"
ICV_BITS = 128
RIGHT, WRONG = "right", "wrong"
_KEY_BYTES = 20  # AES of 128 bits, and four bytes of salt


def record(key_id: int, word: str = RIGHT) -> str:
    """A line of a key file."""
    key = hashlib.sha256(f"{word} {key_id}".encode()).hexdigest()[: 2 * _KEY_BYTES]
    return f"{key_id} {ALGORITHM} {key} {ICV_BITS}\n"


def key_file(*key_ids: int, word: str = RIGHT) -> str:
    return "".join(record(key_id, word) for key_id in key_ids)
