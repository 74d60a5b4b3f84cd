"""Secrets for tests, and the one password that must turn up nowhere."""

from __future__ import annotations

import base64
from pathlib import Path

from calc_graph.bgp.resources import SecretRef

HIDDEN = "xyzzy-Plugh-42"
REF = SecretRef("bgp-secrets", "rr-password")


def secret(value: str, *, name: str = REF.name, key: str = REF.key, namespace: str = "") -> str:
    where = f", namespace: {namespace}" if namespace else ""
    encoded = base64.b64encode(value.encode()).decode()
    head = f"apiVersion: v1\nkind: Secret\nmetadata: {{name: {name}{where}}}"
    return f"{head}\ndata:\n  {key}: {encoded}\n"


def write(path: Path, text: str, mode: int = 0o600) -> None:
    """By a rename, as a careful writer does it; nobody else may read it at any time."""
    scratch = path.with_name(f".{path.name}.tmp")
    scratch.touch(0o600)
    scratch.write_text(text)
    scratch.chmod(mode)
    scratch.rename(path)
