"""The states of local endpoints, as the kernel's links come, go, and change."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable

import pytest

from calc_graph.model import HostEndpointKey
from dataplane.dataplane import Dataplane
from tests.dataplane.desired.builders import hep, wep_gone, wep_key
from tests.kernel.conftest import Namespace
from tests.kernel.test_dataplane import OPEN, Lab, endpoint

pytestmark = pytest.mark.kernel

W1, UPLINK = wep_key("w1"), HostEndpointKey("here", "uplink")


class Reporter:
    """Applies, and keeps what has been taken."""

    def __init__(self, lab: Lab) -> None:
        self.lab = lab
        self.states: dict[object, str] = {}

    @property
    def dataplane(self) -> Dataplane:
        assert self.lab.dataplane is not None
        return self.lab.dataplane

    def _look(self, key: object, state: str) -> bool:
        for changed, value in self.dataplane.take_endpoint_changes().items():
            if value is None:
                del self.states[changed]
            else:
                self.states[changed] = value.state
                if value.state == "up" and changed == W1:
                    self._check_guarded()
        return self.states.get(key, "") == state

    def _check_guarded(self) -> None:
        """What lets a workload start has to be there when it is told."""
        run = self.lab.node.run
        for command in ("iptables-nft", "ip6tables-nft"):
            rules = run(f"{command}-save -t filter")
            assert "-A cali-to-wl-dispatch -o cali1 " in rules
            assert "-A cali-tw-cali1 " in rules
        assert run("cat /proc/sys/net/ipv4/conf/cali1/rp_filter") == "1\n"
        assert "10.65.0.1 dev cali1" in self.lab.routes()
        assert "fd65::1 dev cali1" in self.lab.routes()
        assert "10.65.0.1 " in run("ip neigh show dev cali1 nud permanent")

    async def until(self, key: object, state: str) -> None:
        await self.lab.until(lambda: self._look(key, state))


@pytest.fixture
async def lab(inside: Namespace, netns: Callable[[str], Namespace]) -> AsyncIterator[Lab]:
    lab = Lab(inside, netns)
    yield lab
    await lab.close()


async def test_a_workload_that_is_told_before_its_interface_is_there(lab: Lab) -> None:
    reporter = Reporter(lab)
    await lab.start()
    assert not reporter.dataplane.in_force
    await lab.told(OPEN, endpoint(1))
    assert reporter.dataplane.in_force
    await reporter.until(W1, "down")
    lab.plug(1)
    await reporter.until(W1, "up")
    lab.node.run("ip link set cali1 down")
    await reporter.until(W1, "down")
    lab.node.run("ip link set cali1 up")
    await reporter.until(W1, "up")
    lab.workloads[1].run("ip link set eth0 down")  # no carrier
    await reporter.until(W1, "down")
    lab.workloads[1].run("ip link set eth0 up")
    await reporter.until(W1, "up")
    lab.unplug(1)
    await reporter.until(W1, "down")
    await lab.told(wep_gone("w1"))
    await reporter.until(W1, "")
    assert reporter.states == {}


async def test_a_host_endpoint_follows_its_interface(lab: Lab) -> None:
    reporter = Reporter(lab)
    run = lab.node.run
    await lab.start()
    reporter.dataplane.desire([hep("uplink", "", "192.0.2.1", "192.0.2.2")])
    await reporter.until(UPLINK, "error")
    run(
        "ip link add up0 type veth peer name far0; ip addr add 192.0.2.1/32 dev up0;"
        "ip link set up0 up"
    )
    await reporter.until(UPLINK, "down")  # no carrier
    run("ip link set far0 up")
    await reporter.until(UPLINK, "up")
    run("ip link add up1 type veth peer name far1; ip addr add 192.0.2.2/32 dev up1")
    await reporter.until(UPLINK, "down")
    run("ip link set far1 up; ip link set up1 up")
    await reporter.until(UPLINK, "up")
    run("ip link del up0; ip link del up1")
    await reporter.until(UPLINK, "error")
