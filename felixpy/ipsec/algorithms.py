"""Which algorithms a key file may name, how long their keys are, and which are refused by name.

The kernel takes more than is good: an HMAC key of any length, HMAC of MD5, no encryption at all.
So this table decides, and of what passes it the kernel is asked by a trial.
Source: section 2.2 of the IPsec reference; linux net/xfrm/xfrm_algo.c; RFCs 4106, 4309, 4868, 7634.
"""

from __future__ import annotations

from difflib import get_close_matches
from typing import Final

from msgspec import Struct


class Aead(Struct, frozen=True):
    """Encrypts and authenticates; `key_bytes` with those of the salt, the recommended one first."""

    name: str
    key_bytes: tuple[int, ...]
    salt_bytes: int
    icv_bits: tuple[int, ...]


class Authentication(Struct, frozen=True):
    """`note`: what there is to say against it, "" for nothing."""

    name: str
    key_bytes: int
    trunc_bits: int
    note: str = ""


class Encryption(Struct, frozen=True):
    """As `Aead`."""

    name: str
    key_bytes: tuple[int, ...]
    salt_bytes: int = 0


GCM: Final = "rfc4106(gcm(aes))"
HMAC_SHA256: Final = "hmac(sha256)"

AEADS: Final = {
    each.name: each
    for each in (
        Aead(GCM, (20, 28, 36), 4, (128, 96, 64)),
        Aead("rfc4309(ccm(aes))", (19, 27, 35), 3, (128,)),
        Aead("rfc7539esp(chacha20,poly1305)", (36,), 4, (128,)),
    )
}
AUTHENTICATIONS: Final = {
    each.name: each
    for each in (
        # RFC 4868; the kernel's own default of 96 is that of a draft
        Authentication(HMAC_SHA256, 32, 128),
        Authentication("hmac(sha384)", 48, 192),
        Authentication("hmac(sha512)", 64, 256),
        Authentication("hmac(sha1)", 20, 96, "SHA-1 is old; hmac(sha256) is better"),
        Authentication("cmac(aes)", 16, 96),
        Authentication("xcbc(aes)", 16, 96),
    )
}
ENCRYPTIONS: Final = {
    each.name: each
    for each in (
        Encryption("cbc(aes)", (32, 24, 16)),
        Encryption("rfc3686(ctr(aes))", (36, 28, 20), 4),
        Encryption("cbc(camellia)", (32, 24, 16)),
    )
}
_NOTHING: Final = "it does not encrypt"
_NO_PROOF: Final = "it does not authenticate"
_WEAK: Final = "its protection is too weak"
REFUSED: Final = {
    "rfc4543(gcm(aes))": _NOTHING,
    "ecb(cipher_null)": _NOTHING,
    "cipher_null": _NOTHING,
    "digest_null": _NO_PROOF,
    "hmac(md5)": _WEAK,
    "cbc(des)": _WEAK,
    "cbc(des3_ede)": _WEAK,
    "cbc(blowfish)": _WEAK,
    "cbc(cast5)": _WEAK,
}
_USABLE: Final = (*AEADS, *AUTHENTICATIONS, *ENCRYPTIONS)
_LONGEST: Final = 40  # of what may be a name somebody has meant
_TELLING: Final = 8  # characters of a part of a name


def closest(wrong: str) -> str:
    """The algorithm that may have been meant, "" where none is near."""
    folded = wrong.lower()
    if len(folded) > _LONGEST:
        return ""
    # first what is a part of one name: gcm(aes) looks more like cbc(aes) than like what it means
    around = [name for name in _USABLE if len(folded) >= _TELLING and folded in name]
    near = around[:1] or get_close_matches(folded, _USABLE, n=1, cutoff=0.7)
    return near[0] if near else ""
