"""One policy rule into table rules, against the vectors; and each deliberate difference."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from calc_graph.model import Icmp, PolicyKey, PortRange, ProfileKey
from calc_graph.updates import ActivePolicy, ActiveProfile, ActiveRule, PeerMatch
from dataplane.chains import Chain
from dataplane.render.errors import RenderError
from dataplane.render.names import Table
from dataplane.render.rules import policy_chains, profile_chains
from dataplane.settings import MarkBits, RenderSettings
from tests.dataplane.render.vectors import Case, cases, params, written

_ALL = cases("rule-rendering")
_FLOW_LOGS = [case for case in _ALL if case["options"].get("flow_logs")]
# Text that differs on purpose, by the defect of section 11 of the rules reference; see below.
_MENDED = {
    "protocol and not protocol": "D1",
    "three positive blocks (upstream defect: third always passes)": "D2",
    "all six blocks": "D2",
    "log with rate limit, match after limit": "D14",
    "log, prefix longer than the kernel limit": "D15",
}
_SAME = [case for case in _ALL if case not in _FLOW_LOGS and case["what"] not in _MENDED]

KEY = PolicyKey("NetworkPolicy", "fv", "p1")
_ALIASES = {"": "allow", "next-tier": "pass"}  # undone when a resource is decoded
_LISTS = {
    "net": "nets",
    "ip_set_ids": "ipsets",
    "ports": "ports",
    "named_port_ip_set_ids": "named_port_ipsets",
    "ip_port_set_ids": "ip_port_ipsets",
}


def test_every_case_is_covered() -> None:
    """Left out: flow logs, which are not built.  "Untracked with flow logs" is the same text."""
    assert (len(_ALL), len(_FLOW_LOGS), len(_MENDED), len(_SAME)) == (90, 5, 5, 80)
    assert _MENDED.keys() <= {case["what"] for case in _ALL}


@pytest.mark.parametrize("case", params(_SAME, "what"))
def test_same_text_and_ids(case: Case) -> None:
    assert written(render(case)) == case["iptables"]
    assert render(case).name == case["chain"]


@pytest.mark.parametrize(
    "case", params([c for c in _FLOW_LOGS if c["options"].get("untracked")], "what")
)
def test_untracked_policies_have_no_flow_logs_anyway(case: Case) -> None:
    assert written(render(case)) == case["iptables"]


def render(case: Case, table: Table = "filter") -> Chain:
    options = case["options"]
    rule = active_rule(case["rule"])
    family = options.get("ip_version", 4)
    settings = RenderSettings(
        marks=_marks(options.get("marks")),
        filter_deny_action=options.get("deny_action", "DROP"),
        log_prefix=options.get("log_prefix", "calico-packet"),
        log_rate_limit=options.get("log_rate_limit", ""),
        log_rate_limit_burst=options.get("log_burst", 5),
    )
    if options.get("owner") == "profile":
        profile = ActiveProfile(ingress=(rule,), egress=(rule,))
        ingress, egress = profile_chains("prof", profile, family, settings, table)
    else:
        policy = ActivePolicy("default", "all()", ingress=(rule,), egress=(rule,))
        ingress, egress = policy_chains(KEY, policy, family, settings, table)
    return egress if options.get("direction") == "egress" else ingress


def active_rule(said: dict[str, Any]) -> ActiveRule:
    action = said.get("action", "")
    annotations = said.get("metadata", {}).get("annotations", {})
    return ActiveRule(
        action=_ALIASES.get(action, action),
        ip_version=said.get("ip_version"),
        protocol=_protocol(said.get("protocol")),
        not_protocol=_protocol(said.get("not_protocol")),
        icmp=_icmp(said, "icmp"),
        not_icmp=_icmp(said, "not_icmp"),
        source=_peer(said, "src"),
        destination=_peer(said, "dst"),
        annotations=tuple(sorted(annotations.items())),
    )


def _protocol(said: dict[str, Any] | None) -> int | str | None:
    return None if said is None else said.get("name", said.get("number"))


def _icmp(said: dict[str, Any], field: str) -> Icmp | None:
    if f"{field}_type" in said:
        return Icmp(said[f"{field}_type"])
    pair = said.get(f"{field}_type_code")
    return pair and Icmp(pair["type"], pair["code"])


def _peer(said: dict[str, Any], side: str) -> PeerMatch:
    fields = {}
    for theirs, ours in _LISTS.items():
        for negation in ("", "not_"):
            values = said.get(f"{negation}{side}_{theirs}", [])
            if theirs == "ports":
                values = [PortRange(port["first"], port["last"]) for port in values]
            if values:
                fields[f"{negation}{ours}"] = tuple(values)
    return PeerMatch(**fields)


def _marks(said: str | None) -> MarkBits:
    return MarkBits(*(int(bit, 16) for bit in said.split(","))) if said else MarkBits()


# ---------------------------------------------------------------- deliberate differences


def bodies(
    *rules: ActiveRule,
    family: Any = 4,
    table: Table = "filter",
    **settings: Any,
) -> list[str]:
    """The ingress chain without its title."""
    policy = ActivePolicy("default", "all()", ingress=rules)
    chain, _ = policy_chains(KEY, policy, family, RenderSettings(**settings), table)
    title = '-m comment --comment "NetworkPolicy fv/p1 ingress"'
    return [body.replace(title, "").strip() for body in chain.rules]


def deny(**fields: Any) -> ActiveRule:
    return ActiveRule("deny", **fields)


_D1 = [
    # protocol, not_protocol   match
    ("tcp", "udp", "-p tcp "),  # the vector "protocol and not protocol"
    (253, 252, "-p 253 "),
    ("tcp", 17, "-p tcp "),
    ("tcp", 6, None),
    (58, "icmpv6", None),
    ("icmpv6", "ipv6-icmp", None),
]


@pytest.mark.parametrize(("protocol", "excluded", "match"), _D1)
def test_d1_protocol_and_not_protocol(
    protocol: int | str, excluded: int | str, match: str | None
) -> None:
    """Vector "protocol and not protocol": two "-p" in a rule, which the tools refuse."""
    rule = deny(protocol=protocol, not_protocol=excluded)
    wanted = [f"{match}--jump MARK --set-mark 0x40000/0x40000"] if match else [""]
    assert bodies(rule)[:1] == wanted


def _with_clears(case: Case) -> list[str]:
    """Felix's bodies, and the scratch bit cleared before each block that finds it used."""
    theirs = [line.split('" ', 1)[1] for line in case["iptables"]]
    copy = "-m mark --mark 0/0x100000 --jump MARK --set-mark 0/0x80000"
    ours = list(theirs)
    for index in reversed([i for i, body in enumerate(theirs) if body == copy]):
        if "--set-mark 0x100000/0x100000" in theirs[index + 1]:
            ours.insert(index + 1, "--jump MARK --set-mark 0/0x100000")
    return ours


