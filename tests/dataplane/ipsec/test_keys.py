"""Keys: what is derived from them, what tells them apart, and that they never show themselves."""

from __future__ import annotations

import copy
import hashlib
import hmac
import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataplane.ipsec.keys import (
    Algorithm,
    Key,
    KeyRing,
    Material,
    fingerprint,
    hkdf_expand,
    hkdf_extract,
)
from dataplane.ipsec.values import StateId, StateWish

GCM = Algorithm(aead="rfc4106(gcm(aes))", icv_bits=128)
TWO = Algorithm(auth="hmac(sha256)", trunc_bits=128, encryption="cbc(aes)")
OCTETS = bytes(range(0x11, 0x11 + 20))
LIFE = "ab" * 16 + "cd" * 16


def key(key_id=3, octets=OCTETS, algorithm=GCM, auth_bytes=0):
    return Key(key_id, algorithm, bytearray(octets), auth_bytes)


def wish(source="10.0.0.1", destination="10.0.0.2", life=LIFE, key_id=3):
    return StateWish(StateId(destination, 0x1233), source, key_id, receives=False, life=life)


# RFC 5869, appendix A: hash SHA-256
@pytest.mark.parametrize(
    ("secret", "salt", "info", "length", "derived"),
    [
        (
            "0b" * 22,
            "000102030405060708090a0b0c",
            "f0f1f2f3f4f5f6f7f8f9",
            42,
            "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf34007208d5b887185865",
        ),
        (
            bytes(range(0x50)).hex(),
            bytes(range(0x60, 0xB0)).hex(),
            bytes(range(0xB0, 0x100)).hex(),
            82,
            "b11e398dc80327a1c8e7f78c596a49344f012eda2d4efad8a050cc4c19afa97c59045a99cac7827271cb41c65e"
            "590e09da3275600c2f09b8367793a9aca3db71cc30c58179ec3e87c14c01d5c1f3434f1d87",
        ),
        (
            "0b" * 22,
            "",
            "",
            42,
            "8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d9d201395faa4b61a96c8",
        ),
    ],
)
def test_the_vectors_of_the_rfc(secret, salt, info, length, derived):
    of_hex = bytes.fromhex
    extracted = hkdf_extract(of_hex(secret), of_hex(salt))
    assert hkdf_expand(extracted, of_hex(info), length) == of_hex(derived)


def test_the_check_value_is_that_of_the_reference():
    words = b"felixpy-ipsec-kcv\x003\x00rfc4106(gcm(aes))\x00128"
    assert key().check == hmac.digest(OCTETS, words, "sha256")[:8].hex()


def test_what_differs_has_another_check_value():
    long = OCTETS + bytes(44)
    others = [
        key(),
        key(4),
        key(octets=OCTETS[::-1]),
        key(algorithm=Algorithm(aead="rfc4106(gcm(aes))", icv_bits=96)),
        key(octets=long, algorithm=TWO, auth_bytes=32),
        key(octets=long, algorithm=Algorithm("", 0, "hmac(sha256)", 96, "cbc(aes)"), auth_bytes=32),
    ]
    assert len({each.check for each in others}) == len(others)


def test_without_a_life_the_key_is_as_it_is():
    with key().material(wish(life="")) as material:
        assert material.keys == (OCTETS,)


def test_what_is_derived_depends_on_all_there_is():
    wishes = [
        wish(),
        wish(source="10.0.0.2", destination="10.0.0.1"),
        wish(source="10.0.0.3"),
        wish(life="ef" * 32),
        wish(source="fd00::1", destination="fd00::2"),
    ]
    derived = {bytes(key().material(each).keys[0]) for each in wishes}
    derived |= {bytes(key(4).material(wish()).keys[0]), OCTETS}
    assert len(derived) == len(wishes) + 2
    assert {len(each) for each in derived} == {20}


def test_derivation_is_the_one_that_is_documented():
    info = b"felixpy-ipsec\x03" + bytes([10, 0, 0, 1, 10, 0, 0, 2]) + LIFE.encode()
    assert key().material(wish()).keys == (hkdf_expand(hkdf_extract(OCTETS), info, 20),)


def test_an_address_may_be_written_in_other_ways():
    one = key().material(wish("fd00:0:0::1", "fd00::2"))
    assert one.keys == key().material(wish("fd00::1", "FD00::2")).keys


def test_two_algorithms_share_what_is_derived():
    octets = hashlib.sha512(b"x").digest()
    two = key(octets=octets, algorithm=TWO, auth_bytes=32)
    plain, derived = two.material(wish(life="")), two.material(wish())
    assert plain.keys == (octets[:32], octets[32:])
    auth, encryption = derived.keys
    assert (len(auth), len(encryption)) == (32, 32)
    assert auth != encryption
    assert derived.fingerprint == fingerprint(auth) + fingerprint(encryption)


def test_fingerprints_tell_materials_apart():
    material = key().material(wish(life=""))
    assert material.fingerprint == fingerprint(OCTETS)
    assert len(material.fingerprint) == len(OCTETS)
    assert fingerprint(OCTETS) != fingerprint(OCTETS[::-1])
    assert fingerprint(OCTETS[:8]) != fingerprint(OCTETS)[:8]
    assert len(fingerprint(bytes(70))) == 70
    assert OCTETS not in material.fingerprint


def test_a_material_is_overwritten_and_the_key_is_not():
    mine = key()
    with mine.material(wish(life="")) as material:
        pass
    assert material.keys == (bytes(20),)
    assert mine.material(wish(life="")).keys == (OCTETS,)


@given(st.binary(min_size=20, max_size=20))
def test_nothing_shows_a_key(octets):
    mine = key(octets=octets)
    shown = "".join(
        f(each)
        for f in (repr, str, "{}".format)
        for each in (mine, KeyRing([mine]), mine.material(wish()), {3: mine})
    )
    assert octets.hex() not in shown
    assert repr(octets)[2:-1] not in shown
    assert "Key(3, rfc4106(gcm(aes)) 128, check " in shown


@pytest.mark.parametrize("how", [copy.copy, copy.deepcopy, pickle.dumps])
def test_nothing_can_be_copied(how):
    for each in (key(), key().material(wish())):
        with pytest.raises(TypeError) as raised:
            how(each)
        assert OCTETS.hex() not in str(raised.value)


def test_rings_are_equal_when_their_keys_are():
    assert KeyRing([key(3), key(4)]) == KeyRing([key(4), key(3)])
    assert KeyRing([key(3)]) != KeyRing([key(3, OCTETS[::-1])])
    assert KeyRing([key(3)]) != KeyRing([key(4)])
    assert key(3) != "3"
    assert len({key(3), key(3), key(4)}) == 2


def test_a_ring_begins_with_the_newest():
    ring = KeyRing([key(15), key(1), key(14)])
    assert [*ring] == [1, 15, 14]
    assert ring.newest == 1
    assert ring.checks == {n: key(n).check for n in (1, 15, 14)}
    assert KeyRing().newest == 0


def test_an_id_is_there_once():
    with pytest.raises(ValueError, match="key ID 3 is there twice"):
        KeyRing([key(), key()])


def test_algorithms_say_their_names():
    assert str(GCM) == "rfc4106(gcm(aes)) 128"
    assert str(TWO) == "hmac(sha256) cbc(aes) 128"
    assert isinstance(key().material(wish()), Material)
