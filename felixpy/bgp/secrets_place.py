"""Where passwords come from: a directory of Secrets, and systemd's credentials.

    in   the parameters, the environment
    out  SecretsPlace

systemd tells the service alone, by $CREDENTIALS_DIRECTORY, where its credentials are; a command
finds them where systemd puts those of our unit.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final

from msgspec import Struct

from felixpy.config import Config, secrets_namespace

_OF_UNIT: Final = Path("/run/credentials/felixpy.service")


class SecretsPlace(Struct, frozen=True):
    """`credentials`: the directory of systemd's credentials, None where there are none."""

    path: Path
    namespace: str
    credentials: Path | None = None


def secrets_place(config: Config, environ: Mapping[str, str]) -> SecretsPlace:
    """For the service."""
    return SecretsPlace(
        Path(config.secrets_path).absolute(), secrets_namespace(environ), _told(environ)
    )


def unit_credentials(environ: Mapping[str, str]) -> Path | None:
    """For a command: the directory that `secrets_place` has in the service."""
    return _told(environ) or (_OF_UNIT if _OF_UNIT.is_dir() else None)


def _told(environ: Mapping[str, str]) -> Path | None:
    told = environ.get("CREDENTIALS_DIRECTORY", "")
    return Path(told) if told else None
