"""The text of one manifest file to its resources.

    in   text, and what the same file held the last time
    out  FileContent: every resource with its place, or ManifestTextError with all that is wrong

The cost follows the change: YAML text is cut at its `---` lines, and a document whose text is the
same as before is not read again.  One changed document in a file of 50,000 costs the cutting, not
the reading, of the others.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from hashlib import blake2b
from typing import Final, NamedTuple, TypeAlias

from felixpy.datastore import json_documents, yaml_documents
from felixpy.datastore.decode import Resource
from felixpy.datastore.errors import InvalidResourceError, render_path
from felixpy.datastore.source import BadInput
from felixpy.datastore.yaml_documents import Document, Path, YamlError

Decode: TypeAlias = Callable[[object], list[Resource]]

# a line that starts so is a separator wherever it stands, even within a quoted scalar (YAML 1.2,
# production 206)
_SEPARATOR: Final = re.compile(r"^---(?=[ \t\r\n]|\Z)", re.MULTILINE)
_DIRECTIVE: Final = re.compile(
    r"^%", re.MULTILINE
)  # belongs to the document after it: such a text stays in one piece


class Identity(NamedTuple):
    """What two resources cannot share."""

    kind: str
    namespace: str
    name: str

    def __str__(self) -> str:
        full = f"{self.namespace}/{self.name}" if self.namespace else self.name
        return f"{self.kind} {full}"


class Placed(NamedTuple):
    """`line`: where the resource's document starts, from 1."""

    resource: Resource
    line: int


class Piece(NamedTuple):
    """The resources of one piece of the text; lines count from its first line, which is 0."""

    lines: int
    resources: tuple[Placed, ...]


class FileContent(NamedTuple):
    resources: dict[Identity, Placed]
    pieces: dict[
        bytes, Piece
    ]  # digest of the text -> what it held; what the next reading of the file may reuse


EMPTY: Final = FileContent({}, {})


class ManifestTextError(ValueError):
    def __init__(self, errors: list[BadInput]) -> None:
        super().__init__("; ".join(str(error) for error in errors))
        self.errors = errors


def read_text(name: str, text: str, previous: FileContent, decode: Decode) -> FileContent:
    """`name` is the file's, for errors and for its kind.  Raises ManifestTextError."""
    is_json = name.endswith(".json")
    pieces: dict[bytes, Piece] = {}
    resources: dict[Identity, Placed] = {}
    errors: list[BadInput] = []
    line = 1
    for part in [text] if is_json else _cut(text):
        digest = blake2b(part.encode("utf-8", "surrogatepass"), digest_size=16).digest()
        piece = pieces.get(digest) or previous.pieces.get(digest)
        if piece is None:
            try:
                piece = _read_piece(name, part, line, decode, is_json=is_json)
            except ManifestTextError as err:
                errors += err.errors
                line += part.count("\n")
                continue
        pieces[digest] = piece
        for placed in piece.resources:
            here = placed._replace(line=line + placed.line)
            _add(name, resources, here, errors)
        line += piece.lines
    if errors:
        raise ManifestTextError(errors)
    return FileContent(resources, pieces)


def _add(
    name: str, resources: dict[Identity, Placed], placed: Placed, errors: list[BadInput]
) -> None:
    resource = placed.resource
    identity = Identity(resource.kind, resource.namespace, resource.name)
    first = resources.setdefault(identity, placed)
    if first is not placed:
        message = f"{identity} is there twice in this file, first in line {first.line}"
        errors.append(BadInput(name, placed.line, 0, "", message))


def _cut(text: str) -> Iterator[str]:
    if _DIRECTIVE.search(text):
        yield text
        return
    start = 0
    for match in _SEPARATOR.finditer(text):
        if match.start() > start:
            yield text[start : match.start()]
        start = match.start()
    if start < len(text):
        yield text[start:]


def _read_piece(name: str, text: str, line: int, decode: Decode, *, is_json: bool) -> Piece:
    """`line` is the piece's first line in the file, for errors only."""
    read = json_documents.read_documents if is_json else yaml_documents.read_documents
    try:
        documents = read(text)
    except YamlError as err:
        known = line + err.line - 1 if err.line else line
        raise ManifestTextError([BadInput(name, known, err.column, "", err.message)]) from None
    resources: list[Placed] = []
    errors: list[BadInput] = []
    for index, document in enumerate(documents):
        try:
            decoded = decode(document.tree)
        except InvalidResourceError as err:
            found = _locate(text, documents, index, err.path, is_json=is_json)
            field = render_path(err.path)
            errors.append(BadInput(name, line - 1 + found[0], found[1], field, err.message))
        else:
            resources += [Placed(resource, document.line - 1) for resource in decoded]
    if errors:
        raise ManifestTextError(errors)
    return Piece(text.count("\n"), tuple(resources))


def _locate(
    text: str, documents: list[Document], index: int, path: Path, *, is_json: bool
) -> tuple[int, int]:
    if is_json:
        return json_documents.locate_in(text, documents[index], path)
    return yaml_documents.locate(text, index, path)
