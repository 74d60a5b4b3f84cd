"""IPsec's metrics: the names, and what is asked of the kernel for them."""

from __future__ import annotations

import pytest
from msgspec import structs

from dataplane.families import Family
from dataplane.ipsec.kernel import Counters, KernelState
from dataplane.ipsec.progress import PeerProgress
from dataplane.ipsec.status import IpsecStatus, StateStatus
from dataplane.ipsec.values import StateId
from dataplane.netlink import NetlinkError
from felixpy.ipsec import figures as module
from felixpy.ipsec.figures import IpsecFigures, with_counters
from felixpy.metrics import Figures, Metrics

SENDS = StateStatus("10.0.0.2", 0x13, 3, 4, receives=False, peer="b")
RECEIVES = StateStatus("10.0.0.1", 0x23, 3, 4, receives=True, peer="b")
KNOWN = IpsecStatus(
    peers=(PeerProgress("b", "encrypted"), PeerProgress("c", "closed")),
    states=(RECEIVES, SENDS),
)


class FakeKernel:
    def __init__(self, states: list[KernelState]) -> None:
        self.states = states
        self.closed = False

    async def read_states(self, family: Family) -> list[KernelState]:
        if not self.states:
            raise NetlinkError("reading states", 1)
        return [state for state in self.states if state.family == family]

    def close(self) -> None:
        self.closed = True


def kernel_state(shown: StateStatus, octets: int, packets: int) -> KernelState:
    return KernelState(
        StateId(shown.destination, shown.spi),
        "10.0.0.9",
        counters=Counters(octets, packets, 100, 200),
        replayed=1,
        integrity_failed=2,
    )


def test_counters_are_those_of_now(monkeypatch: pytest.MonkeyPatch) -> None:
    kernel = FakeKernel([kernel_state(SENDS, 10, 1)])
    monkeypatch.setattr(module, "open_xfrm", lambda _: kernel)
    receives, sends = with_counters(KNOWN, 1).states
    assert receives == RECEIVES  # it is gone meanwhile
    assert sends == structs.replace(
        SENDS, bytes=10, packets=1, added=100.0, used=200.0, replayed=1, integrity_failed=2
    )
    assert kernel.closed
    assert with_counters(IpsecStatus(), 1) == IpsecStatus()


def test_what_cannot_be_asked_is_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    kernel = FakeKernel([])
    monkeypatch.setattr(module, "open_xfrm", lambda _: kernel)
    assert with_counters(KNOWN, 1) == KNOWN
    assert kernel.closed


def lines(figures: Figures) -> list[str]:
    metrics = Metrics(lambda: figures, "n1", runtime=False, process=False)
    return metrics.page("").body.decode().splitlines()


def test_names() -> None:
    states = (
        structs.replace(RECEIVES, bytes=20, packets=2),
        structs.replace(SENDS, bytes=10, packets=1),
        structs.replace(SENDS, key=4, spi=0x14, bytes=5, packets=1),
    )
    figures = IpsecFigures(
        structs.replace(KNOWN, states=states), {3: 60.0, 4: 1.0}, 2, 1, {"XfrmInNoStates": 7}
    )
    said = [line for line in lines(Figures(ipsec=figures)) if "ipsec" in line and line[0] != "#"]
    assert said == [
        "felix_ipsec_key_file_errors_total 2.0",
        'felix_ipsec_key_age_seconds{id="3"} 60.0',
        'felix_ipsec_key_age_seconds{id="4"} 1.0',
        "felixpy_ipsec_rotations_total 1.0",
        'felixpy_ipsec_peers{stage="closed"} 1.0',
        'felixpy_ipsec_peers{stage="encrypted"} 1.0',
        'felixpy_ipsec_bytes{ip_version="4",node="b",way="received"} 20.0',
        'felixpy_ipsec_bytes{ip_version="4",node="b",way="sent"} 15.0',
        'felixpy_ipsec_packets{ip_version="4",node="b",way="received"} 2.0',
        'felixpy_ipsec_packets{ip_version="4",node="b",way="sent"} 2.0',
        'felixpy_ipsec_xfrm_errors_total{name="XfrmInNoStates"} 7.0',
    ]


def test_off_there_are_none() -> None:
    assert not [line for line in lines(Figures()) if "ipsec" in line]
