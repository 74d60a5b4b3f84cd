"""JSON text to plain dicts, lists, strings, numbers, booleans and None.

Several documents may follow each other.  The standard library reads them, not msgspec: of a key
that is there twice msgspec silently keeps the last (0.22), and here it must be an error.
"""

from __future__ import annotations

import json
import re
from typing import Final, NoReturn

from felixpy.datastore import yaml_documents
from felixpy.datastore.yaml_documents import Document, Tree, YamlError, locate

_SPACE: Final = re.compile(r"[ \t\r\n]*")


class _RefusedError(ValueError):
    """JSON, but not a manifest."""


def read_documents(text: str) -> list[Document]:
    """Every document of `text`, null ones left out.  Raises YamlError, whatever is wrong."""
    documents = []
    position = _skip_space(text, 0)
    while position < len(text):
        line = text.count("\n", 0, position) + 1
        try:
            tree, end = _DECODER.raw_decode(text, position)
        except json.JSONDecodeError as err:
            raise YamlError(f"not JSON: {err.msg}", err.lineno, err.colno) from None
        except _RefusedError as err:
            raise YamlError(str(err), *_place_of_refused(text[position:], line)) from None
        except RecursionError:
            raise YamlError("nested too deeply", line) from None
        if tree is not None:
            documents.append(Document(line, tree))
        position = _skip_space(text, end)
    return documents


def locate_in(text: str, document: Document, path: tuple[str | int, ...]) -> tuple[int, int]:
    """Line and column of `path`: JSON is YAML, all but a few escapes; with those, the document's
    first line.
    """
    lines = text.split("\n")[document.line - 1 :]
    try:
        line, column = locate("\n".join(lines), 0, path)
    except (YamlError, IndexError):
        return document.line, 0
    return document.line - 1 + line, column


def _skip_space(text: str, position: int) -> int:
    match = _SPACE.match(text, position)
    return match.end() if match else position


def _place_of_refused(text: str, line: int) -> tuple[int, int]:
    # the YAML reader knows where it stands when it meets the same key again
    try:
        yaml_documents.read_documents(text)
    except YamlError as err:
        return line - 1 + err.line, err.column
    return line, 0


def _pairs(pairs: list[tuple[str, Tree]]) -> Tree:
    tree = dict(pairs)
    if len(tree) < len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in keys if keys.count(key) > 1)
        raise _RefusedError(f"the key {twice!r} is there twice")
    return tree


def _constant(text: str) -> NoReturn:
    raise _RefusedError(f"{text} is not a number that a manifest can hold")


_DECODER: Final = json.JSONDecoder(object_pairs_hook=_pairs, parse_constant=_constant)
