"""The one date of a certificate that matters."""

from datetime import UTC, datetime

from cryptography import x509
from hypothesis import given
from hypothesis import strategies as st

from felixpy.etcd.expiry import _elements, _time, expiries
from tests.fakes.certificates import ca

AUTHORITY = ca()


def test_the_end_of_each_certificate_in_a_chain() -> None:
    chain = AUTHORITY.server(("a",)).certificate + b"a comment\n" + AUTHORITY.certificate
    assert expiries(chain) == [
        certificate.not_valid_after_utc.timestamp()
        for certificate in x509.load_pem_x509_certificates(chain)
    ]


def test_years_of_two_and_of_four_digits() -> None:
    (old,) = _elements(b"\x17\x0d491231235959Z")
    (late,) = _elements(b"\x18\x0f20500101000000Z")
    assert _time(old) == datetime(2049, 12, 31, 23, 59, 59, tzinfo=UTC).timestamp()
    assert _time(late) == datetime(2050, 1, 1, tzinfo=UTC).timestamp()


@given(at=st.integers(0, 700), byte=st.binary(min_size=1, max_size=1))
def test_what_is_damaged_has_no_date_and_does_no_harm(at: int, byte: bytes) -> None:
    pem = AUTHORITY.certificate
    assert len(expiries(pem[:at] + byte + pem[at + 1 :])) <= 1
    assert len(expiries(pem[:at])) <= 1


def test_other_things_have_none() -> None:
    assert expiries(b"") == []
    assert expiries(AUTHORITY.client().key) == []
