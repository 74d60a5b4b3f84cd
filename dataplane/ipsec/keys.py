"""Keys of IPsec, which never show themselves, and what is derived from them.

Algorithm    what the kernel is to do with a key
Key          ID, algorithm, and the secret of one record of the key file
Material     what goes into one state: a key as it is, or one derived for a pair of nodes
KeyRing      those of a key file

Secrets are in arrays, which can be overwritten; what a hash returns cannot be, and is let go at
once: but for what a Key derives others with, hashes that it holds as long as its own secret.
Nothing here can be copied, pickled or shown.  Which lengths an algorithm takes is not known here:
felixpy.ipsec.algorithms has asked before.

Sources: sections 4.2 and 5.3 of the IPsec reference; RFC 5869 (HKDF), RFC 2104 (HMAC).
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Iterable, Iterator, Mapping
from types import TracebackType
from typing import Final, NoReturn, TypeAlias

from msgspec import Struct

from dataplane.ipsec import ids
from dataplane.ipsec.values import StateWish
from dataplane.rtnetlink import parse_address

_CHECK_BYTES: Final = 8
_HASH: Final = "sha256"
_HASH_BYTES: Final = hashlib.sha256().digest_size
_FINGERPRINT_BLOCK: Final = hashlib.sha512().block_size
_FINGERPRINT_BYTES: Final = hashlib.sha512().digest_size
_FINGERPRINTS: Final = hashlib.sha512(secrets.token_bytes(_FINGERPRINT_BLOCK))

Octets: TypeAlias = bytes | bytearray | memoryview


class Algorithm(Struct, frozen=True):
    """`aead` with `icv_bits`, or `auth` with `trunc_bits` and `encryption`: the kernel's names."""

    aead: str = ""
    icv_bits: int = 0
    auth: str = ""
    trunc_bits: int = 0
    encryption: str = ""

    @property
    def names(self) -> tuple[str, ...]:
        return (self.aead,) if self.aead else (self.auth, self.encryption)

    @property
    def tag_bits(self) -> int:
        """Of what a packet is authenticated with."""
        return self.icv_bits if self.aead else self.trunc_bits

    def __str__(self) -> str:
        return f"{' '.join(self.names)} {self.tag_bits}"


class _Secret:
    """Holds one, shows it to nobody, and is the only one that does."""

    __slots__ = ()

    def __reduce_ex__(self, _protocol: object) -> NoReturn:
        raise TypeError(f"{type(self).__name__} cannot be copied")


class Material(_Secret):
    """What goes into one state.  As a context it is overwritten at the end."""

    __slots__ = ("_auth_bytes", "_octets", "algorithm")

    def __init__(self, algorithm: Algorithm, octets: bytearray, auth_bytes: int = 0) -> None:
        """`octets` belongs to it from now on: with two algorithms, `auth_bytes` for the first."""
        self.algorithm = algorithm
        self._octets = octets
        self._auth_bytes = auth_bytes

    @property
    def keys(self) -> tuple[memoryview, ...]:
        """One for AEAD, with the salt at its end, as the kernel has it; else that which packets are
        authenticated with, and that which they are encrypted with.
        """
        view = memoryview(self._octets)
        if self.algorithm.aead:
            return (view,)
        return view[: self._auth_bytes], view[self._auth_bytes :]

    @property
    def fingerprint(self) -> bytes:
        """Equal to `fingerprint` of the same keys from elsewhere, in this process."""
        return b"".join(map(fingerprint, self.keys))

    def forget(self) -> None:
        """Overwrite it in place."""
        self._octets[:] = bytes(len(self._octets))

    def __enter__(self) -> Material:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.forget()

    def __repr__(self) -> str:
        return f"Material({self.algorithm})"


