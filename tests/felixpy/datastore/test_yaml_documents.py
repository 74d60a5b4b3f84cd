"""YAML text to plain values, and errors with their places."""

import json
import textwrap

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from felixpy.datastore.yaml_documents import (
    MAX_DEPTH,
    Document,
    YamlError,
    locate,
    read_documents,
)


def bomb(levels: int) -> str:
    text = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n"
    for level in range(1, levels):
        text += f"a{level}: &a{level} [{', '.join([f'*a{level - 1}'] * 10)}]\n"
    return text


READ = [
    # case                 text                                      trees
    ("empty", "", []),
    ("comment only", "# nothing\n", []),
    ("empty documents", "---\n---\n# x\n---\nnull\n", []),
    ("several", "a: 1\n---\nb: [x, 'y']\n", [{"a": 1}, {"b": ["x", "y"]}]),
    ("end mark", "a: 1\n...\n---\nb: 2\n", [{"a": 1}, {"b": 2}]),
    ("flow types", "types: [Ingress, Egress]", [{"types": ["Ingress", "Egress"]}]),
    ("port range", "ports: [80, 8000:8080]", [{"ports": [80, "8000:8080"]}]),
    ("quoted stays text", "a: '1'\nb: \"true\"\nc: ''", [{"a": "1", "b": "true", "c": ""}]),
    ("block text", "a: |\n  1\nb: >-\n  x\n  y\n", [{"a": "1\n", "b": "x y"}]),
    ("quoted number as key", '"1": x', [{"1": "x"}]),
    ("tag str", "a: !!str 12", [{"a": "12"}]),
    ("tag int", "a: !!int 12", [{"a": 12}]),
    ("tag bool", "a: !!bool yes", [{"a": True}]),
    ("tag null", "a: !!null ~", [{"a": None}]),
    ("tag map, seq", "a: !!map {b: !!seq [1]}", [{"a": {"b": [1]}}]),
    ("alias", "a: &x [1]\nb: *x", [{"a": [1], "b": [1]}]),
    ("merge", "a: &x {p: 1}\nb: {<<: *x, q: 3}", [{"a": {"p": 1}, "b": {"q": 3, "p": 1}}]),
    ("merge yields", "{<<: {p: 1}, p: 2}", [{"p": 2}]),
    ("merge of two", "{<<: [{a: 1}, {a: 2, b: 3}]}", [{"a": 1, "b": 3}]),
    ("json", '{"a": [1, true, null, "x\\u00e9"]}', [{"a": [1, True, None, "xé"]}]),
]  # fmt: skip


@pytest.mark.parametrize(("text", "trees"), [c[1:] for c in READ], ids=[c[0] for c in READ])
def test_read(text, trees):
    assert [document.tree for document in read_documents(text)] == trees


def test_a_document_knows_its_first_line():
    text = "# heading\na: 1\n---\n\n# more\nb: 2\n"
    assert read_documents(text) == [Document(2, {"a": 1}), Document(6, {"b": 2})]


REFUSED = [
    # case                 text                              line  column  words
    ("a key twice", "a: 1\nb: 2\na: 3\n", 3, 1, "'a' is there twice"),
    ("a key twice, deep", "s:\n  - {x: 1, x: 1}\n", 2, 12, "'x' is there twice"),
    ("number as key", "a:\n  1: x\n", 2, 3, "a key must be text, not 1"),
    ("boolean as key", "on: x\n", 1, 1, "a key must be text, not True"),
    ("list as key", "? [a]\n: x\n", 1, 3, "a key must be text"),
    ("infinity", "a: .inf\n", 1, 4, "not a number that a manifest can hold"),
    ("Python object", "a: !!python/object:os.system x", 1, 4, "is not allowed"),
    ("Python mapping", "a: !!python/dict {}", 1, 4, "is not allowed"),
    ("own tag", "a: !mine x", 1, 4, "tag !mine is not allowed"),
    ("binary", "a: !!binary eA==", 1, 4, "is not allowed"),
    ("not an int", "a: !!int x", 1, 4, "is not allowed"),
    ("merge of a scalar", "<<: x", 1, 5, "only a mapping can be merged"),
    ("unclosed", "a: {b\n", 2, 1, "did not find expected"),
    ("bad indentation", "a: 1\n  b: 2\n", 2, 4, "mapping values are not allowed"),
    ("tab", "a:\n\tb: 1\n", 2, 1, "cannot start any token"),
    ("unknown alias", "a: *x", 1, 4, "undefined alias"),
    ("alias within itself", "a: &a [*a]", 1, 4, "has no end"),
    ("alias bomb", bomb(9), None, None, "aliases stand for more than"),
    ("deep brackets", "[" * 200_000, None, None, f"deeper than {MAX_DEPTH}"),
    ("deep dashes", "- " * 200_000, None, None, f"deeper than {MAX_DEPTH}"),
    ("control character", "a: 1\nb: \x07\n", 2, None, "does not allow"),
]


@pytest.mark.parametrize(
    ("text", "line", "column", "words"), [c[1:] for c in REFUSED], ids=[c[0] for c in REFUSED]
)
def test_refused(text, line, column, words):
    with pytest.raises(YamlError) as caught:
        read_documents(text)
    assert words in caught.value.message
    assert line in (None, caught.value.line)
    assert column in (None, caught.value.column)


PLACED = textwrap.dedent("""\
    # first
    ---
    kind: A
    spec:
      ingress:
        - action: Allow
          ports: [1, 2]
        - {action: Deny, prots: []}
    ---
    null
    ---
    kind: B
    """)
PLACES = [
    # document, path, line, column
    (0, (), 3, 1),
    (0, ("kind",), 3, 1),
    (0, ("spec", "ingress", 0), 6, 7),
    (0, ("spec", "ingress", 0, "ports", 1), 7, 18),
    (0, ("spec", "ingress", 1, "prots"), 8, 22),
    (0, ("spec", "ingress", 7), 5, 3),
    (0, ("spec", "missing"), 4, 1),
    (0, ("kind", "deeper"), 3, 1),
    (1, ("kind",), 12, 1),
]


@pytest.mark.parametrize(("index", "path", "line", "column"), PLACES)
def test_locate(index, path, line, column):
    assert locate(PLACED, index, path) == (line, column)


# without those that YAML 1.1 takes for line ends and JSON does not
CHARACTERS = st.characters(
    exclude_categories=("Cc", "Cs", "Cn"), exclude_characters="\u2028\u2029\ufeff"
)
WORDS = st.text(CHARACTERS, max_size=6)
LEAVES = st.none() | st.booleans() | st.integers(-(10**12), 10**12) | WORDS
TREES = st.dictionaries(
    WORDS,
    st.recursive(
        LEAVES,
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS, inner, max_size=3),
        max_leaves=6,
    ),
    max_size=3,
)


@given(tree=TREES)
def test_what_a_yaml_writer_writes_reads_back(tree):
    text = yaml.dump(tree, Dumper=yaml.CSafeDumper, default_style='"', default_flow_style=True)
    assert [document.tree for document in read_documents(text)] == [tree]


@given(tree=TREES)
def test_json_is_yaml(tree):
    text = json.dumps(tree, ensure_ascii=False)
    assert [document.tree for document in read_documents(text)] == [tree]
