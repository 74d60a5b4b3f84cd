"""The text of a key file to a ring of keys.

    in   octets, and what errors call them
    out  KeyFile, or KeyFileError

    ID ALGORITHM KEY ICV                                  3 rfc4106(gcm(aes)) <40 hex digits> 128
    ID AUTHENTICATION KEY ENCRYPTION KEY                  3 hmac(sha256) <64> cbc(aes) <64>

One record on a line, blanks between its fields; more than one record is a ring.  Lines that are
empty or begin with # count for nothing.  Fields may stand in each other's places, so any of them
may hold a key: an error says where something is wrong and what it had expected, and quotes a short
number, or a name that is in felixpy's own tables.
The keys are never text here, and nothing is cut out of the octets that is not wanted in itself.

Source: sections 2.1 and 2.3 of the IPsec reference.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

from dataplane.ipsec import ids
from dataplane.ipsec.keys import Algorithm, Key, KeyRing
from felixpy.ipsec.algorithms import (
    AEADS,
    AUTHENTICATIONS,
    ENCRYPTIONS,
    REFUSED,
    Aead,
    Authentication,
    Encryption,
    closest,
)

MAX_BYTES: Final = 64 * 1024
MAX_LINE: Final = 1024

_FIELD: Final = re.compile(rb"[^ \t]+")
_ID: Final = re.compile(rb"([1-9]|1[0-5])(\+?)")
_SHORT_NUMBER: Final = re.compile(rb"0|[1-9][0-9]{0,2}")
_HEX_VALUES: Final = {ord(digit): int(digit, 16) for digit in "0123456789abcdefABCDEF"}
_SHAPE: Final = "`ID ALGORITHM KEY ICV`"


class KeyFileError(Exception):
    """No ring can be made of it; the text holds nothing of it that could be a key."""


class KeyFile(NamedTuple):
    """`asks_pair`: some ID has a + behind it, which asks for states for each pair of nodes.

    `notes`: what is no mistake and yet should be known.
    """

    ring: KeyRing
    asks_pair: bool = False
    notes: tuple[str, ...] = ()


class _FaultError(Exception):
    """What is wrong on a line, as the rest of a sentence that begins with the line's number."""


class _Record(NamedTuple):
    key: Key
    asks_pair: bool
    note: str = ""


def parse(octets: bytes | bytearray, name: str) -> KeyFile:
    """`name` is for errors: "FILE: line 1: ...".  Raises KeyFileError with all that is wrong."""
    if len(octets) > MAX_BYTES:
        raise KeyFileError(f"{name}: has more than {MAX_BYTES} bytes")
    records: dict[int, tuple[int, _Record]] = {}
    faults = []
    for number, start, end in _lines(octets):
        try:
            record = _Line(octets, start, end).record()
        except _FaultError as fault:
            faults.append(f"line {number}: {fault}")
            continue
        first = records.setdefault(record.key.id, (number, record))[0]
        if first != number:
            faults.append(f"line {number}: key ID {record.key.id} is on line {first} already")
    if not faults and not records:
        faults = [f"no key in it: expected {_SHAPE}"]
    if len(records) > ids.MAX_ALIVE:
        faults.append(f"{len(records)} keys; at most {ids.MAX_ALIVE} may be in use at once")
    if faults:
        raise KeyFileError(f"{name}: {'; '.join(faults)}")
    return _key_file([record for _, record in records.values()])


def _key_file(records: Sequence[_Record]) -> KeyFile:
    ring = KeyRing(record.key for record in records)
    notes = [record.note for record in records if record.note]
    if ids.goes_around(ring):
        which = ", ".join(str(record.key.id) for record in records)
        notes.append(f"of the key IDs {which} none is the newest: the last one is taken for it")
    return KeyFile(ring, any(record.asks_pair for record in records), tuple(notes))


def _lines(octets: bytes | bytearray) -> Iterator[tuple[int, int, int]]:
    """Number, start and end of those that may hold a record."""
    start = number = 0
    while start < len(octets):
        number += 1
        found = octets.find(b"\n", start)
        end = following = len(octets) if found < 0 else found
        if end > start and octets[end - 1] == 0x0D:
            end -= 1
        first = _FIELD.search(octets, start, end)
        if first and octets[first.start()] != 0x23:
            yield number, start, end
        start = following + 1


