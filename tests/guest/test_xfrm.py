"""States of IPsec on Debian's own kernel, as this machine's may lack ESP."""

import pytest

from tests.guest.conftest import Guest

pytestmark = pytest.mark.guest

SECONDS = 600  # some times what it takes


def test_xfrm(guest: Guest) -> None:
    guest.pytest("tests/guest/inside_xfrm.py", timeout=SECONDS)
