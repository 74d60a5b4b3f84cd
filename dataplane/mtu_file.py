"""The file that tells the CNI plugin how large a workload's packets may be.

    in   desire   a number of bytes
    out  apply    the file, whole at any moment

The plugin reads it when it makes an interface; interfaces that are there keep their MTU.  A file
that cannot be written is a failure only where it is required.
Source: projectcalico/calico felix/dataplane/linux/int_dataplane.go; section 2.6 of the routes
reference.
"""

from __future__ import annotations

from pathlib import Path

import structlog

from dataplane.errors import DataplaneError

log = structlog.get_logger(__name__)


class MtuFileError(DataplaneError):
    """It could not be written; it is tried again."""


class MtuFile:
    """`path` "" means that nobody wants one."""

    def __init__(self, path: str, *, required: bool) -> None:
        self._path = Path(path) if path else None
        self._required = required
        self._wanted = 0
        self._settled = 0  # what is in the file, or was tried once where it is not required

    def desire(self, mtu: int) -> None:
        self._wanted = mtu

    async def apply(self) -> None:
        """Raises MtuFileError where it is required."""
        if self._path is None or self._settled == self._wanted:
            return
        try:
            written = self._write(self._path, str(self._wanted))
        except OSError as error:
            reason = f"{self._path}: {error.strerror}"
            if self._required:
                raise MtuFileError(reason) from error
            log.warning("mtu_file.unwritable", reason=reason)
        else:
            if written:
                log.info("mtu_file.written", path=str(self._path), mtu=self._wanted)
        self._settled = self._wanted

    def _write(self, path: Path, text: str) -> bool:
        """Without an end of line: the plugin takes the whole of it as a number.

        Whether it was not there already.
        """
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            if path.read_text() == text:
                return False
        except FileNotFoundError:
            pass
        aside = path.with_name(f".{path.name}.felixpy")
        aside.write_text(text)
        aside.chmod(0o644)
        aside.replace(path)
        return True
