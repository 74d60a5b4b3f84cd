"""The whole file: what each module renders, in one order.

    in   Wanted, credentials by the keys of Secrets, settings
    out  Version: the text, the text without passwords, each session, what was left out and why

The text is a function of the current state: everything is sorted, nothing tells the time.  What
concerns one peer changes that peer's protocol, its set and the filters that it uses, and templates
never change, so that BIRD restarts no session and reloads no channel but the ones concerned.
Source: sections 3.2 and 3.6 of the BGP reference.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Final

from calc_graph.bgp.resources import LogLevel, SecretRef
from calc_graph.bgp.updates import BgpSession, BgpSpeaker
from dataplane.bird.credentials import Credential
from dataplane.bird.render import communities, guards, protocols, texts
from dataplane.bird.render.ends import Ends, ends
from dataplane.bird.render.filters import Filters
from dataplane.bird.render.problems import Problems
from dataplane.bird.render.sessions import (
    HIDDEN,
    TEMPLATE,
    Rendered,
    Surroundings,
    has_bfd,
    render_session,
)
from dataplane.bird.render.sets import Sets
from dataplane.bird.render.texts import FAMILIES, NotFitError
from dataplane.bird.settings import BirdSettings
from dataplane.bird.version import Version
from dataplane.bird.wanted import Wanted

# After a restart BIRD tells nobody anything, and writes nothing new, until every peer that is
# enabled has come back or this time is over (measured with 2.0.12).  Peers come within ten seconds;
# one that is away, as in a large mesh one always is, must not silence the node for BIRD's 240 s.
_RESTART_WAIT: Final = 30
_DEBUG: Final[dict[LogLevel, str]] = {"none": "off", "states": "{ states }", "debug": "all"}


class UnrenderableError(ValueError):
    """No file could work; the daemon is best left with what it has.  Its text says why."""


def render(
    wanted: Wanted, credentials: Mapping[SecretRef, Credential], settings: BirdSettings
) -> Version:
    """Raises UnrenderableError before the speaker is known, and where there is no router id."""
    speaker = wanted.speaker
    if speaker is None:
        raise UnrenderableError("it is not known yet what this node is")
    problems = Problems()
    head = _head(speaker, settings)
    fit = _fit(wanted, speaker, problems)
    filters = Filters(wanted.filters, problems)
    sets = {
        family: Sets(
            family,
            speaker,
            wanted.origins,
            [session for session, _ in fit if session.family == family],
            problems,
        )
        for family in FAMILIES
    }
    rendered = [
        render_session(
            session,
            its_ends,
            _credential(session, credentials),
            Surroundings(speaker, sets[session.family], filters, settings),
        )
        for session, its_ends in fit
    ]
    reachable = protocols.gateways([session for session, _ in fit], problems)
    before = [*head, *(text for s in sets.values() for text in s.definitions()), guards.FUNCTIONS]
    for of_family in sets.values():
        before.extend(_functions(of_family, speaker, problems))
    before.extend(filters.functions())
    before.extend(protocols.devices(speaker, settings, problems))
    for of_family in sets.values():
        before.append(protocols.static(of_family, reachable[of_family.family]))
        before.append(protocols.kernel(of_family, speaker, settings, problems))
    if any(has_bfd(session, settings) for session, _ in fit):
        before.append(protocols.BFD)
    return _assemble([*before, TEMPLATE], rendered, problems)


def _assemble(before: list[str], rendered: list[Rendered], problems: Problems) -> Version:
    common = "\n".join(before)
    secret = [session.text.replace(HIDDEN, session.password) for session in rendered]
    shown = [session.text.replace(HIDDEN, session.shown) for session in rendered]
    return Version(
        "\n".join([common, *secret, ""]),
        "\n".join([common, *shown, ""]),
        {session.name: session.part for session in rendered},
        problems.found(),
    )


def _credential(
    session: BgpSession, credentials: Mapping[SecretRef, Credential]
) -> Credential | None:
    return None if session.password is None else credentials.get(session.password)


def _fit(wanted: Wanted, speaker: BgpSpeaker, problems: Problems) -> list[tuple[BgpSession, Ends]]:
    found = []
    for name, session in sorted(wanted.sessions.items()):
        try:
            found.append((session, ends(session, speaker)))
        except NotFitError as error:
            problems.add(f"session {texts.note(name)}", str(error))
    return found


def _functions(sets: Sets, speaker: BgpSpeaker, problems: Problems) -> list[str]:
    family = sets.family
    mark = communities.mark_function(family, speaker.communities, problems)
    obey = f"""\
function obey_out{family}(int verdict) {{
  if verdict = 1 then {{ mark{family}(); accept; }}
  if verdict = 2 then reject;
}}"""
    return [mark, obey, guards.from_reflector(family, sets)] if sets.reflected else [mark, obey]


def _head(speaker: BgpSpeaker, settings: BirdSettings) -> list[str]:
    return [
        "# Written by felixpy: changes made here are lost.",
        "log syslog all;",
        f"debug protocols {_DEBUG[speaker.log]};",
        f"router id {_router_id(speaker, settings)};",
        f"graceful restart wait {_RESTART_WAIT};",
        *(f"timeformat {what} iso long;" for what in ("base", "log", "protocol", "route")),
        "attribute int why;",
    ]


def _router_id(speaker: BgpSpeaker, settings: BirdSettings) -> str:
    """Calico's hash of the name, for nodes without IPv4.  Section 2.3."""
    if settings.router_id == "hash":
        digest = hashlib.sha256(speaker.node.encode()).digest()
        first = digest[0] - 32 if digest[0] > 223 else digest[0]
        return ".".join(map(str, (first, *digest[1:4])))
    given = settings.router_id or speaker.address_v4
    if not given:
        raise UnrenderableError(
            f"node {texts.note(speaker.node)} has no IPv4 address to be its router id: "
            "one must be given, or be made from its name"
        )
    try:
        return texts.address(given, 4)
    except NotFitError as error:
        raise UnrenderableError(f"router id: {error}") from None
