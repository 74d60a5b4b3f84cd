"""What all dialects share: the comment on top, and what is said about passwords."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from felixpy.bgp.upstream.header import header, safe_comment
from felixpy.bgp.upstream.model import Session, Upstream

PLACEHOLDER: Final = "REPLACE-ME"  # where a password has to go; none is ever printed


def document(upstream: Upstream, lines: Sequence[str], mark: str, dialect: tuple[str, ...]) -> str:
    """The whole text: header, then `lines`; `mark` starts a comment."""
    body = "\n".join(lines) + "\n"
    return "".join(f"{mark} {line}\n" for line in header(upstream, body, dialect)) + body


def comment(mark: str, text: str) -> str:
    return f"{mark} {safe_comment(text)}"


def password_note(session: Session) -> str:
    """Where the password is to be found; "" for a session without."""
    secret = session.peering.password
    return "" if secret is None else f"password: Secret {secret.name}, key {secret.key}"
