"""Policies of both families in one kernel, which numbers them in one list."""

from __future__ import annotations

import pytest

from dataplane.families import Family
from dataplane.ipsec.driver import IpsecDriver
from dataplane.ipsec.kernel import KernelPolicy, open_xfrm
from dataplane.ipsec.ours import claim_of_policy
from dataplane.ipsec.values import EVERYWHERE, PolicyId, PolicyWish, Selector
from tests.kernel.conftest import Namespace
from tests.kernel.conftest import inside as inside
from tests.kernel.conftest import netns as netns

pytestmark = pytest.mark.kernel

REQID = 1
NETS: dict[Family, tuple[str, ...]] = {
    4: ("10.65.2.0/26", "10.65.3.0/26"),
    6: ("fd65:0:0:2::/122", "fd65:0:0:3::/122"),
}


def wishes(family: Family) -> dict[PolicyId, PolicyWish | None]:
    ids = [PolicyId("out", Selector(EVERYWHERE[family], net)) for net in NETS[family]]
    return {name: PolicyWish(name, 1006, "block") for name in ids}


async def test_both_families_carry_the_signature(inside: Namespace) -> None:
    xfrm = open_xfrm(REQID)
    found: list[KernelPolicy] = []
    for _ in range(2):
        for family in NETS:
            driver = IpsecDriver(family, REQID, lambda: xfrm)
            driver.desire({}, wishes(family))
            await driver.additions()
        found = [p for family in NETS for p in await xfrm.read_policies(family)]
    xfrm.close()
    assert [claim_of_policy(policy, REQID) for policy in found] == ["ours"] * 4
