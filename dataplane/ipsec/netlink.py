"""The kernel's states and policies, by dataplane.xfrm and so by pyroute2.

    in   changes, read requests, keys to be tried
    out  error numbers, KernelState, KernelPolicy, what others have changed

Whoever has no IPsec does not import this: see kernel.open_xfrm.

Keys go from their Material into the buffer that is sent, which is overwritten at once.  What comes
up from the kernel has fingerprints in their place.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import functools
import secrets
from collections.abc import AsyncIterator, Sequence
from typing import Any, Final

from pyroute2.netlink import nlmsg
from pyroute2.netlink.exceptions import NetlinkDecodeError
from pyroute2.netlink.exceptions import NetlinkError as Refused

from dataplane.families import Family
from dataplane.ipsec import codec, listed
from dataplane.ipsec.kernel import (
    Change,
    Changed,
    Expired,
    KernelPolicy,
    KernelState,
    XfrmListener,
)
from dataplane.ipsec.keys import Algorithm, Key, Material, fingerprint
from dataplane.ipsec.values import StateId, StateWish
from dataplane.netlink import NetlinkError
from dataplane.xfrm import attributes as xfrm
from dataplane.xfrm import constants
from dataplane.xfrm.sockets import AsyncXFRMSocket

_PATIENCE: Final = 30.0  # seconds; the kernel is done when it is asked, its modules once loaded
_AT_ONCE: Final = 200  # for which the kernel may take that long
_NOTIFICATIONS: Final = 8 << 20
_SECONDS_OF_A_TRIAL: Final = 10  # should we end in the middle of it, the kernel deletes it
_TRIAL_BITS: Final = 28
# Kept for documentation (RFC 5737, RFC 3849): nobody has them.
_TRIAL_ENDS: Final[dict[Family, tuple[str, str]]] = {
    4: ("192.0.2.1", "192.0.2.2"),
    6: ("2001:db8::1", "2001:db8::2"),
}
# What an algorithm that there is not is refused with; anything else says nothing about it.
_NEVER: Final = frozenset(
    (errno.EPROTONOSUPPORT, errno.ENOSYS, errno.ENOENT, errno.EINVAL, errno.EOPNOTSUPP)
)
_MODULES: Final[dict[Family, str]] = {4: "esp4", 6: "esp6"}

_GROUPS: Final = (
    constants.XFRMNLGRP_EXPIRE,
    constants.XFRMNLGRP_SA,
    constants.XFRMNLGRP_POLICY,
)
_OF_STATES: Final = (
    constants.XFRM_MSG_NEWSA,
    constants.XFRM_MSG_UPDSA,
    constants.XFRM_MSG_DELSA,
    constants.XFRM_MSG_FLUSHSA,
)
_OF_POLICIES: Final = (
    constants.XFRM_MSG_NEWPOLICY,
    constants.XFRM_MSG_UPDPOLICY,
    constants.XFRM_MSG_DELPOLICY,
    constants.XFRM_MSG_FLUSHPOLICY,
)


class KernelXfrm:
    def __init__(self, reqid: int) -> None:
        self._write = functools.partial(codec.write, reqid)
        self._socket: AsyncXFRMSocket | None = None
        self._opening = asyncio.Lock()
        self._reading = asyncio.Lock()  # the kernel lists one thing at a time to one socket

    async def read_states(self, family: Family) -> list[KernelState]:
        async with _asking("reading states of IPsec"), self._reading:
            found = await (await self._open()).read_states(listed.state)
        of_6 = family == 6
        return [s for s in found if s is not None and (":" in s.id.destination) == of_6]

    async def read_policies(self, family: Family) -> list[KernelPolicy]:
        async with _asking("reading policies of IPsec"), self._reading:
            found = await (await self._open()).read_policies(listed.policy)
        of_6 = family == 6
        return [p for p in found if p is not None and (":" in p.selector.destination) == of_6]

    async def change(self, changes: Sequence[Change]) -> list[int]:
        """In order; an error of one does not stop the next."""
        results: list[int] = []
        while len(results) < len(changes):
            part = changes[len(results) : len(results) + _AT_ONCE]
            async with _asking("changing IPsec"):
                opened = await self._open()
                results += await opened.execute_written(part, self._write)
        return results

    async def trial(self, key: Key, family: Family = 4) -> str:
        """With another key of the same length, for ends that nobody has."""
        source, destination = _TRIAL_ENDS[family]
        spi = 1 << _TRIAL_BITS | secrets.randbits(_TRIAL_BITS)
        ends: dict[str, Any] = {"dst": destination, "spi": spi}
        wish = StateWish(StateId(destination, spi), source, key.id, receives=True)
        with key.material(wish) as material:
            given = _random(material)
        async with _asking("trying a key of IPsec"):
            opened = await self._open()
            try:
                await opened.state(
                    "add", src=source, **ends, hard_add_seconds=_SECONDS_OF_A_TRIAL, **given
                )
            except Refused as refusal:
                if refusal.code not in _NEVER:
                    raise
                return _reason(key.algorithm, family, refusal)
            await opened.state("delete", **ends)
        return ""

    async def listen(self) -> XfrmListener:
        async with _asking("listening to changes of IPsec"):
            own = (await self._open()).epid
            opened = AsyncXFRMSocket(digest=fingerprint, buffer_bytes=_NOTIFICATIONS, deaf_to=own)
            await opened.bind(groups=sum(1 << group - 1 for group in _GROUPS))
        return KernelListener(opened)

    def close(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    async def _open(self) -> AsyncXFRMSocket:
        async with self._opening:
            if self._socket is None:
                opened = AsyncXFRMSocket(digest=fingerprint)
                await opened.bind()
                self._socket = opened
        return self._socket


class KernelListener:
    """Group ACQUIRE is not among its groups: who listens to that is a key manager, for whose sake
    the kernel makes a provisional state of each packet that finds none.  That a peer's sending
    state is missing is known without it: from what was written, and from the group of states.
    """

    def __init__(self, opened: AsyncXFRMSocket) -> None:
        self._socket = opened

    async def receive(self) -> list[Changed | Expired]:
        """As soon as there is something; cancelled while it waits, it loses nothing."""
        found: list[Changed | Expired] = []
        while not found:
            found = _told(await self._notifications())
        return found

    def close(self) -> None:
        self._socket.close()

    async def _notifications(self) -> list[nlmsg] | None:
        """None: some were lost."""
        try:
            return await self._socket.notifications()
        except OSError as error:
            if error.errno == errno.ENOBUFS:
                return None
            raise NetlinkError("listening to changes of IPsec", error.errno or 0) from error
        except NetlinkDecodeError as error:
            raise NetlinkError("listening to changes of IPsec", errno.EPROTO) from error


def _told(messages: list[nlmsg] | None) -> list[Changed | Expired]:
    if messages is None:
        return [Changed(states=True, policies=True)]
    kinds = {message["header"]["type"] for message in messages}
    found: list[Changed | Expired] = []
    for message in messages:
        if message["header"]["type"] == constants.XFRM_MSG_EXPIRE:
            name = listed.state_id(message)
            if name is not None:
                found.append(Expired(name, bool(message["hard"])))
    states, policies = not kinds.isdisjoint(_OF_STATES), not kinds.isdisjoint(_OF_POLICIES)
    if states or policies:
        found.append(Changed(states, policies))
    return found


@contextlib.asynccontextmanager
async def _asking(doing: str) -> AsyncIterator[None]:
    """Whatever can go wrong is a NetlinkError."""
    try:
        async with asyncio.timeout(_PATIENCE):
            yield
    except Refused as error:
        raise NetlinkError(doing, error.code) from error
    except TimeoutError as error:
        raise NetlinkError(doing, errno.ETIMEDOUT) from error
    except OSError as error:
        raise NetlinkError(doing, error.errno or errno.EIO) from error
    except (NetlinkDecodeError, ValueError) as error:
        raise NetlinkError(doing, errno.EPROTO) from error


def _random(material: Material) -> dict[str, xfrm.Algorithm]:
    """The same algorithms with other keys."""
    keys = [secrets.token_bytes(key.nbytes) for key in material.keys]
    return codec.algorithms(material.algorithm, keys)


def _reason(algorithm: Algorithm, family: Family, refusal: Refused) -> str:
    if refusal.code == errno.EPROTONOSUPPORT:
        return f"this kernel has no ESP for IPv{family} (module {_MODULES[family]})"
    return f"this kernel cannot do {algorithm}: {refusal.args[1]}"
