from __future__ import annotations

import pytest

from dataplane.families import Family
from dataplane.ipsec.keys import Algorithm
from dataplane.ipsec.mtu import inner_mtu, workload_mtu

GCM = Algorithm(aead="rfc4106(gcm(aes))", icv_bits=128)
CBC = "cbc(aes)"
SHA256 = Algorithm(auth="hmac(sha256)", trunc_bits=128, encryption=CBC)
SHA512 = Algorithm(auth="hmac(sha512)", trunc_bits=256, encryption=CBC)


@pytest.mark.parametrize(
    ("algorithm", "v4", "v6", "jumbo"),
    [
        (GCM, 1446, 1426, 8946),
        (Algorithm(aead="rfc7539esp(chacha20,poly1305)", icv_bits=128), 1446, 1426, 8946),
        (Algorithm(aead="rfc4309(ccm(aes))", icv_bits=128), 1446, 1426, 8946),
        (Algorithm(aead="rfc4106(gcm(aes))", icv_bits=96), 1450, 1430, 8950),
        (SHA256, 1438, 1406, 8926),
        (Algorithm(auth="hmac(sha256)", trunc_bits=96, encryption=CBC), 1438, 1422, 8942),
        (Algorithm(auth="hmac(sha1)", trunc_bits=96, encryption=CBC), 1438, 1422, 8942),
        (Algorithm(auth="hmac(sha384)", trunc_bits=192, encryption=CBC), 1422, 1406, 8926),
        (SHA512, 1422, 1390, 8910),
        (
            Algorithm(auth="hmac(sha256)", trunc_bits=128, encryption="rfc3686(ctr(aes))"),
            1446,
            1426,
            8946,
        ),
    ],
    ids=str,
)
def test_what_fits_into_the_link_is_what_was_measured(
    algorithm: Algorithm, v4: int, v6: int, jumbo: int
) -> None:
    found = [inner_mtu(1500, 4, [algorithm]), inner_mtu(1500, 6, [algorithm])]
    assert [*found, inner_mtu(9000, 4, [algorithm])] == [v4, v6, jumbo]


def test_of_several_keys_the_largest_headers_count() -> None:
    assert inner_mtu(1500, 4, [GCM, SHA512, SHA256]) == 1422


def test_without_a_key_nothing_is_said() -> None:
    assert inner_mtu(1500, 4, []) == 0
    assert workload_mtu(1500, (4, 6), []) == 0
    assert workload_mtu(1500, (), [GCM]) == 0


@pytest.mark.parametrize(
    ("families", "link", "expected"), [((4,), 1500, 1446), ((4, 6), 1500, 1426), ((4,), 1501, 1446)]
)
def test_workloads_get_what_fits_both_families(
    families: tuple[Family, ...], link: int, expected: int
) -> None:
    assert workload_mtu(link, families, [GCM]) == expected
