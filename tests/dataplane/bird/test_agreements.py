import pytest

from dataplane.bird.agreements import agreements

SESSION = """protocol bgp {name} from session {{
  local 10.0.0.1 as 64512; neighbor 10.0.0.2 port 1790 as 64513; multihop 2; ttl security on;
  password "a # b; {{ }}"; # the {{ mesh's
  ipv4 {{ next hop self; import filter {{ local_thing(1); }}; export none; }};
}}
"""
BASE = "template bgp session { graceful restart on; }\nprotocol device { scan time 2; }\n"

CHANGES = [
    # case             from             to                changed
    ("nothing", "", "", False),
    ("filter", "local_thing(1)", "local_thing(2)", False),
    ("order of fields", "multihop 2; ttl security on;", "ttl security on; multihop 2;", False),
    ("comment", "the {{ mesh's", "nothing", False),
    ("password", "a # b", "a # c", True),
    ("a blank in it", "a # b", "a  # b", True),
    ("AS", "64513", "64514", True),
    ("local AS", "64512", "64515", True),
    ("address", "10.0.0.2", "10.0.0.3", True),
    ("port", "1790", "179", True),
    ("hops", "multihop 2", "multihop 3", True),
    ("TTL security", "ttl security on;", "", True),
]


@pytest.mark.parametrize(
    ("old", "new", "changed"), [each[1:] for each in CHANGES], ids=[each[0] for each in CHANGES]
)
def test_what_the_other_end_has_to_match(old: str, new: str, changed: bool) -> None:
    before = agreements(BASE + SESSION.format(name="a") + SESSION.format(name="'b'"))
    after = agreements(
        BASE + SESSION.replace(old, new).format(name="a") + SESSION.format(name="'b'")
    )
    assert before.keys() == after.keys() == {"a", "b"}
    assert (before["a"] != after["a"]) == changed
    assert before["b"] == after["b"] != frozenset()


def test_a_text_cut_short() -> None:
    assert agreements(SESSION.format(name="a")[:60]).keys() == {"a"}
    assert agreements("") == {}
