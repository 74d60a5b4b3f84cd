"""Each construct's whole configuration, as it was looked at and kept.

That BIRD takes each of them is asked in tests/kernel/test_bird_golden.py.
"""

from __future__ import annotations

import pytest

from tests.dataplane.bird.golden_cases import CASES, DIRECTORY


@pytest.mark.parametrize("name", CASES)
def test_the_text_is_the_golden_one(name):
    assert CASES[name].version().text == (DIRECTORY / f"{name}.conf").read_text()


def test_no_golden_file_is_without_a_case():
    assert {path.stem for path in DIRECTORY.glob("*.conf")} == set(CASES)
