"""The directory that an installed felixpy runs from: an interpreter's environment (PEP 405) of
its own, the packages, the data, and the record of what was put elsewhere.

    bin/python        -> the interpreter that this felixpy runs on
    bin/felixpy       the command
    lib/python3.X/site-packages/
    share/felixpy/    unit, configuration (the strict one too, as an example), manifests: so that it
                      can install itself anew
    installed.json    what else was put where, and a hash of the packages
"""

from __future__ import annotations

import compileall
import hashlib
import json
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path, PurePosixPath

from felixpy import bundle
from felixpy.placing import Placer

_VERSION = f"{sys.version_info.major}.{sys.version_info.minor}"
_COMMAND = """\
#!{library}/bin/python -I
import sys

from felixpy.cli import main

sys.exit(main())
"""


class Library:
    def __init__(self, root: Path, library: PurePosixPath) -> None:
        self._root = root
        self._path = library
        self._where = root / library.relative_to("/")
        self._digest = ""

    def exists(self) -> bool:
        return self._where.exists()

    def read_record(self) -> dict[str, str]:
        """What an earlier installation put elsewhere: path -> hash.  Empty if there was none."""
        try:
            record = json.loads((self._where / "installed.json").read_bytes())
        except FileNotFoundError:
            return {}
        self._digest = record["library"]
        return dict(record["files"])

    def write_record(self, files: Mapping[str, str]) -> None:
        record = {"library": self._digest, "files": dict(sorted(files.items()))}
        (self._where / "installed.json").write_text(json.dumps(record, indent=2) + "\n")

    def build(self, placer: Placer, data: Mapping[PurePosixPath, Path]) -> bool:
        """Write the directory, if it does not hold the same already; was there anything to do?

        A running agent keeps the files that it has open; the new directory takes the old one's
        place only when it is complete.
        """
        packages = PurePosixPath("lib", f"python{_VERSION}", "site-packages")
        files = {packages / name: path for name, path in bundle.package_files().items()}
        files |= {PurePosixPath("share/felixpy") / name: path for name, path in data.items()}
        texts = {PurePosixPath("bin/felixpy"): _COMMAND.format(library=self._path)}
        texts[PurePosixPath("pyvenv.cfg")] = _environment()
        metadata, text = bundle.own_metadata()
        texts[packages / metadata] = text
        digest = _digest(files, texts)
        if digest == self._digest:
            return False
        self._digest = digest
        if not placer.dry_run:
            self._write(files, texts)
        return True

    def remove(self) -> None:
        shutil.rmtree(self._where)

    def _write(
        self, files: Mapping[PurePosixPath, Path], texts: Mapping[PurePosixPath, str]
    ) -> None:
        new, old = (self._where.with_name(f"{self._path.name}.{word}") for word in ("new", "old"))
        for left_over in (new, old):
            shutil.rmtree(left_over, ignore_errors=True)
        for name, path in files.items():
            (new / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, new / name)
        for name, text in texts.items():
            (new / name).parent.mkdir(parents=True, exist_ok=True)
            (new / name).write_text(text)
        (new / "bin/felixpy").chmod(0o755)
        (new / "bin/python").symlink_to(_interpreter())
        # the service may not write here, so without this each start would compile everything
        compileall.compile_dir(new / "lib", quiet=2, stripdir=str(new), prependdir=str(self._path))
        if self._where.exists():
            self._where.rename(old)
        new.rename(self._where)
        shutil.rmtree(old, ignore_errors=True)


def _interpreter() -> Path:
    return Path(sys.base_prefix, "bin", f"python{_VERSION}")


def _environment() -> str:
    home = _interpreter().parent
    return f"home = {home}\ninclude-system-site-packages = false\nversion = {_VERSION}\n"


def _digest(files: Mapping[PurePosixPath, Path], texts: Mapping[PurePosixPath, str]) -> str:
    digest = hashlib.sha256(str(_interpreter()).encode())
    for name in sorted([*files, *texts]):
        content = texts[name].encode() if name in texts else files[name].read_bytes()
        digest.update(f"\n{name} {len(content)}\n".encode() + content)
    return digest.hexdigest()
