"""The key file: what it may hold, what is said where it does not, and never a key in that."""

from __future__ import annotations

import re
import secrets

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from dataplane.ipsec.keys import Algorithm
from felixpy.ipsec.algorithms import AEADS, AUTHENTICATIONS, ENCRYPTIONS, REFUSED
from felixpy.ipsec.keyfile import MAX_BYTES, KeyFileError, parse

GCM = "rfc4106(gcm(aes))"
K16 = "00112233445566778899aabbccddeeff"
K20 = K16 + "01020304"
K32 = K16 + K16[::-1]


def read(text):
    return parse(bytearray(text.encode()), "keys")


def octets_of(key):
    material = key.material(_AsItIs)
    return b"".join(material.keys)


class _AsItIs:
    life = ""


@pytest.mark.parametrize(
    "text",
    [
        f"3 {GCM} {K20} 128",
        f"3 {GCM} 0x{K20} 128\n",
        f"3 {GCM} {K20.upper()} 128\r\n",
        f" \t3\t {GCM}  {K20}   128 \n",
        f"# of Monday\n\n   \n3 {GCM} {K20} 128\n\n  # the end",
    ],
)
def test_ways_to_write_the_same(text):
    found = read(text)
    assert [*found.ring] == [3]
    assert found.ring[3].algorithm == Algorithm(aead=GCM, icv_bits=128)
    assert octets_of(found.ring[3]) == bytes.fromhex(K20)
    assert (found.asks_pair, found.notes) == (False, ())


def test_two_algorithms():
    found = read(f"15 hmac(sha256) {K32} cbc(aes) {K16}")
    algorithm = Algorithm(auth="hmac(sha256)", trunc_bits=128, encryption="cbc(aes)")
    assert found.ring[15].algorithm == algorithm
    material = found.ring[15].material(_AsItIs)
    assert material.keys == (bytes.fromhex(K32), bytes.fromhex(K16))


def test_a_plus_asks_for_pairs():
    assert read(f"3+ {GCM} {K20} 128").asks_pair
    assert read(f"3 {GCM} {K20} 128\n4+ {GCM} {K20} 128").asks_pair


def test_several_records_are_a_ring_whatever_their_order():
    found = read("".join(f"{n} {GCM} {K20} 128\n" for n in (15, 2, 1)))
    assert [*found.ring] == [2, 1, 15]


def test_where_none_is_the_newest_the_last_one_is_and_a_note_says_so():
    found = read("".join(f"{n} {GCM} {K20} 128\n" for n in (1, 6, 11)))
    assert found.ring.newest == 11
    assert found.notes == (
        "of the key IDs 1, 6, 11 none is the newest: the last one is taken for it",
    )


def test_an_old_algorithm_is_taken_with_a_note():
    found = read(f"3 hmac(sha1) {K20} cbc(aes) {K32}")
    assert found.notes == ("key 3: SHA-1 is old; hmac(sha256) is better",)


@pytest.mark.parametrize(
    ("name", "length", "icv"),
    [(a.name, n, icv) for a in AEADS.values() for n in a.key_bytes for icv in a.icv_bits],
)
def test_each_aead_of_the_table(name, length, icv):
    key = read(f"1 {name} {secrets.token_hex(length)} {icv}").ring[1]
    assert (key.algorithm.aead, key.algorithm.icv_bits) == (name, icv)