@pytest.mark.parametrize(
    ("what", "clears"),
    [("three positive blocks (upstream defect: third always passes)", 1), ("all six blocks", 2)],
)
def test_d2_third_and_fourth_block_start_clear(what: str, clears: int) -> None:
    """Vectors "three positive blocks …" and "all six blocks": the bit of the block before stays."""
    [case] = [case for case in _ALL if case["what"] == what]
    chain = render(case)
    assert list(chain.rules) == _with_clears(case)
    assert len(chain.rules) == len(case["iptables"]) + clears


@pytest.mark.parametrize("table", ["raw", "mangle"])
def test_d8_reject_only_in_filter(table: Table) -> None:
    """Vector "deny with the reject deny action": rendered for every table."""
    assert bodies(deny(), table=table, filter_deny_action="REJECT")[-1].endswith("--jump DROP")
    assert bodies(deny(), filter_deny_action="REJECT")[-1].endswith("--jump REJECT")


def test_d10_annotations_are_sorted() -> None:
    """Vector "annotation comment on every rule" has one only; the order of more is random."""
    one, other = ("b", "2"), ("a", "1")
    rules = [deny(annotations=order) for order in ((one, other), (other, one))]
    assert bodies(rules[0]) == bodies(rules[1])
    assert bodies(rules[0])[1].startswith(
        '-m comment --comment "a=1" -m comment --comment "b=2" -m mark'
    )


def test_d14_limit_after_the_match() -> None:
    """Vector "log with rate limit, match after limit": what does not match uses up the limit."""
    [body] = bodies(
        ActiveRule("log", protocol="tcp"), log_rate_limit="10/minute", log_rate_limit_burst=7
    )
    assert body == (
        "-p tcp -m limit --limit 10/minute --limit-burst 7"
        ' --jump LOG --log-prefix "calico-packet: " --log-level 5'
    )


def test_d15_prefix_is_shortened_with_its_separator() -> None:
    """Vector "log, prefix longer than the kernel limit": the kernel keeps 29 characters."""
    [body] = bodies(ActiveRule("log"), log_prefix="a-prefix-that-is-longer-than-the-29-characters")
    assert '--log-prefix "a-prefix-that-is-longer-tha: "' in body


ECHO = Icmp(8)
_ICMP_FAMILIES = [
    # protocol   family it can match in
    ("icmp", 4),
    (1, 4),
    ("icmpv6", 6),
    (58, 6),
]


@pytest.mark.parametrize("field", ["icmp", "not_icmp"])
@pytest.mark.parametrize(("protocol", "family"), _ICMP_FAMILIES)
def test_an_icmp_type_stays_in_its_family(protocol: Any, family: int, field: str) -> None:
    """No vector: upstream renders "-p 1 -m icmp6", which ip6tables refuses."""
    rule = deny(protocol=protocol, **{field: ECHO})
    assert bodies(rule, family=family) != [""]
    assert bodies(rule, family=10 - family) == [""]


# ---------------------------------------------------------------- what has no text


def source(**fields: Any) -> dict[str, PeerMatch]:
    return {"source": PeerMatch(**fields)}


