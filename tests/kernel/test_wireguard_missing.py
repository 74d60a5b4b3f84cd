"""A node whose kernel may have no WireGuard: it says so, goes on with everything else, and is as
strict as it was asked to be.

What this machine's kernel has is asked first; the guest lane asks one that has it for all the rest.
"""

from __future__ import annotations

import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.guest import wireguard_manifests as manifests
from tests.kernel.agent_lab import Lab, eventually
from tests.kernel.conftest import Namespace

pytestmark = pytest.mark.kernel

KEY = "HIgo9xNzJMWLKASShiTqIybxZ0U3wGLiUeJ1PKf8ykw="
REMOTE = "10.65.2.2"
NO_MODULE = "no WireGuard"


@pytest.fixture
def has_wireguard(netns: Callable[[str], Namespace]) -> bool:
    return "yes" in netns("ask").run("ip link add wg0 type wireguard 2>&1 && echo yes; true")


@pytest.fixture
def lab(netns: Callable[[str], Namespace], tmp_path: Path) -> Lab:
    made = Lab(netns, tmp_path)
    wire = netns("wire")
    made.node.run(
        f"ip link add eth0 type veth peer name eth0 netns {wire.name}; ip link set eth0 up;"
        "ip addr add 172.31.0.1/24 dev eth0; ip addr add fd31::1/64 dev eth0 nodad;"
        "ip route add default via 172.31.0.254"
    )
    wire.run("ip link set eth0 up")
    made.write("pools.yaml", manifests.pools())
    made.write("n1.yaml", manifests.together(manifests.node(1), manifests.blocks(1)))
    made.write("n2.yaml", manifests.together(manifests.node(2, (KEY, "")), manifests.blocks(2)))
    return made


def way(lab: Lab) -> str:
    """Where the node sends to a workload of another node."""
    return lab.node.run(f"ip route get {REMOTE} 2>&1; true")


def said(lab: Lab) -> str:
    status = lab.status()
    return "" if status is None else " ".join(f"{p.about}: {p.text}" for p in status.problems)


@pytest.mark.parametrize("strict", [False, True])
def test_a_kernel_without_wireguard(lab: Lab, has_wireguard: bool, strict: bool) -> None:
    lab.configure(
        WireguardEnabled="true",
        WireguardStrict=str(strict).lower(),
        LogSeverityScreen="INFO",
    )
    agent = lab.launch()
    eventually(lambda: "in sync" in str(lab.status()), "any status")
    if has_wireguard:
        eventually(lambda: "wireguard.cali" in lab.node.run("ip link"), "the device")
        assert NO_MODULE not in said(lab)
        agent.end(signal.SIGTERM)
        return
    eventually(lambda: NO_MODULE in said(lab), "the status's word")
    status = lab.status()
    assert status is not None
    assert (status.dataplane.state, status.state) == ("in sync", "degraded")
    eventually(lambda: lab.reaches("w1", "w2"), "everything else")
    if strict:
        eventually(lambda: "No route to host" in way(lab), "strictness")
    else:
        eventually(lambda: "dev eth0" in way(lab), "a route in clear")
        assert "lookup 1" not in lab.node.run("ip rule")
    code, text = agent.end(signal.SIGTERM)
    assert code == 0
    assert NO_MODULE in text, text
