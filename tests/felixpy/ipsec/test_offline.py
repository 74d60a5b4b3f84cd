"""What the kernel says of IPsec while no agent is there."""

from __future__ import annotations

import pytest

from dataplane.families import Family
from dataplane.ipsec.kernel import Counters, KernelState
from dataplane.ipsec.status import IpsecStatus, StateStatus
from dataplane.ipsec.values import DECRYPTED, MARK_MASK, StateId
from felixpy.ipsec import offline

STATES = (
    KernelState(StateId("10.0.0.2", 0x13), "10.0.0.1", reqid=7, counters=Counters(5, 1, 2, 3)),
    KernelState(
        StateId("10.0.0.1", 0x24),
        "10.0.0.2",
        reqid=7,
        set_mark=DECRYPTED,
        set_mark_mask=MARK_MASK,
    ),
    KernelState(StateId("10.0.0.1", 0xC0000001), "10.0.0.2", reqid=1),  # of somebody else
    KernelState(StateId("10.0.0.1", 0x25), "10.0.0.2", reqid=7, mode=0),
    KernelState(StateId("fd00::2", 0x13), "fd00::1", reqid=7),
)


class FakeKernel:
    closed = False

    async def read_states(self, family: Family) -> list[KernelState]:
        return [state for state in STATES if state.family == family]

    def close(self) -> None:
        self.closed = True


def test_states_with_our_reqid_by_the_address_of_the_other_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    kernel = FakeKernel()
    monkeypatch.setattr(offline, "open_xfrm", lambda reqid: kernel)
    sends = StateStatus("10.0.0.2", 0x13, 3, 4, False, "10.0.0.2", 5, 1, 2.0, 3.0)
    receives = StateStatus("10.0.0.1", 0x24, 4, 4, True, "10.0.0.2")
    six = StateStatus("fd00::2", 0x13, 3, 6, False, "fd00::2")
    assert offline.read_kernel(7) == IpsecStatus(states=(sends, receives, six))
    assert kernel.closed
