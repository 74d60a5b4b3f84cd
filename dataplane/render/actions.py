"""Which configured action applies where."""

from __future__ import annotations

from typing import Literal

from dataplane.render.names import Table
from dataplane.settings import RenderSettings


def deny_action(settings: RenderSettings, table: Table) -> Literal["DROP", "REJECT"]:
    """REJECT exists only in the filter table; Felix writes it elsewhere too, and the tools refuse
    it (defect D8).
    """
    return settings.filter_deny_action if table == "filter" else "DROP"


def spoken(action: Literal["DROP", "REJECT"]) -> str:
    """As comments say it: "Drop" or "Reject"."""
    return action.capitalize()
