"""What the manifest files hold, and which of it is in force.

    in   load: files to look at, some of them perhaps gone
    out  the keys that have changed, and the files to look at once more a little later
         errors: what is wrong now, file by file

The last good version of a file stays in force while the present one is bad.  Blocking, and not for
two threads at once.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Final, NamedTuple

from msgspec import Struct

from calc_graph.model import Key, Value
from felixpy.datastore.catalogue import Catalogue, Conflict
from felixpy.datastore.manifest_files import Signature, UnreadableError, read
from felixpy.datastore.manifest_text import EMPTY, Decode, FileContent, ManifestTextError, read_text
from felixpy.datastore.settling import EMPTY_SECONDS, GONE_SECONDS, Due
from felixpy.datastore.source import BadInput, Changed


class Loaded(NamedTuple):
    changes: list[Changed]
    again: dict[str, float]  # path -> seconds after which to look again, and then to believe it


class _File(Struct, frozen=True):
    """`content` is the last good version; `errors` says why the present one is not in force."""

    content: FileContent
    signature: Signature | None = None  # None: look again with every walk
    errors: tuple[BadInput, ...] = ()


_NEW: Final = _File(EMPTY)


class Holdings:
    def __init__(self, builtin: Mapping[Key, Value], decode: Decode) -> None:
        self._decode = decode
        self._catalogue = Catalogue(builtin)
        self._files: dict[str, _File] = {}
        self._bad: dict[str, tuple[BadInput, ...]] = {}

    @property
    def paths(self) -> Collection[str]:
        return self._files.keys()

    def signature(self, path: str) -> Signature | None:
        """None where the file is not known, or could not be read."""
        return self._files.get(path, _NEW).signature

    def load(self, due: list[Due]) -> Loaded:
        predecessors = self._predecessors(due)
        changed: dict[str, _File | None] = {}
        again: dict[str, float] = {}
        for entry in sorted(due):
            file = self._read(entry, predecessors)
            if isinstance(file, float):
                again[entry.path] = file
            else:
                changed[entry.path] = file
        if again:
            # what has gone may have gone into a file that is not ready: both or neither
            delay = max(again.values())
            for path in [path for path, file in changed.items() if file is None]:
                again[path] = delay
                del changed[path]
        self._take_over(changed)
        return Loaded(self._catalogue.flush(), again)

    def errors(self, unsettled: Collection[str] = ()) -> dict[str, list[BadInput]]:
        """By file; `unsettled` files are about to be looked at: no conflict yet."""
        errors = {path: list(found) for path, found in self._bad.items()}
        for conflict in self._catalogue.conflicts():
            if self._is_real(conflict, unsettled):
                error = self._conflict_error(conflict)
                errors.setdefault(error.where, []).append(error)
        return errors

    def _take_over(self, changed: Mapping[str, _File | None]) -> None:
        for path, file in changed.items():
            if file is None:
                self._files.pop(path, None)
            else:
                self._files[path] = file
            if file and file.errors:
                self._bad[path] = file.errors
            else:
                self._bad.pop(path, None)
        self._catalogue.replace(
            {path: file.content.resources if file else {} for path, file in changed.items()}
        )

    def _predecessors(self, due: Iterable[Due]) -> dict[tuple[int, int], _File]:
        """The files that may have gone, by inode: one of them that is moved takes its good version
        along.
        """
        return {
            known.signature.same_file: known
            for entry in due
            if entry.settled and (known := self._files.get(entry.path)) and known.signature
        }

    def _read(self, due: Due, predecessors: dict[tuple[int, int], _File]) -> _File | float | None:
        """None: the file is gone.  A number: look again after so many seconds."""
        known = self._files.get(due.path, _NEW)
        try:
            reading = read(due.path)
        except FileNotFoundError:
            return None if due.settled else GONE_SECONDS
        except UnreadableError as err:
            if not due.settled:
                return GONE_SECONDS
            return _File(known.content, errors=(BadInput(due.path, 0, 0, "", str(err)),))
        if not due.settled and (
            not reading.steady or (not reading.text and known.content.resources)
        ):
            return EMPTY_SECONDS
        if known is _NEW:
            known = predecessors.get(reading.signature.same_file, _NEW)
        signature = reading.signature if reading.steady else None
        try:
            content = read_text(due.path, reading.text, known.content, self._decode)
        except ManifestTextError as err:
            return _File(known.content, signature, tuple(err.errors))
        return _File(content, signature)

    def _is_real(self, conflict: Conflict, unsettled: Collection[str]) -> bool:
        """Not where one of the files is about to go, nor where both are one file with two names."""
        files = (conflict.first.file, conflict.second.file)
        if any(file in unsettled for file in files):
            return False
        first, second = (self._files[file].signature for file in files)
        return first is None or second is None or first.same_file != second.same_file

    def _conflict_error(self, conflict: Conflict) -> BadInput:
        first = self._catalogue.placed(conflict.first)
        second = self._catalogue.placed(conflict.second)
        message = (
            f"{conflict.of} is also in {conflict.first.file}:{first.line}; one of the two must go"
        )
        return BadInput(conflict.second.file, second.line, 0, "", message)