@pytest.mark.parametrize("auth", AUTHENTICATIONS.values(), ids=lambda each: each.name)
@pytest.mark.parametrize("encryption", ENCRYPTIONS.values(), ids=lambda each: each.name)
def test_each_pair_of_the_table(auth, encryption):
    for length in encryption.key_bytes:
        keys = secrets.token_hex(auth.key_bytes), secrets.token_hex(length)
        key = read(f"1 {auth.name} {keys[0]} {encryption.name} {keys[1]}").ring[1]
        assert octets_of(key) == bytes.fromhex("".join(keys))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "no key in it: expected `ID ALGORITHM KEY ICV`"),
        ("# nothing\n\n", "no key in it: expected `ID ALGORITHM KEY ICV`"),
        (f"{GCM} {K20} 128", "line 1: field 1 must be a key ID from 1 to 15"),
        (f"0 {GCM} {K20} 128", "line 1: key ID 0 is reserved; IDs run from 1 to 15"),
        (f"16 {GCM} {K20} 128", "line 1: key ID 16 is out of range; after 15 comes 1"),
        (f"03 {GCM} {K20} 128", "line 1: field 1 must be a plain number from 1 to 15"),
        (f"+3 {GCM} {K20} 128", "line 1: field 1 must be a plain number from 1 to 15"),
        (f"-3 {GCM} {K20} 128", "line 1: field 1 must be a plain number from 1 to 15"),
        (f"3.0 {GCM} {K20} 128", "line 1: field 1 must be a plain number from 1 to 15"),
        (f"0x3 {GCM} {K20} 128", "line 1: field 1 must be a plain number from 1 to 15"),
        (f"3++ {GCM} {K20} 128", "line 1: field 1 must be a key ID from 1 to 15"),
        ("3", "line 1: 1 field; expected `ID ALGORITHM KEY ICV`"),
        (
            f"3 {GCM} {K20} 128 x",
            f"line 1: `{GCM}` is an AEAD algorithm and takes 4 fields, found 5",
        ),
        (f"3 {GCM} {K20}", f"line 1: `{GCM}` is an AEAD algorithm and takes 4 fields, found 3"),
        (f"3 {GCM} {K20[:-1]} 128", "line 1: field 3 has an odd number of hex digits (39)"),
        (
            f"3 {GCM} 001122g344 128",
            "line 1: field 3 has a character that is not hex at position 7 (character not shown)",
        ),
        (
            f"3 {GCM} 0x0x{K20} 128",
            "line 1: field 3 has a character that is not hex at position 4 (character not shown)",
        ),
        (
            f"3 {GCM} {K16} 128",
            f"line 1: field 3 has 16 bytes; `{GCM}` needs 20, 28 or 36 (key plus 4 bytes of salt)",
        ),
        (
            f"3 {GCM} {K20} 256",
            f"line 1: field 4: ICV length 256 is not possible for `{GCM}`; it has 64, 96 or 128"
            " bits",
        ),
        (
            f"3 {GCM} 128 {K20}",
            "line 1: field 3 has an odd number of hex digits (3)",
        ),
        (
            f"3 {GCM} {K20} {K20}",
            f"line 1: field 4: this ICV length is not possible for `{GCM}`; it has 64, 96 or 128"
            " bits",
        ),
        (f"3 gcm(aes) {K20} 128", f"line 1: field 2: unknown algorithm; did you mean `{GCM}`?"),
        (f"3 {K20} {GCM} 128", "line 1: field 2: unknown algorithm (not shown)"),
        (
            f"3 hmac(sha256) {K32} cbc(aes)",
            "line 1: `hmac(sha256)` is no AEAD algorithm; the two-algorithm form has 5 fields,"
            " found 4",
        ),
        (
            f"3 hmac(sha256) {K32} cbc(aes) {K32} 10.0.0.1",
            "line 1: `hmac(sha256)` is no AEAD algorithm; the two-algorithm form has 5 fields,"
            " found 6",
        ),
        (
            f"3 cbc(aes) {K32} hmac(sha256) {K32}",
            "line 1: field 2: `cbc(aes)` encrypts only; the algorithm that authenticates stands"
            " before it",
        ),
        (
            f"3 hmac(sha256) {K32} {GCM} {K20}",
            f"line 1: field 4: `{GCM}` authenticates by itself; behind `hmac(sha256)` a cipher is"
            " expected",
        ),
        (
            f"3 hmac(sha256) {K32} hmac(sha256) {K32}",
            "line 1: field 4: `hmac(sha256)` does not encrypt; behind `hmac(sha256)` a cipher is"
            " expected",
        ),
        (
            f"3 hmac(sha256) {K20} cbc(aes) {K32}",
            "line 1: field 3 has 20 bytes; `hmac(sha256)` needs 32",
        ),
        (
            f"3 hmac(sha256) {K32} cbc(aes) {K20}",
            "line 1: field 5 has 20 bytes; `cbc(aes)` needs 16, 24 or 32",
        ),
        (f"3 {GCM} {'00' * 20} 128", "line 1: field 3 is not random: it repeats one byte"),
        (f"3 {GCM} {'ab' * 16}{K16[:8]} 128", "line 1: field 3 is not random: it repeats one byte"),
        (
            f"3 hmac(sha256) {K32} cbc(aes) {'00' * 16}",
            "line 1: field 5 is not random: it repeats one byte",
        ),
        (f"3 {GCM} {K20} 128\n3 {GCM} {K20} 128", "line 2: key ID 3 is on line 1 already"),
        (f"\n\n3 x y z\n4 {GCM} {K16} 128", None),
        ("3 " + "a" * 1023, "line 1: has more than 1024 characters"),
        ("\n" * (MAX_BYTES + 1), "has more than 65536 bytes"),
        (
            "".join(f"{n} {GCM} {K20} 128\n" for n in range(1, 9)),
            "8 keys; at most 7 may be in use at once",
        ),
    ],
)
def test_what_is_said_about_bad_lines(text, said):
    with pytest.raises(KeyFileError) as raised:
        read(text)
    if said is None:  # all that is wrong is told at once
        assert re.match(r"keys: line 3: .*; line 4: field 3 has 16 bytes", str(raised.value))
    else:
        assert str(raised.value) == f"keys: {said}"


