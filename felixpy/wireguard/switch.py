"""WireGuard is not switched on where that would do harm: the pre-flight comes first.

    admit     before a dataplane is built: the settings, with the families held that must wait
    review    from time to time: whether there is a reason to build it anew
    Holds     what waits, and for what; `felixpy confirm` lets it go all the same

A family whose device is there was switched on before, and waits for nothing.  One that waits is as
on a kernel without WireGuard: no device, no key, and closed where strictness asks for it.  It is
looked at again every RETRY seconds, and begins by itself once nothing stands in its way.  What the
way to other nodes is like is asked beside that, and only logged.

A kernel that has no WireGuard holds nothing back: there is nothing to let go.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Final, Literal

import structlog
from msgspec import structs

from dataplane.errors import DataplaneError
from dataplane.families import Family
from dataplane.settings import Settings
from felixpy.holds import Hold, Holds
from felixpy.wireguard.devices import device_index
from felixpy.wireguard.facts import Facts
from felixpy.wireguard.finding import Finding
from felixpy.wireguard.preflight import check_cluster, check_machine, check_peers

log = structlog.get_logger(__name__)

KIND: Final = "wireguard"
RETRY: Final = 10.0  # seconds
_IDS: Final[dict[Family, str]] = {4: "wireguard", 6: "wireguard-ipv6"}


class Switch:
    """`facts` are those of the moment; `clock` gives seconds that only grow."""

    def __init__(
        self,
        facts: Callable[[], Facts],
        holds: Holds,
        directory: Path,
        clock: Callable[[], float],
    ) -> None:
        self._facts = facts
        self._holds = holds
        self._directory = directory
        self._clock = clock
        self._held: frozenset[Family] = frozenset()
        self.reasons: dict[Family, str] = {}  # of what is held, in short
        self._confirmed: set[Family] = set()
        self._look_at = float("inf")
        self._warned: set[str] = set()
        self._asking: asyncio.Task[None] | None = None  # what the way to other nodes is like

    async def admit(self, settings: Settings) -> Settings:
        """Never raises DataplaneError: what cannot be looked at is no reason to wait."""
        wanted = settings.wireguard.families
        self._confirmed &= wanted
        device = settings.wireguard.device_of
        new = [family for family in sorted(wanted) if device_index(device(family)) is None]
        if new:
            await self._look(new)
            self._ask_peers(new)
        else:
            self._note({})
        wireguard = structs.replace(settings.wireguard, held=self._held)
        return structs.replace(settings, wireguard=wireguard)

    async def review(self) -> bool:
        """Whether what is held is other than it was when the settings were admitted."""
        if not self._held:
            return False
        if not self._held.isdisjoint(self._confirmed):
            return True
        if self._clock() < self._look_at:
            return False
        before = self._held
        await self._look(sorted(before))
        return self._held != before

    def seconds_to_next(self) -> float:
        """Until `review` has something to look at; perhaps infinite."""
        return max(0.0, self._look_at - self._clock()) if self._held else float("inf")

    async def close(self) -> None:
        self._note({})
        if self._asking is not None:
            self._asking.cancel()
            await asyncio.gather(self._asking, return_exceptions=True)

    # ---------------------------------------------------------------- steps

    async def _look(self, families: Iterable[Family]) -> None:
        families = list(families)
        facts = self._facts()
        try:
            found = await check_machine(facts, self._directory, dict.fromkeys(families))
        except DataplaneError as error:
            log.warning("wireguard.preflight_failed", reason=str(error))
            found = []
        # names of the datastore's hosts are looked up, which may take its time
        found += await asyncio.to_thread(check_cluster, facts, families)
        self._warn(each for each in found if not each.holds)
        self._note(
            {
                family: reasons
                for family in families
                if family not in self._confirmed
                and (reasons := [f for f in found if f.holds and f.family in (0, family)])
            }
        )

    def _note(self, reasons: dict[Family, list[Finding]]) -> None:
        for family in self._held - reasons.keys():
            why = (
                "somebody lets it go" if family in self._confirmed else "nothing stands in its way"
            )
            self._holds.lift(_IDS[family], why)
        for family, found in reasons.items():
            text = "; ".join(f"{f.check}: {f.text} ({f.advice})" for f in found)
            hold = Hold(
                _IDS[family], KIND, f"WireGuard of IPv{family} is not switched on: {text}", 1
            )
            self._holds.place(hold, partial(self._confirmed.add, family))
        self._held = frozenset(reasons)
        self.reasons = {family: _in_short(found) for family, found in reasons.items()}
        self._look_at = self._clock() + RETRY

    def _ask_peers(self, families: Iterable[Family]) -> None:
        if self._asking is None or self._asking.done():
            asking = self._warn_of_peers(dict.fromkeys(families))
            self._asking = asyncio.create_task(asking, name="wireguard pre-flight")

    async def _warn_of_peers(self, families: dict[Family, None]) -> None:
        try:
            found = await check_peers(self._facts(), families)
        except DataplaneError as error:
            log.warning("wireguard.preflight_failed", reason=str(error))
            return
        self._warn(found)

    def _warn(self, found: Iterable[Finding]) -> None:
        """Each once; those with the same advice, such as of hundreds of nodes, in one line."""
        alike: dict[tuple[str, Family | Literal[0]], list[Finding]] = {}
        for each in found:
            if each.verdict != "ok" and each.about not in self._warned:
                self._warned.add(each.about)
                alike.setdefault((each.advice, each.family), []).append(each)
        for (advice, _), (first, *others) in alike.items():
            more = f" and {len(others)} more" if others else ""
            log.warning(
                "wireguard.preflight", about=first.about + more, reason=first.text, advice=advice
            )


def _in_short(found: list[Finding]) -> str:
    more = f" (and {len(found) - 1} more)" if len(found) > 1 else ""
    return f"{found[0].check}: {found[0].text}{more}"
