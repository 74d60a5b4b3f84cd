"""YAML text to plain dicts, lists and scalars; and back to the line of a field.

    in   text of one or more documents
    out  read_documents: the documents with their lines
         locate: line and column of a field; reads the text again, for the sake of an error

Scalars mean what `yaml_scalars` says.  Stricter than YAML where a manifest could be misread: a key
twice in one mapping, a key that is not text and any tag beyond those of JSON are errors.  `<<`
merges, as kubectl has it.  A text cannot cost more than its size: depth and the expansion of
aliases are limited.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final, NamedTuple, TypeAlias

import yaml

from felixpy.datastore.yaml_scalars import NotFiniteError, parse_number, parse_plain

Path: TypeAlias = tuple[str | int, ...]
Tree: TypeAlias = Any  # what JSON can hold

# libyaml composes by recursion: 200,000 brackets overflow the C stack and kill the process (PyYAML
# 6.0.3)
MAX_DEPTH: Final = 100
MAX_ALIASED_NODES: Final = 100_000  # nodes that aliases may add to one document

_PLAIN: Final = "plain"
_QUOTED: Final = "quoted"
_TAG: Final = "tag:yaml.org,2002:"
_COLLECTION_TAGS: Final = frozenset((_PLAIN, _QUOTED, _TAG + "map", _TAG + "seq", "!"))


class YamlError(ValueError):
    """`line` and `column` count from 1, 0 where they are not known."""

    def __init__(self, message: str, line: int = 0, column: int = 0) -> None:
        super().__init__(message)
        self.message = message
        self.line = line
        self.column = column


class Document(NamedTuple):
    line: int  # of its first word, from 1
    tree: Tree


_Base: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class _Loader(_Base):  # type: ignore[misc]
    """Composes nodes; leaves out PyYAML's resolver, which costs as much as all the rest, and counts
    the depth.
    """

    depth = 0

    def resolve(self, _kind: type, _value: object, implicit: tuple[bool, bool] | bool) -> str:
        return _PLAIN if implicit is True or (implicit and implicit[0]) else _QUOTED

    def descend_resolver(self, _parent: object, _index: object) -> None:
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise YamlError(f"nested deeper than {MAX_DEPTH} levels")

    def ascend_resolver(self) -> None:
        self.depth -= 1


class _Builder:
    """Nodes of one document to plain values; `guarded`: there are aliases, so one node may be met
    again and again.
    """

    def __init__(self, *, guarded: bool) -> None:
        self._guarded = guarded
        self._open: set[int] = (
            set()
        )  # collections that are being built: an alias to one of them has no end
        self._seen: set[int] = set()
        self._built = 0
        self._aliased = 0

    def build(self, node: yaml.Node) -> Tree:
        if node.__class__ is yaml.ScalarNode:
            self._built += 1
            return node.value if node.tag == _QUOTED else _scalar(node)
        if node.tag not in _COLLECTION_TAGS:
            raise _error(node, f"tag {node.tag} is not allowed in a manifest")
        if self._guarded:
            return self._guarded_collection(node)
        return self._collection(node)

    def _guarded_collection(self, node: yaml.Node) -> Tree:
        known = id(node)
        if known in self._open:
            raise _error(node, "an alias within what it stands for has no end")
        before = self._built
        self._open.add(known)
        tree = self._collection(node)
        self._open.discard(known)
        self._built += 1
        if known in self._seen:
            self._aliased += self._built - before
            if self._aliased > MAX_ALIASED_NODES:
                raise _error(node, f"aliases stand for more than {MAX_ALIASED_NODES} values")
        self._seen.add(known)
        return tree

    def _collection(self, node: yaml.Node) -> Tree:
        return self._mapping(node) if isinstance(node, yaml.MappingNode) else self._sequence(node)

    def _sequence(self, node: yaml.Node) -> Tree:
        return [self.build(item) for item in node.value]

    def _mapping(self, node: yaml.Node) -> Tree:
        tree: dict[str, Tree] = {}
        merges: list[yaml.Node] = []
        for key_node, value_node in node.value:
            if key_node.tag == _PLAIN and key_node.value == "<<":
                merges.append(value_node)
                continue
            key = self.build(key_node)
            if key.__class__ is not str:
                raise _error(key_node, f"a key must be text, not {_shown(key)}: put it in quotes")
            if key in tree:
                raise _error(key_node, f"the key {key!r} is there twice")
            tree[key] = self.build(value_node)
        for merged in merges:
            for source in merged.value if isinstance(merged, yaml.SequenceNode) else [merged]:
                if not isinstance(source, yaml.MappingNode):
                    raise _error(source, "only a mapping can be merged with <<")
                for key, value in self.build(source).items():
                    tree.setdefault(key, value)
        return tree


def read_documents(text: str) -> list[Document]:
    """Every document of `text`, empty ones left out.  Raises YamlError."""
    documents = []
    guarded = "&" in text
    for node in _compose(text):
        tree = _Builder(guarded=guarded).build(node)
        if tree is not None:
            documents.append(Document(node.start_mark.line + 1, tree))
    return documents


def locate(text: str, index: int, path: Path) -> tuple[int, int]:
    """Line and column of `path` in the document `index` of those that `read_documents` returns.

    Where the path leads to nothing, the place of the last part that is there.
    """
    nodes = [node for node in _compose(text) if not _is_null(node)]
    node = nodes[index]
    mark = node.start_mark
    for step in path:
        if isinstance(node, yaml.MappingNode):
            pairs = [(key, value) for key, value in node.value if key.value == step]
            if not pairs:
                break
            mark, node = pairs[0][0].start_mark, pairs[0][1]
        elif isinstance(node, yaml.SequenceNode) and isinstance(step, int):
            if not 0 <= step < len(node.value):
                break
            node = node.value[step]
            mark = node.start_mark
        else:
            break
    return mark.line + 1, mark.column + 1


def _compose(text: str) -> Iterator[yaml.Node]:
    try:
        loader = _Loader(text)
        while loader.check_node():
            yield loader.get_node()
    except yaml.MarkedYAMLError as err:
        message = ", ".join(part for part in (err.problem, err.context) if part)
        mark = err.problem_mark or err.context_mark
        place = (mark.line + 1, mark.column + 1) if mark else (0, 0)
        raise YamlError(message or "not YAML", *place) from None
    except yaml.reader.ReaderError as err:
        line = text.count("\n", 0, err.position) + 1 if isinstance(err.position, int) else 0
        raise YamlError(f"a character that YAML does not allow: {err.reason}", line) from None
    except yaml.YAMLError as err:
        raise YamlError(str(err)) from None


def _is_null(node: yaml.Node) -> bool:
    return isinstance(node, yaml.ScalarNode) and node.tag != _QUOTED and _scalar(node) is None


def _scalar(node: yaml.ScalarNode) -> Tree:
    text: str = node.value
    tag = node.tag
    try:
        if tag == _PLAIN:
            return parse_plain(text)
        match tag.removeprefix(_TAG):
            case "str" | "!":
                return text
            case "int" | "float" if (number := parse_number(text)) is not None:
                return number
            case "bool" | "null" if not isinstance(value := parse_plain(text), str):
                return value
    except NotFiniteError:
        raise _error(node, f"{text} is not a number that a manifest can hold") from None
    raise _error(node, f"tag {tag} is not allowed here in a manifest")


def _shown(value: Tree) -> str:
    return str(value) if value.__class__ in (int, float, bool) else f"a {type(value).__name__}"


def _error(node: yaml.Node, message: str) -> YamlError:
    return YamlError(message, node.start_mark.line + 1, node.start_mark.column + 1)
