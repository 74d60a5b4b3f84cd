"""The keys in use, as long as IPsec is on: the source that the configuration names, watched.

in   settle(config)      which source
out  ring                the newest that a source has offered, None before there is one
     facts               what is in use, and what was rejected
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping

from dataplane.families import Family
from dataplane.ipsec.kernel import open_xfrm
from dataplane.ipsec.keys import Key, KeyRing
from felixpy.bgp.secrets_place import secrets_place
from felixpy.config import Config
from felixpy.config.to_ipsec import to_ipsec
from felixpy.ipsec.feeds import Feed, feed_of
from felixpy.ipsec.source import KeyFacts, KeySource
from felixpy.tasks import Background

_NAME = "ipsec keys"


class Keys:
    """`known`: keys that are not forgotten yet; `changed` is called when ring or facts are others;
    `environ` is where systemd says where its credentials are.
    """

    def __init__(
        self,
        config: Config,
        environ: Mapping[str, str],
        known: Callable[[], Mapping[int, str]],
        changed: Callable[[], None],
    ) -> None:
        self._config = config
        self._environ = environ
        self._known = known
        self._changed = changed
        self._named: tuple[str, ...] = ()
        self._source: KeySource | None = None
        self._task = Background(_NAME)
        self._errors = 0  # of earlier sources
        self.ring: KeyRing | None = None

    @property
    def facts(self) -> KeyFacts | None:
        return None if self._source is None else self._source.facts

    @property
    def errors(self) -> int:
        """How often something was rejected."""
        return self._errors + (0 if self._source is None else self._source.facts.errors)

    async def settle(self, config: Config) -> None:
        """The first look is over when this returns; a source that has gone keeps its keys in use
        until the next one has some.
        """
        self._config = config
        named = (config.ipsec_key_file, config.ipsec_key_secret, config.secrets_path)
        if named == self._named:
            return
        self._named = named
        await self.close()
        place = secrets_place(config, self._environ)

        def feed(stirred: Callable[[], None]) -> Feed:
            found = feed_of(config.ipsec_key_file, config.ipsec_key_secret, place, stirred)
            assert found is not None  # the configuration is refused without one
            return found

        source = await asyncio.to_thread(
            KeySource, feed, self._known, self._try, self._offer, changed=self._changed
        )
        self._source = source
        await source.look()
        self._task.begin(source.run)

    def check(self) -> None:
        """Raises what the watching has ended with: it should not."""
        self._task.check()

    async def close(self) -> None:
        self._errors = self.errors
        self._source = None
        await self._task.close()

    def _offer(self, ring: KeyRing) -> None:
        self.ring = ring
        self._changed()

    async def _try(self, key: Key) -> str:
        """Why this kernel cannot use it, for whatever family; "" if it can for one of them."""
        kernel = open_xfrm(self._config.ipsec_req_id)
        try:
            families: list[Family] = sorted(to_ipsec(self._config).families)
            reasons = [await kernel.trial(key, family) for family in families]
        finally:
            kernel.close()
        return "" if not all(reasons) else next(iter(reasons), "")
