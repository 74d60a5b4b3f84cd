"""What a session is given for the name of a BGPFilter; the functions' text is in golden files."""

from __future__ import annotations

import pytest

from calc_graph.bgp.resources import AddCommunity, BgpFilter, FilterRule, PrependPath, SetPriority
from dataplane.bird import reasons
from dataplane.bird.render.filters import Filters
from dataplane.bird.render.problems import Problems

ACCEPT, REJECT = FilterRule(True), FilterRule(False)
FILTERS = {
    "all": BgpFilter((ACCEPT,), (ACCEPT,), (ACCEPT,), (ACCEPT,)),
    "import-v4": BgpFilter(import_v4=(REJECT,)),
    "internal": BgpFilter(import_v4=(FilterRule(False, peer_type="ibgp"),)),
    "never": BgpFilter(
        import_v4=(FilterRule(True, net="10.0.0.0/24", operator="in", lengths=(8, 16)),)
    ),
    "half-bad": BgpFilter(import_v4=(FilterRule(True, community="70000:1"),), export_v4=(ACCEPT,)),
    "bad name\n": BgpFilter(import_v4=(ACCEPT,)),
}

CALLS = [
    # name         direction  family  internal  answer
    ("all",        "import",  4,      False,    "'bgp_all_importV4'(1000)"),
    ("all",        "export",  6,      True,     "'bgp_all_exportV6'(1000)"),
    ("gone",       "import",  4,      False,    reasons.UNKNOWN_FILTER),
    ("import-v4",  "import",  4,      False,    "'bgp_import-v4_importV4'(1000)"),
    ("import-v4",  "import",  6,      False,    ""),
    ("import-v4",  "export",  4,      False,    ""),
    ("internal",   "import",  4,      True,     "'bgp_internal_importV4i'(1000)"),
    ("internal",   "import",  4,      False,    ""),
    ("never",      "import",  4,      False,    ""),
    ("half-bad",   "import",  4,      False,    reasons.BAD_FILTER),
    ("half-bad",   "export",  4,      False,    "'bgp_half-bad_exportV4'(1000)"),
    ("bad name\n", "import",  4,      False,    reasons.BAD_FILTER),
]  # fmt: skip


@pytest.mark.parametrize(("name", "direction", "family", "internal", "answer"), CALLS)
def test_a_call_names_the_function_or_says_why_not(name, direction, family, internal, answer):
    filters = Filters(FILTERS, Problems())
    assert filters.call(name, direction, family, internal, 0) == answer
    assert len(filters.functions()) == (isinstance(answer, str) and answer != "")


def test_sessions_share_a_function_and_have_their_own_numbers():
    filters = Filters(FILTERS, Problems())
    assert filters.call("all", "import", 4, False, 0) == "'bgp_all_importV4'(1000)"
    assert filters.call("all", "import", 4, True, 3) == "'bgp_all_importV4'(4000)"
    assert len(filters.functions()) == 1


BAD = [
    ("a community", FilterRule(True, community="1:2:3:4"), "is not a community"),
    ("an added one", FilterRule(True, operations=(AddCommunity("x"),)), "is not a community"),
    ("an AS number", FilterRule(True, path_prefix=(0,)), "AS number 0"),
    ("a prepended one", FilterRule(True, operations=(PrependPath((2**32,)),)), "AS number"),
    ("a priority", FilterRule(True, priority=2**31), "is not a priority"),
    ("a set one", FilterRule(True, operations=(SetPriority(0),)), "is not a priority"),
    ("an interface", FilterRule(True, interface='a"'), "is not a pattern"),
    ("a net", FilterRule(True, net="10.0.0.0", operator="in"), "is not a net"),
    ("the other family", FilterRule(True, net="fd00::/8", operator="in"), "not a net of IPv4"),
    ("lengths of nothing", FilterRule(True, lengths=(1, 2)), "no cidr"),
]


@pytest.mark.parametrize(("what", "rule", "words"), BAD)
def test_one_rule_that_does_not_fit_makes_the_list_unfit(what, rule, words):
    problems = Problems()
    filters = Filters(
        {"f": BgpFilter(import_v4=(FilterRule(False, community="1:1"), rule))}, problems
    )
    assert filters.call("f", "import", 4, False, 0) == reasons.BAD_FILTER, what
    assert words in problems.found()["BGPFilter f"]
    assert filters.functions() == []


def test_a_rule_that_cannot_match_is_said():
    problems = Problems()
    Filters(FILTERS, problems).call("never", "import", 4, False, 0)
    assert problems.found() == {
        "BGPFilter never": "a rule of 10.0.0.0/24 matches no length: left out"
    }


def test_of_very_many_rules_the_last_ones_share_a_number():
    rules = tuple(FilterRule(False, community=f"1:{n}") for n in range(1002))
    filters = Filters({"f": BgpFilter(import_v4=rules)}, Problems())
    filters.call("f", "import", 4, False, 0)
    text = filters.functions()[0]
    assert text.count("why = reason + 999;") == 3
    assert "reason + 1000" not in text
