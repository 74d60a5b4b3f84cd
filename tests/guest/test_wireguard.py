"""WireGuard between real agents on Debian's own kernel, as this machine's may lack it."""

import pytest

from tests.guest.conftest import Guest

pytestmark = [pytest.mark.guest, pytest.mark.lab]

SECONDS = 1200  # some times what it takes


def test_wireguard_between_three_nodes(guest: Guest) -> None:
    """Lost packets and packets in clear, step by step, are printed: pytest -s."""
    print(guest.pytest("-rP", "tests/guest/inside_wireguard.py", timeout=SECONDS))
