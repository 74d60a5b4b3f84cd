"""Keys that the kernel is told, or tells, leave nothing in the memory of who writes or reads them.

Here a file says what the kernel would say: that needs no ESP.  Only root may read the memory of
another process.
"""

from __future__ import annotations

import secrets
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from dataplane.xfrm import requests
from dataplane.xfrm.attributes import Algorithm
from tests.kernel.conftest import Namespace
from tests.kernel.process_memory import remains

pytestmark = pytest.mark.kernel

SENDER = """
import asyncio, sys
from dataplane.ipsec.kernel import StateAdd, open_xfrm
from dataplane.ipsec.keys import Algorithm, Material
from dataplane.ipsec.values import StateId, StateWish

async def main():
    octets = bytearray(36)
    with open(sys.argv[1], "rb", buffering=0) as given:
        given.readinto(octets)
    wish = StateWish(StateId("192.0.2.1", 5), "192.0.2.2", 5, receives=True)
    with Material(Algorithm("rfc4106(gcm(aes))", 128), octets) as material:
        await open_xfrm(7).change([StateAdd(wish, material)])

asyncio.run(main())
print("done", flush=True)
sys.stdin.readline()
"""
READER = """
import sys
from dataplane.ipsec.keys import fingerprint
from dataplane.xfrm.privacy import conceal

view = memoryview(bytearray(1 << 16))
with open(sys.argv[1], "rb", buffering=0) as told:
    length = told.readinto(view)
if sys.argv[2] == "concealed":
    conceal(view[:length], fingerprint)
print("done", flush=True)
sys.stdin.readline()
"""
AEAD = ("aead", "rfc4106(gcm(aes))", 36)
CIPHERS = [AEAD, ("auth", "hmac(sha512)", 64), ("crypt", "cbc(aes)", 32)]


@pytest.mark.parametrize(("how", "stays"), [("concealed", False), ("as it is", True)])
@pytest.mark.parametrize(("kind", "name", "length"), CIPHERS)
def test_no_key_stays(tmp_path: Path, kind, name, length, how, stays):
    key = secrets.token_bytes(length)
    algorithm: dict[str, Any] = {kind: Algorithm(name, key)}
    message = requests.state("add", src="::", dst="::", spi=5, **algorithm)
    message["header"].update(sequence_number=0, pid=0)
    message.encode()
    path = tmp_path / "told"
    path.write_bytes(message.data)
    with subprocess.Popen(
        [sys.executable, "-c", READER, str(path), how],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as reader:
        assert reader.stdout.readline() == "done\n"
        assert remains(key, reader.pid) == stays
        reader.communicate("\n")
    assert reader.returncode == 0


def test_nothing_stays_of_what_is_sent(tmp_path: Path, inside: Namespace):
    """Whether the kernel takes it or not."""
    key = secrets.token_bytes(36)
    path = tmp_path / "given"
    path.write_bytes(key)
    sender = inside.start(sys.executable, "-c", SENDER, str(path))
    assert sender.stdout.readline() == "done\n"
    assert not remains(key, sender.pid)
    sender.communicate("\n")
    assert sender.returncode == 0
