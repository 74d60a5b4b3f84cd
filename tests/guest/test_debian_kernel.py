"""Debian's own kernel, the one that users run, holds what felixpy writes.

The kernel lane asks whatever kernel this machine happens to have; here the same tests, and what
that kernel may lack, are asked of Debian's.
"""

import pytest

from tests.guest.conftest import Guest

pytestmark = pytest.mark.guest

# In a network namespace of its own, although the whole machine is ours: tests share the guest.
IN_NAMESPACE = """
ip netns add probe
trap 'ip netns del probe' EXIT
on() { ip netns exec probe "$@"; }
"""

# Tests of the kernel lane that ask the kernel most.  Few: without KVM, and with its files on this
# machine, the guest takes some 70 times as long for them.
SUITES = [
    # file                      only these (pytest -k)
    ("test_render_accepted.py", ""),
    ("test_iptables.py", "from_nothing"),
]
SUITE_SECONDS = 300  # some times what the longest takes

FEATURES = [
    # what                       a script that succeeds where the kernel has it
    ("nf_tables backend", "on iptables-nft -A FORWARD -m mark --mark 0x10000/0x10000 -j DROP"),
    ("legacy backend", "on iptables-legacy -A FORWARD -m conntrack --ctstate INVALID -j DROP"),
    ("IPv6 reverse path", "on ip6tables-nft -t raw -A PREROUTING -m rpfilter --invert -j DROP"),
    (
        "IP sets",
        """
        on ipset create cali40s:probe hash:net family inet
        on ipset add cali40s:probe 10.0.0.0/8
        on iptables-nft -A FORWARD -m set --match-set cali40s:probe src -j ACCEPT
        """,
    ),
    (
        "IP sets of ports",
        """
        on ipset create cali60n:probe hash:ip,port family inet6
        on ipset add cali60n:probe fd00::1,tcp:80
        on ip6tables-legacy -A FORWARD -m set --match-set cali60n:probe dst,dst -j ACCEPT
        """,
    ),
    (
        "routes of our protocol",
        """
        on ip link add cali0 type veth peer name peer0
        on ip link set cali0 up
        on ip route add 10.65.0.2 dev cali0 proto 80 scope link
        on ip route show proto 80 | grep -q 10.65.0.2
        """,
    ),
]


def test_it_is_the_kernel_of_debian_12(guest: Guest) -> None:
    assert guest.release.startswith("6.1.")


@pytest.mark.parametrize(("what", "script"), FEATURES, ids=[what for what, _ in FEATURES])
def test_feature(guest: Guest, what: str, script: str) -> None:
    guest.shell(IN_NAMESPACE + script)


@pytest.mark.parametrize(("name", "only"), SUITES, ids=[name for name, _ in SUITES])
def test_kernel_lane(guest: Guest, name: str, only: str) -> None:
    guest.pytest("-m", "kernel", "-k", only, f"tests/kernel/{name}", timeout=SUITE_SECONDS)