class Key(_Secret):
    """One record of a key file.

    `check` tells whether two nodes mean the same by an ID: 16 hex digits, of no use to anybody who
    has not got the key.
    """

    __slots__ = (
        "_auth_bytes",
        "_extracted",
        "_length",
        "_octets",
        "_prefix",
        "algorithm",
        "check",
        "id",
    )

    def __init__(
        self, key_id: int, algorithm: Algorithm, octets: bytearray, auth_bytes: int = 0
    ) -> None:
        """`octets` belongs to it from now on: with two algorithms, `auth_bytes` for the first."""
        self.id = key_id
        self.algorithm = algorithm
        self.check = _check(key_id, algorithm, octets)
        self._octets = octets
        self._length = len(octets)
        self._extracted = hkdf_extract(octets)  # the same for all that is derived
        self._prefix = b"felixpy-ipsec" + bytes([key_id])
        self._auth_bytes = auth_bytes

    def material(self, wish: StateWish) -> Material:
        """For that state: derived for its two ends where it has a life, else the key as it is."""
        if wish.life:
            ends = parse_address(wish.source)[1] + parse_address(wish.id.destination)[1]
            info = self._prefix + ends + wish.life.encode("ascii")
            octets = hkdf_expand(self._extracted, info, self._length)
        else:
            octets = bytearray(self._octets)
        return Material(self.algorithm, octets, self._auth_bytes)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Key):
            return NotImplemented
        same = hmac.compare_digest(self._octets, other._octets)
        mine = (self.id, self.algorithm, self._auth_bytes)
        return same and mine == (other.id, other.algorithm, other._auth_bytes)

    def __hash__(self) -> int:
        return hash((self.id, self.check))

    def __repr__(self) -> str:
        return f"Key({self.id}, {self.algorithm}, check {self.check})"


class KeyRing(Mapping[int, Key]):
    """Key ID -> key, the newest first."""

    __slots__ = ("_keys",)

    def __init__(self, keys: Iterable[Key] = ()) -> None:
        """`keys` in the order of the file.  Raises ValueError when an ID is there twice."""
        by_id: dict[int, Key] = {}
        for key in keys:
            if key.id in by_id:
                raise ValueError(f"key ID {key.id} is there twice")
            by_id[key.id] = key
        self._keys = {i: by_id[i] for i in ids.newest_first(list(by_id))}

    @property
    def newest(self) -> int:
        """0: the ring is empty."""
        return next(iter(self._keys), 0)

    @property
    def checks(self) -> dict[int, str]:
        """Key ID -> check value."""
        return {key.id: key.check for key in self._keys.values()}

    def __getitem__(self, key_id: int) -> Key:
        return self._keys[key_id]

    def __iter__(self) -> Iterator[int]:
        return iter(self._keys)

    def __len__(self) -> int:
        return len(self._keys)

    def __repr__(self) -> str:
        return f"KeyRing({list(self._keys.values())})"


def fingerprint(key: Octets) -> bytes:
    """To compare keys by, in this process.

    As long as the key, so that it can take the key's place where the kernel tells it; that of two
    keys is those of each.  They are compared with `hmac.compare_digest`.

    It is the hash of a secret block and the key, which takes an eighth of what HMAC does, and is as
    good where nobody else sees it.  OpenSSL's hashes clean up behind them; hashlib.blake2b leaves
    the key on the stack.
    """
    hashed = _FINGERPRINTS.copy()
    hashed.update(key)
    digest, size = hashed.digest(), len(key)
    return digest[:size] if size <= _FINGERPRINT_BYTES else digest.ljust(size, b"\0")


def hkdf_extract(secret: Octets, salt: bytes = b"") -> hmac.HMAC:
    """HMAC under the pseudorandom key of HKDF-SHA256, RFC 5869: as secret as what it is made of.

    A copy of one that has its key takes two thirds of the time of another one.
    """
    return hmac.new(hmac.digest(salt or bytes(_HASH_BYTES), secret, _HASH), digestmod=_HASH)


def hkdf_expand(extracted: hmac.HMAC, info: bytes, length: int) -> bytearray:
    """What is derived; `length` is 8160 at most.  Whoever gets it overwrites it."""
    derived = bytearray()
    block = b""
    for counter in range(1, -(-length // _HASH_BYTES) + 1):
        keyed = extracted.copy()
        keyed.update(block + info + bytes([counter]))
        block = keyed.digest()
        derived += block
    del derived[length:]
    return derived


def _check(key_id: int, algorithm: Algorithm, octets: Octets) -> str:
    words = ("felixpy-ipsec-kcv", str(key_id), *algorithm.names, str(algorithm.tag_bits))
    return hmac.digest(octets, "\0".join(words).encode("ascii"), _HASH)[:_CHECK_BYTES].hex()
