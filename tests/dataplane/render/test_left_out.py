"""Which vectors about rules no renderer answers, and why; the other files count their own cases."""

from __future__ import annotations

import pytest

from tests.dataplane.render.vectors import cases

_LEFT_OUT = [
    # file               cases   reason
    ("endpoint-marks", 5, "only the chains of IPVS match on the endpoint mark; they are not built"),
    ("nflog-prefixes", 21, "only flow logs write NFLOG rules; they are not built"),
]


@pytest.mark.parametrize(("name", "count", "reason"), _LEFT_OUT)
def test_whole_files_left_out(name: str, count: int, reason: str) -> None:
    assert len(cases(name)) == count, reason
