"""The file as a whole: what may change it, what may not, and what nothing from outside can do."""

from __future__ import annotations

import difflib
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import structs

from calc_graph.bgp.resources import (
    BgpFilter,
    FilterRule,
)
from calc_graph.bgp.updates import BgpFilterUpdate, BgpOrigins
from dataplane.bird.credentials import Credential, Password
from dataplane.bird.render import UnrenderableError
from dataplane.bird.settings import BirdSettings
from tests.dataplane.bird.golden_cases import (
    CASES,
    MESH,
    N1,
    N2,
    N3,
    NODES,
    SECRETS,
    SPEAKER,
    TOR,
    Case,
    mesh,
    node,
    tor,
)
from tests.dataplane.bird.hostile_values import hostile_values

MESH_OF_THREE = (SPEAKER, *NODES, mesh(N2), mesh(N3), mesh(N2, 6), mesh(N3, 6), tor())


def changed(before: Case, after: Case) -> list[str]:
    """What a diff would show, without the numbers of checksums."""
    lines = difflib.ndiff(
        before.version().text.splitlines(keepends=False), after.version().text.splitlines()
    )
    return [re.sub(r"\d{4,}", "N", line) for line in lines if line[0] in "+-"]


# ---------------------------------------------------------------- what changes


def test_a_block_of_one_node_changes_what_comes_from_that_node_alone():
    more = structs.replace(N3, nets=("10.65.2.77/32", "10.65.3.0/26", "10.65.3.64/26"))
    assert changed(
        Case((SPEAKER, N1, N2, structs.replace(N3, nets=N3.nets[:2]), mesh(N2), mesh(N3))),
        Case((SPEAKER, N1, N2, more, mesh(N2), mesh(N3))),
    ) == [
        "- define FROM_10_0_0_3 = [ 10.65.2.77/32, 10.65.3.0/26, 10.96.0.0/12 ];",
        "+ define FROM_10_0_0_3 = [ 10.65.2.77/32, 10.65.3.0/26, 10.65.3.64/26, 10.96.0.0/12 ];",
        "-       sealed(N);",
        "+       sealed(N);",
    ]


def test_a_node_without_a_session_changes_nothing():
    another = BgpOrigins("n4", "10.0.0.4", "fd00::4", ("10.65.4.0/26",))
    assert changed(Case(MESH_OF_THREE), Case((*MESH_OF_THREE, another))) == []


def test_a_session_more_is_text_more():
    added = changed(Case(MESH_OF_THREE), Case((*MESH_OF_THREE, tor("10.0.0.200"))))
    assert {line[0] for line in added} == {"+"}
    assert sum("protocol bgp" in line for line in added) == 1


def test_a_password_changes_its_line_alone():
    base = (SPEAKER, *NODES, mesh(N2, password=MESH), tor(password=TOR))
    other = {**SECRETS, TOR: Credential(Password("another"))}
    assert changed(Case(base), Case(base, credentials=other)) == [
        '-   password "tor-secret-2";',
        '+   password "another";',
    ]


def test_a_filter_changes_its_function_alone():
    asks = (SPEAKER, N1, tor(filters=("f",)), tor("10.0.0.253"))
    rule = FilterRule(False, net="203.0.113.0/24", operator="in")
    longer = structs.replace(rule, lengths=(25, 32))
    before = Case((*asks, BgpFilterUpdate("f", BgpFilter(import_v4=(rule,)))))
    after = Case((*asks, BgpFilterUpdate("f", BgpFilter(import_v4=(longer,)))))
    lines = changed(before, after)
    assert [line for line in lines if "sealed" not in line] == [
        "-   if net ~ 203.0.113.0/24 then { why = reason + 0; return 2; }",
        "+   if net ~ [ 203.0.113.0/24{25,32} ] then { why = reason + 0; return 2; }",
    ]
    assert sum("sealed" in line for line in lines) == 2


@given(st.permutations(CASES["mesh-and-tor"].updates))
@settings(max_examples=25, deadline=None)
def test_the_order_of_updates_does_not_matter(updates):
    assert Case(tuple(updates)).version() == CASES["mesh-and-tor"].version()


# ---------------------------------------------------------------- what is said


def test_passwords_are_in_the_text_alone():
    version = CASES["mesh-and-tor"].version()
    assert version.text.count('password "tor-secret-2"') == 2
    assert "tor-secret-2" not in version.redacted + repr(version) + repr(version.sessions)
    assert version.redacted.count('password "<secret bgp-secrets/tor>"') == 2
    assert len(version.redacted.splitlines()) == len(version.text.splitlines())


