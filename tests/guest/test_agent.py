"""The agent from start to stop on Debian's own kernel, with both backends of iptables."""

import sys
from pathlib import Path

import pytest

from tests.guest.conftest import Guest

pytestmark = pytest.mark.guest

SECONDS = 400  # some times what it takes
SCRIPT = Path(__file__).with_name("agent.sh")


@pytest.mark.parametrize("backend", ["NFT", "Legacy"])
def test_policy_holds_from_start_to_cleanup(guest: Guest, backend: str) -> None:
    felixpy = Path(sys.executable).with_name("felixpy")
    argv = ["bash", str(SCRIPT), str(felixpy)]
    done = guest.run(argv, timeout=SECONDS, env={"FELIX_IPTABLESBACKEND": backend})
    assert done.status == 0, done.output
