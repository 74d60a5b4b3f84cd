"""The kernel's counters of TCP-MD5."""

from __future__ import annotations

import pytest

from felixpy.bgp.netstat import SignatureFaults, parse_netstat, read_signature_faults

REAL = """\
TcpExt: SyncookiesSent TCPMD5NotFound TCPMD5Unexpected TCPMD5Failure TCPSackShifted
TcpExt: 9 1 2 3 8
IpExt: InNoRoutes
IpExt: 4
"""
CASES = [
    (REAL, SignatureFaults(missing=1, unexpected=2, wrong=3)),
    (REAL.replace("TCPMD5Failure", "Other"), SignatureFaults(missing=1, unexpected=2)),
    ("", SignatureFaults()),
]


@pytest.mark.parametrize(("text", "expected"), CASES)
def test_what_the_kernel_prints_is_understood(text: str, expected: SignatureFaults) -> None:
    assert parse_netstat(text) == expected


def test_what_came_in_between() -> None:
    assert SignatureFaults(3, 2, 9).since(SignatureFaults(1, 2, 4)) == SignatureFaults(2, 0, 5)


def test_this_kernel_is_understood() -> None:
    assert read_signature_faults().since(read_signature_faults()) == SignatureFaults()
