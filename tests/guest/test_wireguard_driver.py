"""WireGuard's device and peers on Debian's own kernel, as this machine's may lack it."""

import pytest

from tests.guest.conftest import Guest

pytestmark = pytest.mark.guest

SECONDS = 600  # some times what it takes


def test_wireguard_driver(guest: Guest) -> None:
    guest.pytest("tests/guest/inside_wireguard_driver.py", timeout=SECONDS)