@pytest.mark.parametrize("name", REFUSED)
def test_weak_algorithms_are_refused_by_name(name):
    with pytest.raises(KeyFileError, match=rf"`{re.escape(name)}` is refused: it"):
        read(f"3 {name} {K20} 128")


# ---------------------------------------------------------------- nothing shows a key

HEX = st.binary(min_size=1, max_size=40).map(bytes.hex)
NAMES = st.sampled_from([*AEADS, *AUTHENTICATIONS, *ENCRYPTIONS, *REFUSED, "gcm(aes)"])
NUMBERS = st.integers(0, 300).map(str)
FIELDS = st.one_of(HEX, HEX.map("0x{}".format), NAMES, NUMBERS, st.text(max_size=8))
TEXTS = st.lists(
    st.lists(FIELDS, max_size=7).map(" ".join), max_size=4
).map("\n".join)  # fmt: skip
KNOWN = (*AEADS, *AUTHENTICATIONS, *ENCRYPTIONS, *REFUSED)


@given(TEXTS)
@example(f"{K20} {GCM} 3 128")
@example(f"3 {K20} {GCM} 128")
@example(f"3 hmac(sha256) cbc(aes) {K20} {K20}")
@settings(max_examples=400, deadline=None)
def test_no_error_holds_a_piece_of_the_input(text):
    try:
        shown = repr(read(text))
        # what a check value has in common with a key it has by chance
        shown = re.sub(r"check [0-9a-f]{16}", "", shown)
    except KeyFileError as error:
        shown = str(error)
        assert error.__cause__ is None
        assert error.__context__ is None
    for name in KNOWN:
        shown = shown.replace(name, "")
    for run in re.findall(r"[0-9a-fA-F]{4,}", text):
        for at in range(len(run) - 3):
            assert run[at : at + 4] not in shown or run[at : at + 4] in ("1024", "6553", "5536")


@given(st.binary(max_size=300))
def test_no_octets_do_anything_else_than_be_refused(octets):
    with pytest.raises(KeyFileError):
        parse(octets, "keys")


@given(st.binary(min_size=1, max_size=60), st.integers(0, 70))
def test_a_record_with_something_in_it(noise, at):
    record = f"3 {GCM} {K20} 128".encode()
    try:
        found = parse(record[:at] + noise + record[at:], "keys")
    except KeyFileError:
        return
    assert set(found.ring) <= set(range(1, 16))