@pytest.mark.parametrize(
    ("number", "enabled", "problem"),
    [
        (1, True, ""),
        (2, True, "password: last good, Secret s: cannot be read"),
        (3, False, 'password: refused: Secret s: no key "k3"\nat all'),
        (4, False, "password: refused: not 1 to 80 printable ASCII characters without quotes"),
        (5, False, "password: refused: not 1 to 80 printable ASCII characters without quotes"),
        (8, False, "password: not read yet"),
        (9, True, ""),
    ],
)
def test_a_session_without_its_password_is_disabled(number, enabled, problem):
    version = CASES["passwords"].version()
    name = f"Global_10_0_1_{number}"
    part = version.sessions[name]
    text = version.text.partition(f"protocol bgp {name} ")[2].partition("\n}\n")[0]
    assert (part.enabled, part.problem) == (enabled, problem)
    assert ("disabled;" in text) is not enabled
    assert ("password " in text.replace("; password: ", "")) is (enabled and number != 9)


AGREED = [
    ("nothing", {}, True),
    ("address", {"local_address": ""}, False),
    ("password", {"password": MESH}, False),
    ("AS number", {"remote_as": 65002}, False),
    ("TTL security", {"ttl_security": 1}, False),
    ("filters", {"filters": ("f",)}, True),
    ("keepalive", {"keepalive_seconds": 5}, True),
]


@pytest.mark.parametrize(("what", "different", "same"), AGREED)
def test_the_agreement_is_what_the_other_end_has_to_follow(what, different, same):
    name = "Global_10_0_0_254"
    first = Case((SPEAKER, tor(password=TOR))).version().sessions[name]
    second = Case((SPEAKER, tor(**{"password": TOR, **different}))).version().sessions[name]
    assert (first.agreement == second.agreement) is same, what


def test_what_does_not_fit_is_left_out_by_name():
    version = CASES["unfit"].version()
    assert set(version.problems) == {
        "BGPConfiguration",
        "IPPool 10.0.0.0",
        "Node n1",
        "session Global_10_0_0_254",
        "session Global_10_0_0_8_port_70000",
        "session Global_fe80__1",
        "session Mesh_fd00__3",
        "session Node_10_0_0_7",
    }
    assert set(version.sessions) == {"Global_10_0_0_254", "Mesh_10_0_0_2"}


def test_two_nodes_with_one_address():
    twin = BgpOrigins("n4", "10.0.0.2", "", ("10.65.4.0/26",))
    version = Case((SPEAKER, *NODES, twin, node("10.0.0.9", "reflector"))).version()
    assert version.problems == {"Node n4": "10.0.0.2 is the address of node n2"}
    assert "define FROM_10_0_0_2 = [ 10.65.2.0/26, 10.96.0.0/12 ];" in version.text


@pytest.mark.parametrize(
    ("updates", "router_id", "reason"),
    [
        ((), "", "not known yet"),
        ((structs.replace(SPEAKER, address_v4=""),), "", "no IPv4 address"),
        ((SPEAKER,), "fd00::1", "router id"),
        ((SPEAKER,), "10.0.0.1; }", "router id"),
    ],
)
def test_no_file_is_better_than_one_that_cannot_work(updates, router_id, reason):
    with pytest.raises(UnrenderableError, match=reason):
        Case(updates, BirdSettings(router_id=router_id)).version()


# ---------------------------------------------------------------- what nothing can do

_STRING = re.compile(r'"[^"\n]*"')
_OUTSIDE = re.compile(r"[A-Za-z0-9_.:/{}()\[\];,+=!~<>&|*'#\s-]*")


@given(hostile_values())
@settings(max_examples=150, deadline=None)
def test_no_text_from_outside_changes_the_structure_of_the_file(hostile):
    version = hostile.version()
    bare = _STRING.sub("", version.text)
    assert _OUTSIDE.fullmatch(bare)
    assert set(re.findall(r"^protocol bgp (\S+) from session \{$", bare, re.MULTILINE)) == set(
        version.sessions
    )
    others = re.findall(r"\bprotocol (?!bgp |iso )(\w+)", bare)
    assert sorted(others) == ["device", "direct", "kernel", "kernel", "static", "static"]
    assert bare.count("{") == bare.count("}")
    assert all(len(string) < 300 for string in _STRING.findall(version.text))
    for credential in hostile.credentials.values():
        if credential.password is not None and len(credential.password.reveal()) > 80:
            assert credential.password.reveal() not in version.text
