"""What each dialect without a daemon of its own means, route by route: the matrix of hijacks.

BIRD and FRR answer the same matrix themselves: tests/kernel/test_upstream_*.py.
"""

from __future__ import annotations

import re
from ipaddress import ip_network

import pytest

from felixpy.bgp.upstream.render import RENDERERS
from tests.felixpy.bgp.upstream.matrix import COARSE_SPINE, EXACT_TOR, FABRIC_TOR, MATRIX
from tests.felixpy.bgp.upstream.parsers import PARSERS
from tests.felixpy.bgp.upstream.parsers.router import RefusedError
from tests.felixpy.bgp.upstream.rendering import text_of

_ADDRESS = {
    ("n1", 4): "10.0.0.1", ("n2", 4): "10.0.0.2", ("n3", 4): "10.0.0.3",
    ("n1", 6): "fd00::1", ("n2", 6): "fd00::2", ("n3", 6): "fd00::3",
}  # fmt: skip


@pytest.mark.parametrize("setting", MATRIX, ids=lambda setting: setting.label)
@pytest.mark.parametrize("vendor", PARSERS)
def test_every_dialect_accepts_and_refuses_what_it_should(vendor, setting):
    router = PARSERS[vendor](text_of(setting, vendor))
    wrong = []
    for attempt in MATRIX[setting]:
        family = ip_network(attempt.net).version
        whom = _ADDRESS.get((attempt.whom, family), f"CALICO-{attempt.whom.upper()}-V{family}")
        policy = router.attached[whom][family][attempt.direction]
        if router.permits(policy, attempt.net, attempt.path) != attempt.accepted:
            wrong.append(attempt)
    assert not wrong


@pytest.mark.parametrize("vendor", PARSERS)
@pytest.mark.parametrize("setting", MATRIX, ids=lambda setting: setting.label)
def test_a_policy_without_sessions_touches_no_neighbour(vendor, setting):
    text = text_of(setting, vendor, sessions=False)
    assert not PARSERS[vendor](text).attached
    assert "neighbor" not in text
    assert "REPLACE-ME" not in text


_OUTWARD = re.compile(r"(?:route-map|route-policy) \S+ out$|export", re.MULTILINE)

# a parser that took everything would prove nothing
_DAMAGE = [
    ("a word more", lambda text: text.replace("permit", "permit also", 1)
     .replace("then accept", "then also accept", 1).replace("    pass\n", "    pass also\n", 1)),
    ("a list is not there", lambda text: _without_first_list(text)),
    ("twice", lambda text: text + "".join(line + "\n" for line in text.splitlines())),
    ("the end is missing", lambda text: text[: _OUTWARD.search(text).start()]),
    ("a net with host bits", lambda text: text.replace("10.65.1.0/26", "10.65.1.1/26")),
]  # fmt: skip


def _without_first_list(text: str) -> str:
    """The name stays where it is asked, and is gone where it was made."""
    made = re.compile(
        r"(^(?:no )?ip prefix-list CALICO-n1-V4\b|^prefix-set CALICO-n1-V4$"
        r"|^    replace: policy-statement CALICO-n1-V4 )",
        re.MULTILINE,
    )
    return made.sub(lambda found: found[0].replace("n1", "n9"), text)


@pytest.mark.parametrize("vendor", PARSERS)
@pytest.mark.parametrize(("damage", "damaged"), _DAMAGE, ids=[name for name, _ in _DAMAGE])
def test_the_parsers_are_strict(vendor, damage, damaged):
    text = text_of(EXACT_TOR, vendor)
    assert damaged(text) != text
    with pytest.raises((RefusedError, ValueError)):
        PARSERS[vendor](damaged(text))


@pytest.mark.parametrize("vendor", PARSERS)
def test_the_matrix_is_not_answered_by_chance(vendor):
    """A policy of another setting fails somewhere."""
    router = PARSERS[vendor](text_of(FABRIC_TOR, vendor))
    assert router.permits("CALICO-n2-V4-OUT", "10.65.1.0/26", ())
    router = PARSERS[vendor](text_of(EXACT_TOR, vendor))
    assert not router.permits("CALICO-NODES-V4-OUT", "10.65.1.0/26", ())


@pytest.mark.parametrize("vendor", RENDERERS)
def test_a_golden_setting_names_its_pools(vendor):
    assert "pools: 10.65.0.0/16 fd65::/48" in text_of(COARSE_SPINE, vendor)
