"""Which file's word is in force, against a plain reading of the same rule."""

from hypothesis import given
from hypothesis import strategies as st

from calc_graph.model import NetworkSet, NetworkSetKey, Profile, ProfileKey
from felixpy.datastore.catalogue import Catalogue
from felixpy.datastore.decode import Resource
from felixpy.datastore.manifest_text import Identity, Placed

KEYS = [NetworkSetKey(name) for name in "xyz"]
BUILTIN = {ProfileKey("builtin"): Profile()}


def content(*resources: tuple[str, NetworkSetKey, str]) -> dict[Identity, Placed]:
    return {
        Identity("K", "", name): Placed(
            Resource("K", "", name, ((key, NetworkSet(nets=(net,))),)), line
        )
        for line, (name, key, net) in enumerate(resources, 1)
    }


def test_the_next_claim_takes_over_without_a_moment_in_between():
    catalogue = Catalogue({})
    catalogue.replace({"a": content(("n", KEYS[0], "1")), "b": content(("n", KEYS[0], "2"))})
    assert catalogue.flush() == [(KEYS[0], NetworkSet(nets=("1",)))]
    (conflict,) = catalogue.conflicts()
    assert (conflict.of, conflict.first.file, conflict.second.file) == ("K n", "a", "b")
    catalogue.replace({"a": {}})
    assert catalogue.flush() == [(KEYS[0], NetworkSet(nets=("2",)))]
    assert catalogue.conflicts() == []


def test_a_rival_that_is_not_in_force_claims_no_other_key_either():
    catalogue = Catalogue({})
    catalogue.replace({"a": content(("n", KEYS[0], "1"))})
    catalogue.replace({"b": content(("n", KEYS[1], "2"))})
    assert catalogue.flush() == [(KEYS[0], NetworkSet(nets=("1",)))]
    catalogue.replace({"a": {}})
    assert dict(catalogue.flush()) == {KEYS[0]: None, KEYS[1]: NetworkSet(nets=("2",))}


def test_two_resources_of_different_names_with_one_key_are_a_conflict():
    catalogue = Catalogue({})
    catalogue.replace({"a": content(("n", KEYS[0], "1")), "b": content(("m", KEYS[0], "2"))})
    assert catalogue.flush() == [(KEYS[0], NetworkSet(nets=("1",)))]
    assert [conflict.second.file for conflict in catalogue.conflicts()] == ["b"]


def test_what_is_built_in_returns():
    catalogue = Catalogue(BUILTIN)
    (key,) = BUILTIN
    assert catalogue.flush() == [(key, Profile())]
    own = Profile(labels={"a": "b"})
    placed = Placed(Resource("Profile", "", "builtin", ((key, own),)), 1)
    catalogue.replace({"a": {Identity("Profile", "", "builtin"): placed}})
    assert catalogue.flush() == [(key, own)]
    catalogue.replace({"a": {}})
    assert catalogue.flush() == [(key, Profile())]


resources = st.lists(
    st.tuples(st.sampled_from("nm"), st.sampled_from(KEYS), st.sampled_from("12")), max_size=3
)
batches = st.lists(st.dictionaries(st.sampled_from("abc"), resources, max_size=3), max_size=8)


@given(batches=batches)
def test_any_order_ends_in_the_plain_reading(batches):
    catalogue = Catalogue(BUILTIN)
    state = {}
    files = {}
    arrivals = []  # (file, name) and (file, name, key), in the order they came to stay
    for batch in [{}, *batches]:
        replacement = {file: content(*parts) for file, parts in batch.items()}
        catalogue.replace(replacement)
        for key, value in catalogue.flush():
            assert value != state.get(key)
            state[key] = value
        files |= replacement
        claims = [
            claim
            for file, parts in replacement.items()
            for identity, placed in parts.items()
            for claim in ((file, identity), (file, identity, placed.resource.changes[0][0]))
        ]
        arrivals = [claim for claim in arrivals if claim[0] not in batch or claim in claims]
        arrivals += [claim for claim in claims if claim not in arrivals]
    expected = dict(BUILTIN)
    leaders = {}
    for claim in arrivals:
        if len(claim) == 2:
            leaders.setdefault(claim[1], claim[0])
    for claim in arrivals:
        if len(claim) == 3 and leaders[claim[1]] == claim[0]:
            expected.setdefault(claim[2], files[claim[0]][claim[1]].resource.changes[0][1])
    assert {key: value for key, value in state.items() if value is not None} == expected
