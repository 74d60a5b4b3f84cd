"""What the agent tells of BGP, from what it brought and what it saw.  No password is in any of it.

problems   what is wrong, by what it is about
summary    a line's worth, for the status file
details    all of it, for `felixpy status bgp`
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Literal

from msgspec import Struct

from calc_graph.bgp.updates import BgpSession, SessionKind, Trust
from dataplane.bird.settings import BirdSettings
from felixpy.bgp.bringing import Brought
from felixpy.bgp.looks import Seen
from felixpy.bgp.netstat import SignatureFaults
from felixpy.bgp.secret_store import shown
from felixpy.status import BgpStatus

_NAMED = 3  # sessions in one line; more are counted


class SessionDetails(Struct, frozen=True):
    """What BIRD does not know of one session.

    password  "set", "none", "last good: REASON" or "refused: REASON"; `secret`: where it is from
    problem   why it is disabled, or what else is wrong with it
    hint      what may keep it from coming up
    """

    name: str
    family: Literal[4, 6]
    kind: SessionKind
    trust: Trust
    address: str
    resource: str
    remote: str
    local_as: int
    remote_as: int
    password: str
    secret: str = ""
    enabled: bool = True
    problem: str = ""
    hint: str = ""
    unguarded: bool = False
    filters: tuple[str, ...] = ()


class Details(Struct, frozen=True):
    """`state` as in BgpStatus; `changed`: when BIRD was last given another configuration."""

    state: str
    problem: str = ""
    changed: str = ""
    waiting: tuple[str, ...] = ()
    sessions: tuple[SessionDetails, ...] = ()
    problems: Mapping[str, str] = {}


def state(brought: Brought | None, seen: Seen | None) -> str:
    """In the words of BgpStatus."""
    if brought is None:
        return "waiting"
    if brought.unrenderable:
        return "refused"
    if brought.outcome is not None and brought.outcome.state in ("refused", "undone"):
        return brought.outcome.state
    if seen is None or (brought.outcome is not None and brought.outcome.state == "away"):
        return "away"
    return "trying" if brought.trying or brought.outcome is None else "in sync"


def problems(brought: Brought | None) -> dict[str, str]:
    """Sessions with the same problem are one problem: a mesh may have a thousand of them."""
    if brought is None:
        return {}
    texts = defaultdict(list)
    for about, text in (*brought.faults, *brought.version.problems.items()):
        texts[about].append(text)
    found = {about: f"{about}: {'; '.join(said)}" for about, said in texts.items()}
    by_reason = defaultdict(list)
    for name, part in brought.version.sessions.items():
        if part.problem:
            secret = _secret(brought.sessions.get(name))
            by_reason[part.problem, part.enabled, secret].append(name)
    for (reason, enabled, secret), names in by_reason.items():
        verb = "" if enabled else " disabled"
        where = f" (Secret {secret})" if secret else ""
        found[f"session {min(names)}"] = f"{_sessions(names)}{verb}: {reason}{where}"
    said = " ".join(reason for reason, *_ in by_reason)
    for about, text in brought.secret_problems.items():
        if text not in said:
            found[about] = f"{about}: {text}"
    outcome = brought.outcome
    if brought.unrenderable:
        found["BIRD"] = f"no configuration for BIRD can be made: {brought.unrenderable}"
    elif outcome is not None and outcome.state in ("refused", "undone", "away"):
        found["BIRD"] = f"{_OUTCOMES[outcome.state]}: {outcome.problem}"
    return found


_OUTCOMES = {
    "refused": "the new configuration is refused, and the one before stays",
    "undone": "the new configuration was undone",
    "away": "BIRD does not answer",
}


def summary(brought: Brought | None, seen: Seen | None, settings: BirdSettings) -> BgpStatus:
    if brought is None:
        return BgpStatus("waiting")
    parts = brought.version.sessions
    up = seen.up if seen is not None else {}
    return BgpStatus(
        state(brought, seen),
        sessions=len(parts),
        up=sum(up.get(name, False) for name in parts),
        refused=sum(not part.enabled for part in parts.values()),
        unguarded=tuple(
            sorted({s.resource for s in brought.sessions.values() if _unguarded(s, settings)})
        ),
    )


def details(brought: Brought | None, seen: Seen | None, settings: BirdSettings) -> Details:
    if brought is None:
        return Details("waiting")
    outcome = brought.outcome
    return Details(
        state(brought, seen),
        problem=brought.unrenderable or (outcome.problem if outcome is not None else ""),
        changed=brought.changed,
        waiting=outcome.waiting if outcome is not None else (),
        sessions=tuple(
            _session(session, brought, seen, settings)
            for _, session in sorted(brought.sessions.items())
        ),
        problems=problems(brought),
    )


def password_refusals(brought: Brought | None) -> dict[str, str]:
    """Session -> why it has no password though it should have one."""
    if brought is None:
        return {}
    texts = {name: password(session, brought) for name, session in brought.sessions.items()}
    return {
        name: text.removeprefix(_REFUSED)
        for name, text in texts.items()
        if text.startswith(_REFUSED)
    }


_REFUSED = "refused: "


def password(session: BgpSession, brought: Brought) -> str:
    """As SessionDetails has it."""
    if session.password is None:
        return "none"
    credential = brought.credentials.get(session.password)
    if credential is None:
        return f"{_REFUSED}not read yet"
    if credential.password is None:
        return f"{_REFUSED}{credential.problem}"
    return f"last good: {credential.problem}" if credential.problem else "set"


def hint(faults: SignatureFaults, *, password_set: bool) -> str:
    """Why a session that waits for its other end may wait in vain; "" where nothing says so."""
    if password_set and (faults.wrong or faults.missing):
        return "perhaps the password differs from the other end's, or the other end has none"
    if not password_set and faults.unexpected:
        return "perhaps the other end has a password, and this one has none"
    return ""


def _session(
    session: BgpSession, brought: Brought, seen: Seen | None, settings: BirdSettings
) -> SessionDetails:
    part = brought.version.sessions.get(session.name)
    text = password(session, brought)
    waits = seen is not None and session.name in seen.waiting
    return SessionDetails(
        session.name,
        session.family,
        session.kind,
        session.trust,
        session.address,
        session.resource,
        session.remote,
        session.local_as,
        session.remote_as,
        text,
        _secret(session),
        enabled=part is None or part.enabled,
        problem=part.problem if part is not None else "",
        hint=hint(seen.faults, password_set=text != "none") if seen is not None and waits else "",
        unguarded=_unguarded(session, settings),
        filters=session.filters,
    )


def _secret(session: BgpSession | None) -> str:
    return "" if session is None or session.password is None else shown(session.password)


def _unguarded(session: BgpSession, settings: BirdSettings) -> bool:
    """A mesh cannot be: no resource of its own gives it filters."""
    return bool(session.resource) and session.resource in settings.unguarded


def _sessions(names: Iterable[str]) -> str:
    names = sorted(names)
    shown = ", ".join(names[:_NAMED])
    more = len(names) - _NAMED
    return f"{shown} and {more} more" if more > 0 else shown