UNRENDERABLE: dict[str, dict[str, Any]] = {
    "action": {"action": "accept"},
    "empty action": {"action": ""},
    "protocol name": {"protocol": "tcp --jump ACCEPT"},
    "protocol case": {"protocol": "TCP"},
    "empty protocol": {"protocol": ""},
    "protocol 0": {"protocol": 0},
    "protocol 256": {"protocol": 256},
    "not protocol": {"not_protocol": "all"},
    "net": source(nets=("10.0.0.0/8 --jump ACCEPT",)),
    "net with a line feed": source(nets=("10.0.0.0/8\n",)),
    "address without length": source(nets=("10.0.0.1",)),
    "empty net": source(nets=("",)),
    "list of nets": source(nets=("10.0.0.1/32,10.0.0.2/32",)),
    "negated net": source(not_nets=("ten",)),
    "reversed ports": {"protocol": "tcp", **source(ports=(PortRange(2, 1),))},
    "port 65536": {"protocol": "tcp", **source(ports=(PortRange(1, 65536),))},
    "negative port": {"protocol": "tcp", **source(not_ports=(PortRange(-1, 1),))},
    "ports without protocol": source(ports=(PortRange(1, 1),)),
    "ports of another protocol": {"protocol": "icmp", **source(ports=(PortRange(1, 1),))},
    "not ports without protocol": source(not_ports=(PortRange(1, 1),)),
    "ports with notProtocol": {"not_protocol": "udp", **source(ports=(PortRange(1, 1),))},
    "service as a source": source(ip_port_ipsets=("svc:abc",)),
    "ipset id": source(ipsets=("s:abc src --jump ACCEPT",)),
    "empty ipset id": source(not_ipsets=("",)),
    "icmp without protocol": {"icmp": ECHO},
    "icmp of tcp": {"protocol": "tcp", "not_icmp": ECHO},
    "icmp type": {"protocol": "icmp", "icmp": Icmp(256)},
    "icmp code": {"protocol": "icmp", "icmp": Icmp(3, 256)},
}


@pytest.mark.parametrize("what", UNRENDERABLE)
def test_never_wider_than_asked(what: str) -> None:
    rule = ActiveRule(**({"action": "allow"} | UNRENDERABLE[what]))
    policy = ActivePolicy("default", "all()", egress=(deny(), rule))
    with pytest.raises(RenderError, match="egress rule 1") as caught:
        policy_chains(KEY, policy, 4, RenderSettings())
    assert caught.value.owner == KEY
    with pytest.raises(RenderError) as caught:
        profile_chains("prof", ActiveProfile(ingress=(rule,)), 4, RenderSettings())
    assert caught.value.owner == ProfileKey("prof")


# ---------------------------------------------------------------- whole chains


def test_pass_in_a_profile_leaves_no_mark_and_asks_for_none() -> None:
    """Felix marks the packet here as well; a mark that a policy has left then ends the profile."""
    profile = ActiveProfile(ingress=(ActiveRule("pass", protocol="udp"), ActiveRule("allow")))
    ingress, _ = profile_chains("prof", profile, 4, RenderSettings())
    assert ingress.rules == (
        '-m comment --comment "Profile prof ingress" -p udp --jump RETURN',
        "--jump MARK --set-mark 0x10000/0x10000",
    )


def test_returns_at_the_end_are_left_out_and_the_rest_kept() -> None:
    allow = ActiveRule("allow")
    assert bodies(allow, deny(), allow, allow) == [
        "--jump MARK --set-mark 0x10000/0x10000",
        "-m mark --mark 0x10000/0x10000 --jump RETURN",
        "--jump MARK --set-mark 0x40000/0x40000",
        "-m mark --mark 0x40000/0x40000 --jump DROP",
        "--jump MARK --set-mark 0x10000/0x10000",
        "-m mark --mark 0x10000/0x10000 --jump RETURN",
        "--jump MARK --set-mark 0x10000/0x10000",
    ]


def test_a_direction_without_rules_is_a_comment() -> None:
    ingress, egress = policy_chains(
        PolicyKey("GlobalNetworkPolicy", "", "g"), ActivePolicy("t", "all()"), 4, RenderSettings()
    )
    assert ingress.rules == ('-m comment --comment "GlobalNetworkPolicy g ingress"',)
    assert egress.rules == ('-m comment --comment "GlobalNetworkPolicy g egress"',)


@given(st.text(), st.text(), st.text(), st.text())
def test_no_text_of_a_user_leaves_its_quotes(name: str, tier: str, key: str, value: str) -> None:
    rules = (ActiveRule("log", annotations=((key, value),)), deny(annotations=((value, key),)))
    policy = ActivePolicy(tier, "all()", ingress=rules)
    chains = policy_chains(
        PolicyKey(name, tier, name), policy, 4, RenderSettings(log_prefix="%t%n%p%k")
    )
    for body in (body for chain in chains for body in chain.rules):
        outside = "".join(body.split('"')[::2])
        assert body.isprintable()
        assert body.count('"') % 2 == 0
        assert set(outside.split()) <= {
            *("-m", "comment", "--comment", "--jump", "LOG", "--log-prefix", "--log-level", "5"),
            *("MARK", "--set-mark", "0x40000/0x40000", "mark", "--mark", "DROP"),
        }
