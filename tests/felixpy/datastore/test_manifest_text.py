"""One file's text to resources: places, errors, and what is not read again."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from felixpy.datastore.decode import decode_documents
from felixpy.datastore.manifest_text import EMPTY, ManifestTextError, read_text
from tests.felixpy.datastore.manifest_store import network_set, several


class Counting:
    def __init__(self) -> None:
        self.decoded = 0

    def __call__(self, document):
        self.decoded += 1
        return decode_documents(document)


def read(text, previous=EMPTY, decode=decode_documents, name="f.yaml"):
    return read_text(name, text, previous, decode)


def lines(content):
    return {identity.name: placed.line for identity, placed in content.resources.items()}


def test_only_changed_documents_are_read_again():
    decode = Counting()
    names = [f"s{number}" for number in range(100)]
    first = read(several(*[network_set(name, "10.0.0.1/32") for name in names]), decode=decode)
    assert decode.decoded == 100
    names.insert(50, "new")
    text = several(*[network_set(name, "10.0.0.1/32") for name in names])
    second = read(text, first, decode)
    assert decode.decoded == 101
    assert lines(second) == {name: 1 + 8 * number for number, name in enumerate(names)}


def test_a_list_is_expanded():
    text = "kind: List\napiVersion: v1\nitems:\n"
    for name in "ab":
        text += "- " + network_set(name).replace("\n", "\n  ").rstrip() + "\n"
    assert lines(read(text)) == {"a": 1, "b": 1}
    broken = text.replace("nets", "netz", 2).replace("netz", "nets", 1)
    with pytest.raises(ManifestTextError) as caught:
        read(broken)
    (error,) = caught.value.errors
    assert (error.line, error.column, error.field) == (15, 5, "items[1].spec.netz")


DIRECTIVE = "%YAML 1.2\n---\n" + network_set("a") + "...\n%YAML 1.2\n---\n" + network_set("b")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (DIRECTIVE, {"a": 3, "b": 12}),
        ("--- # heading\n" + network_set("a"), {"a": 2}),
        ("---\n---\n\n" + network_set("a") + "---\n", {"a": 4}),
        (network_set("a").replace("\n", "\r\n") + "---\r\n" + network_set("b"), {"a": 1, "b": 8}),
        (network_set("a") + "...\n---\n" + network_set("b"), {"a": 1, "b": 9}),
    ],
)
def test_places(text, expected):
    assert lines(read(text)) == expected


JSON = (
    '{"apiVersion": "projectcalico.org/v3", "kind": "GlobalNetworkSet",\n'
    ' "metadata": {"name": "%s"}}\n'
)


def test_json_documents_may_follow_each_other():
    assert lines(read(JSON % "a" + JSON % "b", name="f.json")) == {"a": 1, "b": 3}


@pytest.mark.parametrize(
    ("text", "line", "column", "words"),
    [
        (JSON % "a" + '{"kind": 1, "kind": 2}', 3, 13, "'kind' is there twice"),
        ('{"a": NaN}', 1, 0, "NaN is not a number"),
        ('{"a": ', 1, 7, "not JSON"),
        ("[" * 100_000, 1, 0, "nested too deeply"),
        (JSON % "a" + '\n{"kind":\n "GlobalNetworkSett"}', 4, 2, "GlobalNetworkSet"),
        ('{"kind": "GlobalNetworkSett", "x": "\\ud83d\\ude00"}', 1, None, "GlobalNetworkSet"),
    ],
)
def test_json_errors(text, line, column, words):
    with pytest.raises(ManifestTextError) as caught:
        read(text, name="f.json")
    (error,) = caught.value.errors
    assert error.line == line
    assert column in (None, error.column)
    assert words in error.message


VERSIONS = st.lists(
    st.lists(st.tuples(st.sampled_from("abcd"), st.sampled_from("12")), max_size=4), max_size=5
)


@given(versions=VERSIONS)
def test_reading_on_is_reading_afresh(versions):
    content = EMPTY
    for version in versions:
        text = several(*[network_set(name, f"10.0.0.{last}/32") for name, last in version])
        try:
            afresh = read(text)
        except ManifestTextError as err:
            with pytest.raises(ManifestTextError) as caught:
                read(text, content)
            assert caught.value.errors == err.errors
        else:
            content = read(text, content)
            assert content == afresh
