"""Key files for tests."""

from __future__ import annotations

import hashlib
from pathlib import Path

GCM = "rfc4106(gcm(aes))"


def secret_of(word: str) -> str:
    """40 hex digits that are always the same."""
    return hashlib.sha256(word.encode()).hexdigest()[:40]


def line(key_id: int | str, word: str = "") -> str:
    return f"{key_id} {GCM} {secret_of(word or str(key_id))} 128\n"


def write(path: Path, text: str, mode: int = 0o600) -> None:
    """By a rename, as a careful writer does it."""
    scratch = path.with_name(f".{path.name}.tmp")
    scratch.touch(0o600)
    scratch.write_text(text)
    scratch.chmod(mode)
    scratch.rename(path)