class _Line:
    def __init__(self, octets: bytes | bytearray, start: int, end: int) -> None:
        if end - start > MAX_LINE:
            raise _FaultError(f"has more than {MAX_LINE} characters")
        self._octets = octets
        self._spans = [match.span() for match in _FIELD.finditer(octets, start, end)]

    def record(self) -> _Record:
        key_id, asks_pair = self._id()
        name = self._known_name(2)
        if name in AEADS:
            return _Record(self._aead(key_id, AEADS[name]), asks_pair)
        if name in AUTHENTICATIONS:
            how = AUTHENTICATIONS[name]
            note = f"key {key_id}: {how.note}" if how.note else ""
            return _Record(self._two(key_id, how), asks_pair, note)
        raise _FaultError(
            f"field 2: `{name}` encrypts only; the algorithm that authenticates stands before it"
        )

    # ------------------------------------------------------------ the forms

    def _aead(self, key_id: int, how: Aead) -> Key:
        self._expect(4, f"`{how.name}` is an AEAD algorithm and takes 4 fields")
        octets = self._key(3, how.name, how.key_bytes, how.salt_bytes)
        icv_bits = self._number(4)
        if icv_bits not in how.icv_bits:
            given = "this ICV length" if icv_bits is None else f"ICV length {icv_bits}"
            possible = _either([str(bits) for bits in sorted(how.icv_bits)])
            raise _FaultError(
                f"field 4: {given} is not possible for `{how.name}`; it has {possible} bits"
            )
        return Key(key_id, Algorithm(aead=how.name, icv_bits=icv_bits), octets)

    def _two(self, key_id: int, how: Authentication) -> Key:
        self._expect(5, f"`{how.name}` is no AEAD algorithm; the two-algorithm form has 5 fields")
        octets = self._key(3, how.name, (how.key_bytes,), 0)
        auth_bytes = len(octets)
        encryption = self._encryption(how)
        octets += self._key(5, encryption.name, encryption.key_bytes, encryption.salt_bytes)
        algorithm = Algorithm(auth=how.name, trunc_bits=how.trunc_bits, encryption=encryption.name)
        return Key(key_id, algorithm, octets, auth_bytes)

    def _encryption(self, before: Authentication) -> Encryption:
        name = self._known_name(4)
        if name in ENCRYPTIONS:
            return ENCRYPTIONS[name]
        what = "authenticates by itself" if name in AEADS else "does not encrypt"
        raise _FaultError(f"field 4: `{name}` {what}; behind `{before.name}` a cipher is expected")

    # ------------------------------------------------------------ the fields, from 1

    def _expect(self, count: int, reason: str) -> None:
        if len(self._spans) != count:
            raise _FaultError(f"{reason}, found {len(self._spans)}")

    def _id(self) -> tuple[int, bool]:
        start, end = self._spans[0]
        found = _ID.fullmatch(self._octets, start, end)
        if found:
            return int(found[1]), bool(found[2])
        number = self._number(1)
        if number == 0:
            raise _FaultError(f"key ID 0 is reserved; IDs run from 1 to {ids.LAST_ID}")
        if number is not None:
            raise _FaultError(f"key ID {number} is out of range; after {ids.LAST_ID} comes 1")
        if end - start <= 4 and 0x30 <= self._octets[end - 1] <= 0x39:
            raise _FaultError(f"field 1 must be a plain number from 1 to {ids.LAST_ID}")
        raise _FaultError(f"field 1 must be a key ID from 1 to {ids.LAST_ID}")

    def _number(self, field: int) -> int | None:
        """None: it is no number of at most three digits, so it may be anything."""
        found = _SHORT_NUMBER.fullmatch(self._octets, *self._spans[field - 1])
        return int(found[0]) if found else None

    def _known_name(self, field: int) -> str:
        if len(self._spans) < field:
            raise _FaultError(
                f"{len(self._spans)} field{'s' if field > 2 else ''}; expected {_SHAPE}"
            )
        start, end = self._spans[field - 1]
        field_octets = memoryview(self._octets)[start:end]
        for name in (*AEADS, *AUTHENTICATIONS, *ENCRYPTIONS, *REFUSED):
            if field_octets == name.encode():
                if name in REFUSED:
                    raise _FaultError(f"field {field}: `{name}` is refused: {REFUSED[name]}")
                return name
        near = closest(bytes(field_octets).decode("latin-1"))
        hint = f"; did you mean `{near}`?" if near else " (not shown)"
        raise _FaultError(f"field {field}: unknown algorithm{hint}")

    def _key(self, field: int, name: str, lengths: Sequence[int], salt: int) -> bytearray:
        start, end = self._spans[field - 1]
        if end - start > 2 and self._octets[start : start + 2] == b"0x":
            start += 2
        for at in range(start, end):
            if self._octets[at] not in _HEX_VALUES:
                place = at - self._spans[field - 1][0] + 1
                raise _FaultError(
                    f"field {field} has a character that is not hex at position {place}"
                    " (character not shown)"
                )
        if (end - start) % 2:
            raise _FaultError(f"field {field} has an odd number of hex digits ({end - start})")
        key = self._unhex(start, end)
        if len(key) not in lengths:
            possible = _either([str(length) for length in sorted(lengths)])
            salted = f" (key plus {salt} bytes of salt)" if salt else ""
            raise _FaultError(
                f"field {field} has {len(key)} bytes; `{name}` needs {possible}{salted}"
            )
        if len(set(key[: len(key) - salt])) == 1:
            raise _FaultError(f"field {field} is not random: it repeats one byte")
        return key

    def _unhex(self, start: int, end: int) -> bytearray:
        """In place of bytes.fromhex, whose results cannot be overwritten."""
        key = bytearray((end - start) // 2)
        for place in range(len(key)):
            at = start + 2 * place
            key[place] = _HEX_VALUES[self._octets[at]] << 4 | _HEX_VALUES[self._octets[at + 1]]
        return key


def _either(words: Sequence[str]) -> str:
    return " or ".join(filter(None, (", ".join(words[:-1]), words[-1])))
