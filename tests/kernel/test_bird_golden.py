"""BIRD takes every golden configuration, and any that hostile resources come to.

It is asked to read them only, and starts nothing.
"""

from __future__ import annotations

import subprocess
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings

from tests.dataplane.bird.golden_cases import CASES, DIRECTORY
from tests.dataplane.bird.hostile_values import hostile_values

pytestmark = pytest.mark.kernel


def bird_reads(file: Path) -> tuple[int, str]:
    read = subprocess.run(
        ["bird", "-p", "-c", str(file)], capture_output=True, text=True, timeout=20, check=False
    )
    return read.returncode, read.stdout + read.stderr


@pytest.mark.parametrize("name", CASES)
def test_bird_accepts(name):
    assert bird_reads(DIRECTORY / f"{name}.conf") == (0, "")


@given(hostile_values())
@settings(max_examples=40, deadline=None)
def test_bird_accepts_whatever_is_in_the_resources(hostile):
    with tempfile.NamedTemporaryFile("w", suffix=".conf") as file:
        file.write(hostile.version().text)
        file.flush()
        assert bird_reads(Path(file.name)) == (0, "")
