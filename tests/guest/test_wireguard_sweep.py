"""The end of WireGuard, with its device, on Debian's own kernel."""

import pytest

from tests.guest.conftest import Guest

pytestmark = pytest.mark.guest

SECONDS = 800  # some times what it takes


def test_cleanup_takes_the_device(guest: Guest) -> None:
    guest.pytest("tests/guest/inside_wireguard_sweep.py", timeout=SECONDS)
