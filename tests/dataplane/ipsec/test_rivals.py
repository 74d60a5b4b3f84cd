from __future__ import annotations

import pytest
from msgspec import structs

from dataplane.ipsec.kernel import KernelPolicy
from dataplane.ipsec.rivals import ahead_of
from dataplane.ipsec.values import PolicyId, PolicyWish, Selector

OURS = PolicyWish(PolicyId("out", Selector("0.0.0.0/0", "10.60.2.0/26")), 1006, "block")
THEIRS = KernelPolicy("out", Selector("10.60.1.0/24", "10.60.0.0/16"), 500, "allow")


@pytest.mark.parametrize(
    ("theirs", "told"),
    [
        (THEIRS, True),
        (structs.replace(THEIRS, priority=287712), False),
        (structs.replace(THEIRS, direction="fwd"), False),
        (structs.replace(THEIRS, if_id=4), False),
        (structs.replace(THEIRS, selector=Selector("10.60.1.0/24", "10.61.0.0/16")), False),
        (structs.replace(THEIRS, selector=Selector("10.60.1.0/24", "10.60.2.9/32")), True),
    ],
)
def test_what_comes_before_ours_is_told(theirs: KernelPolicy, *, told: bool) -> None:
    expected = "policy out 10.60.1.0/24 to "
    found = list(ahead_of([theirs], [OURS]))
    assert bool(found) is told
    assert all(text.startswith(expected) for text in found)
