"""Who decided, from the counters before and after; the rules are as an agent writes them."""

from __future__ import annotations

import pytest

from felixpy.demo.verdicts import counts, decider

_ID = '-m comment --comment "cali:abcdefghij_-0123"'
PROFILE_OUT = (
    f'-A cali-pro-open {_ID} -m comment --comment "Profile open egress"'
    " -j MARK --set-xmark 0x10000/0x10000"
)
PROFILE_IN = PROFILE_OUT.replace("pro-", "pri-").replace("egress", "ingress")
ALLOW = (
    f"-A cali-pi-np/default/database -p tcp {_ID} -m comment --comment"
    ' "NetworkPolicy default/database ingress" -m set --match-set cali40s:x src'
    " -j MARK --set-xmark 0x10000/0x10000"
)
PASS = (
    f'-A cali-pi-_fInC6v {_ID} -m comment --comment "GlobalNetworkPolicy a.b ingress"'
    " -j MARK --set-xmark 0x20000/0x20000"
)
DENY = PASS.replace("0x20000/0x20000", "0x40000/0x40000")
DROP = f"-A cali-pi-_fInC6v {_ID} -m mark --mark 0x40000/0x40000 -j DROP"
START = (
    f'-A cali-tw-calidb {_ID} -m comment --comment "Start of tier default"'
    " -j MARK --set-xmark 0x0/0x20000"
)
END = (
    f'-A cali-tw-calidb {_ID} -m comment --comment "End of tier default. Drop if no policies'
    ' passed packet" -m mark --mark 0x0/0x20000 -j DROP'
)
RULES = (ALLOW, PASS, DENY, DROP, START, END, PROFILE_IN, PROFILE_OUT)

CASES = [
    ([], "nobody"),
    ([PROFILE_OUT], "Profile open"),
    ([PROFILE_OUT, PROFILE_IN], "Profile open"),
    ([PROFILE_OUT, START, ALLOW], "NetworkPolicy default/database"),
    ([PROFILE_OUT, PASS, START, ALLOW], "NetworkPolicy default/database"),
    ([PROFILE_OUT, DENY, DROP], "GlobalNetworkPolicy a.b"),
    ([PROFILE_OUT, START, END], "end of tier default"),
]


def saved(*counted: str) -> str:
    lines = [f"[{5 + (rule in counted)}:300] {rule}" for rule in RULES]
    return "\n".join(["*filter", ":cali-FORWARD - [0:0]", *lines, "COMMIT"])


@pytest.mark.parametrize(("counted", "who"), CASES)
def test_who_decided(counted: list[str], who: str) -> None:
    assert decider(counts(saved()), counts(saved(*counted))) == who
