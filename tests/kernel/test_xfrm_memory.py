"""Keys that the kernel tells leave nothing in the memory of who reads them.

Here a file says what the kernel would say: that needs no ESP.  Only root may read the memory of
another process.
"""

from __future__ import annotations

import secrets
import subprocess
import sys
from pathlib import Path

import pytest

from dataplane.xfrm import requests
from dataplane.xfrm.attributes import Algorithm
from tests.kernel.process_memory import remains

pytestmark = pytest.mark.kernel

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
    message = requests.state("add", src="::", dst="::", spi=5, **{kind: Algorithm(name, key)})
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
