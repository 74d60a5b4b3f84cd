"""The table of algorithms: each name once, and near misses lead to what was meant."""

from __future__ import annotations

import pytest

from felixpy.ipsec.algorithms import AEADS, AUTHENTICATIONS, ENCRYPTIONS, REFUSED, closest


def test_each_name_means_one_thing():
    tables = (AEADS, AUTHENTICATIONS, ENCRYPTIONS, REFUSED)
    assert len({name for table in tables for name in table}) == sum(map(len, tables))


@pytest.mark.parametrize(
    ("wrong", "meant"),
    [
        ("gcm(aes)", "rfc4106(gcm(aes))"),
        ("RFC4106(GCM(AES))", "rfc4106(gcm(aes))"),
        ("rfc4106(gcm(aes)", "rfc4106(gcm(aes))"),
        ("rfc7539(chacha20,poly1305)", "rfc7539esp(chacha20,poly1305)"),
        ("hmac(sha265)", "hmac(sha256)"),
        ("cbc(aes)x", "cbc(aes)"),
        ("00112233445566778899aabbccddeeff00010203", ""),
        ("cbc" * 20, ""),
        ("nonsense", ""),
    ],
)
def test_the_closest_name(wrong, meant):
    assert closest(wrong) == meant
