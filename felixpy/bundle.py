"""What felixpy consists of, wherever it runs from: a checkout's .venv, or an installation.

    out  the files of a directory of packages that holds felixpy and what it needs, and no more:
         a development environment's other packages stay behind
         the data that belongs to it: unit, configuration, example manifests

The packages are copied as they are, so that what was tested is what gets installed, and installing
needs no network.
"""

from __future__ import annotations

import importlib.util
import re
import sys
from collections.abc import Iterator
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path, PurePosixPath

OWN_PACKAGES = ("felixpy", "dataplane", "calc_graph")


class BundleError(Exception):
    """This installation of felixpy is not whole."""


def package_files() -> dict[PurePosixPath, Path]:
    """Where each file goes, relative to site-packages -> where it is now."""
    files: dict[PurePosixPath, Path] = {}
    for package in OWN_PACKAGES:
        directory = _directory(package)
        for path in directory.rglob("*"):
            if path.is_file() and _is_wanted(path):
                files[PurePosixPath(package, *path.relative_to(directory).parts)] = path
    for found in _needed(distribution("felixpy"), {"felixpy"}):
        for listed in found.files or ():
            # programs lie beside site-packages; nothing of felixpy starts one of them
            if ".." not in listed.parts and _is_wanted(Path(listed)):
                files[PurePosixPath(listed)] = Path(str(found.locate_file(listed)))
    absent = [path for path in files.values() if not path.exists()]
    if absent:
        raise BundleError(f"{absent[0]} is missing: ./run setup mends a checkout")
    return files


def own_metadata() -> tuple[PurePosixPath, str]:
    """Name, version and requirements, as `felixpy --version` and another install look them up."""
    own = distribution("felixpy")
    lines = [f"Name: felixpy\nVersion: {own.version}"]
    lines += [f"Requires-Dist: {requirement}" for requirement in _requirements(own)]
    text = "Metadata-Version: 2.1\n" + "\n".join(lines) + "\n"
    return PurePosixPath(f"felixpy-{own.version}.dist-info/METADATA"), text


def data_files() -> dict[PurePosixPath, Path]:
    """etc/*.cfg, etc/manifests/* and systemd/*.service -> where each is now."""
    checkout = _directory("felixpy").parent
    for top in (checkout, Path(sys.prefix, "share", "felixpy")):
        if (top / "systemd" / "felixpy.service").exists():
            names = [f"systemd/{path.name}" for path in (top / "systemd").glob("*.service")]
            names += [f"etc/{path.name}" for path in (top / "etc").glob("*.cfg")]
            names += [f"etc/manifests/{path.name}" for path in (top / "etc/manifests").iterdir()]
            return {PurePosixPath(name): top / name for name in sorted(names)}
    raise BundleError(
        f"neither {checkout} nor {sys.prefix}/share/felixpy holds felixpy's unit file"
    )


def _directory(package: str) -> Path:
    found = importlib.util.find_spec(package)
    if found is None or found.origin is None:
        raise BundleError(f"the package {package} is missing")
    return Path(found.origin).parent


def _is_wanted(path: Path) -> bool:
    return "__pycache__" not in path.parts and path.suffix != ".pyc"


def _requirements(found: Distribution) -> list[str]:
    return [each for each in found.requires or () if not re.search(r"\bextra\s*==", each)]


def _needed(found: Distribution, seen: set[str]) -> Iterator[Distribution]:
    """What a distribution requires, and what that requires; `seen` holds normalized names."""
    for requirement in _requirements(found):
        name = re.sub(r"[-_.]+", "-", re.split(r"[^\w.-]", requirement, maxsplit=1)[0]).lower()
        if name in seen:
            continue
        seen.add(name)
        try:
            other = distribution(name)
        except PackageNotFoundError:
            if ";" in requirement:  # needed on another platform or Python only
                continue
            raise BundleError(
                f"the package {name} is missing: ./run setup mends a checkout"
            ) from None
        yield other
        yield from _needed(other, seen)
