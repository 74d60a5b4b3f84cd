"""What all tests share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import structlog


@pytest.fixture(autouse=True)
def _own_logging() -> Iterator[None]:
    """A test that has the agent set up its log leaves nothing of that to the next one."""
    yield
    if structlog.is_configured():
        structlog.reset_defaults()
