"""Whole texts, for people to read: each vendor and role, as a paste would be.

After a wanted change: python -m tests.felixpy.bgp.upstream.test_golden
"""

from __future__ import annotations

from pathlib import Path

import pytest

from felixpy.bgp.upstream.render import RENDERERS
from tests.felixpy.bgp.upstream.matrix import (
    COARSE_BORDER,
    COARSE_SPINE,
    EXACT_TOR,
    FABRIC_TOR,
    Setting,
)
from tests.felixpy.bgp.upstream.rendering import text_of

GOLDEN = Path(__file__).parent / "golden"
SETTINGS = (EXACT_TOR, FABRIC_TOR, COARSE_SPINE, COARSE_BORDER)


def golden(setting: Setting, vendor: str) -> Path:
    return GOLDEN / f"{setting.label}.{vendor}"


@pytest.mark.parametrize("setting", SETTINGS, ids=lambda setting: setting.label)
@pytest.mark.parametrize("vendor", RENDERERS)
def test_texts_are_as_they_were_read_last(vendor, setting):
    assert text_of(setting, vendor) == golden(setting, vendor).read_text()


def test_no_text_is_left_over():
    assert {each.name for each in GOLDEN.iterdir()} == {
        golden(setting, vendor).name for setting in SETTINGS for vendor in RENDERERS
    }


if __name__ == "__main__":
    for setting in SETTINGS:
        for vendor in RENDERERS:
            golden(setting, vendor).write_text(text_of(setting, vendor))
