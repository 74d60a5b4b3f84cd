"""IPIP, which the kernel of this machine may lack, on Debian's own."""

import pytest

from tests.guest.conftest import Guest

pytestmark = pytest.mark.guest

SECONDS = 400  # some times what it takes


def test_ipip_between_two_nodes(guest: Guest) -> None:
    guest.pytest("tests/guest/inside_ipip.py", timeout=SECONDS)
