"""What may be a password of BGP, and what is said where something may not.

    in   the bytes that stand under a key of a Secret
    out  Password, or the reason why they are none: never a part of them, nor their length

BIRD 2.0.12 takes what is between two quotation marks as it stands: it knows no escapes, accepts
passwords that are empty or too long and then keeps the session down, and cuts at a NUL.  So what it
cannot be given is refused here, and never shortened, stripped or left out.
Source: section 4.2 of the BGP reference.
"""

from __future__ import annotations

from typing import Final

from dataplane.bird.credentials import Password

MAX_BYTES: Final = 80  # TCP_MD5SIG_MAXKEYLEN of linux/tcp.h

EMPTY: Final = "is empty"
ENDS_WITH_NEWLINE: Final = (
    "ends with a newline, which is no part of a password: in YAML write it without `|`,"
    " in a shell use `echo -n`"
)
TOO_LONG: Final = f"is longer than {MAX_BYTES} characters"
NOT_ASCII: Final = "holds a character that is not ASCII"
CONTROL: Final = "holds a control character"
QUOTE: Final = "holds a quotation mark, which BIRD has no way to write"


def judge(value: bytes) -> Password | str:
    """The password, or why it is none, as the rest of a sentence about it."""
    if not value:
        return EMPTY
    if value.endswith((b"\n", b"\r")):
        return ENDS_WITH_NEWLINE
    if len(value) > MAX_BYTES:
        return TOO_LONG
    if not value.isascii():
        return NOT_ASCII
    if any(byte < 0x20 or byte == 0x7F for byte in value):
        return CONTROL
    if b'"' in value:
        return QUOTE
    return Password(value.decode("ascii"))


def suits_frr(password: Password) -> bool:
    """FRR 8.4.4 takes a password with a space for an unknown command, and runs without it."""
    return " " not in password.reveal()
