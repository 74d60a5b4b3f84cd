"""What `ip` shows of IPsec in a namespace, an object to a line, without keys.

    policies(node)  "src 10.65.2.0/26 dst 10.65.1.0/26 dir fwd priority 506 mark 0xd00/0xf00 …"
    states(node)    "src 172.31.0.2 dst 172.31.0.1 proto esp spi 0x0000000e reqid 1 mode tunnel …"
    rules(node)     "1: from all fwmark 0xd00/0xf00 lookup 200 proto 50"
    table(node)     "10.65.2.0/26 via 172.31.0.2 dev eth0 proto 50 mtu 1446"

So the kernel is seen by another pair of eyes than felixpy's own.
"""

from __future__ import annotations

import re

from tests.kernel.conftest import Namespace

_KEY = re.compile(r"0x[0-9a-f]{16,}")
_FAMILIES = (4, 6)


def policies(node: Namespace) -> list[str]:
    return _objects(node.run("ip xfrm policy"))


def states(node: Namespace) -> list[str]:
    return _objects(node.run("ip xfrm state"))


def rules(node: Namespace) -> list[str]:
    text = "".join(node.run(f"ip -{family} rule") for family in _FAMILIES)
    return [" ".join(line.split()) for line in text.splitlines()]


def table(node: Namespace, number: int) -> list[str]:
    """Empty where there is none: `ip` makes an error of that."""
    shown = (
        node.run(f"ip -{family} route show table {number} 2>/dev/null", check=False)
        for family in _FAMILIES
    )
    return [" ".join(line.split()) for line in "".join(shown).splitlines()]


def _objects(text: str) -> list[str]:
    """Each begins at the margin."""
    blocks = re.split(r"^(?=src )", _KEY.sub("KEY", text), flags=re.MULTILINE)
    return [" ".join(block.split()) for block in blocks if block.strip()]
