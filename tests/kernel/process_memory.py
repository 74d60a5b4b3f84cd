"""What is in the memory of a process, for tests of what should not be in it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path


def regions(process: int) -> Iterator[bytes]:
    """All that it can write to: heap, stack, and data of libraries."""
    with (
        Path(f"/proc/{process}/maps").open() as maps,
        Path(f"/proc/{process}/mem").open("rb") as memory,
    ):
        for line in maps:
            where, rights = line.split()[:2]
            if "w" in rights:
                start, end = (int(part, 16) for part in where.split("-"))
                memory.seek(start)
                yield memory.read(end - start)


def remains(key: bytes, process: int) -> bool:
    """Whether eight bytes of a key in a row are there."""
    parts = [key[i : i + 8] for i in range(len(key) - 7)]
    return any(part in region for region in regions(process) for part in parts)
