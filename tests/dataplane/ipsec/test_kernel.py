"""Who has no IPsec does not pay for what it needs."""

from __future__ import annotations

import subprocess
import sys

IMPORTS = """
import sys
import dataplane.dataplane, dataplane.ipsec.kernel, dataplane.ipsec.keys
assert "pyroute2" not in sys.modules
dataplane.ipsec.kernel.open_xfrm(1)
assert "pyroute2" in sys.modules
"""


def test_pyroute2_is_imported_when_the_kernel_is_first_asked():
    subprocess.run([sys.executable, "-c", IMPORTS], check=True)
