"""BIRD takes every golden configuration; it is asked to read them only, and starts nothing."""

from __future__ import annotations

import subprocess

import pytest

from tests.dataplane.bird.golden_cases import CASES, DIRECTORY

pytestmark = pytest.mark.kernel


@pytest.mark.parametrize("name", CASES)
def test_bird_accepts(name):
    read = subprocess.run(
        ["bird", "-p", "-c", str(DIRECTORY / f"{name}.conf")],
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )
    assert (read.returncode, read.stdout + read.stderr) == (0, "")
