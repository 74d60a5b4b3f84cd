"""What can go wrong towards the kernel: the work stays pending; read, plan and try again."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence


class DataplaneError(Exception):
    """The kernel is not what was desired, and is known not to be."""


class CommandError(DataplaneError):
    """A program answered with an exit status that means failure."""

    def __init__(self, argv: Sequence[str], code: int, stderr: str) -> None:
        super().__init__(f"{shlex.join(argv)}: exit {code}: {stderr.strip()}")
        self.argv = tuple(argv)
        self.code = code
        self.stderr = stderr


class CommandTimeoutError(DataplaneError):
    """A program did not answer in time and was ended."""

    def __init__(self, argv: Sequence[str], seconds: float) -> None:
        super().__init__(f"{shlex.join(argv)}: no answer in {seconds:g} s")
        self.argv = tuple(argv)


class CommandMissingError(DataplaneError):
    """A program is not installed, or cannot be started."""

    def __init__(self, program: str, reason: str = "not found") -> None:
        super().__init__(f"{program}: {reason}")
        self.program = program


class UnreadableError(DataplaneError):
    """What was read cannot be trusted; nothing may be written after it."""


class ChainsRefusedError(DataplaneError):
    """Chains were refused; what depends on them keeps its old state, the rest is written.

    `refused` maps (table, chain) to the reason.
    """

    def __init__(self, family: int, refused: Mapping[tuple[str, str], str]) -> None:
        listed = "; ".join(f"{t} {c}: {why}" for (t, c), why in sorted(refused.items()))
        super().__init__(f"ipv{family}: chains refused: {listed}")
        self.refused = dict(refused)
