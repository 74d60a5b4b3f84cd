"""Private keys: of the right form, different ones, and overwritten."""

from __future__ import annotations

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from dataplane.wireguard import keys


def test_keys_are_of_curve25519_and_differ() -> None:
    made = [keys.new_private_key() for _ in range(50)]
    assert len({bytes(key) for key in made}) == 50
    for key in made:
        assert key[0] & 7 == 0
        assert key[31] & 0xC0 == 0x40
        other = X25519PrivateKey.from_private_bytes(bytes(key)).private_bytes_raw()
        assert other == key, "a library takes it as it is"


def test_a_key_is_forgotten_in_place() -> None:
    key = keys.new_private_key()
    same = memoryview(key)
    keys.forget(key)
    assert not any(same)
