"""States and policies of IPsec adopted on Debian's own kernel, as this machine's may lack ESP."""

import pytest

from tests.guest.conftest import Guest

pytestmark = pytest.mark.guest

SECONDS = 300  # some times what it takes


def test_driver(guest: Guest) -> None:
    guest.pytest("tests/guest/inside_ipsec_driver.py", timeout=SECONDS)
