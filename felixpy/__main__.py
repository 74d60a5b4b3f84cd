"""The `felixpy` command."""

from __future__ import annotations

import sys

from felixpy.cli import main

if __name__ == "__main__":
    sys.exit(main())
