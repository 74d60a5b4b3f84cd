"""Where passwords come from, for the service and for commands."""

from __future__ import annotations

from pathlib import Path

import pytest

from felixpy.bgp import secrets_place as module
from felixpy.bgp.secrets_place import secrets_place, unit_credentials
from felixpy.config import Config


def test_where_secrets_are() -> None:
    config = Config(secrets_path="/etc/x")
    place = secrets_place(config, {"NAMESPACE": "kube-system", "CREDENTIALS_DIRECTORY": "/run/c"})
    assert (place.path, place.namespace, place.credentials) == (
        Path("/etc/x"),
        "kube-system",
        Path("/run/c"),
    )
    assert secrets_place(config, {}).credentials is None


def test_a_command_finds_the_unit_s_credentials(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    of_unit = tmp_path / "felixpy.service"
    monkeypatch.setattr(module, "_OF_UNIT", of_unit)
    assert unit_credentials({}) is None
    of_unit.mkdir()
    assert unit_credentials({}) == of_unit
    assert unit_credentials({"CREDENTIALS_DIRECTORY": "/run/c"}) == Path("/run/c")
    # the service has none where it is told of none
    assert secrets_place(Config(felix_hostname="n1"), {}).credentials is None
