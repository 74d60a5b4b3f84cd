"""One session as one protocol of BIRD.

    in   a session and its ends, its credential, what its filters call
    out  its text, with HIDDEN in the place of a password; its part of the version

A session that names a Secret is either rendered with the password or with `disabled;`: never
without either.  Its one channel always has both filters, because BIRD takes the lack of one on an
internal session for "everything".
Source: sections 2.3, 3.1, 3.6, 4.3 and 5.3 of the BGP reference.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from calc_graph.bgp.updates import BgpSession, BgpSpeaker, SessionNextHop, Trust
from dataplane.bird import reasons
from dataplane.bird.credentials import Credential, Password
from dataplane.bird.render import texts
from dataplane.bird.render.ends import BGP_PORT, Ends, problem_of
from dataplane.bird.render.filters import Direction, Filters
from dataplane.bird.render.sets import Sets, owner_set
from dataplane.bird.settings import BirdSettings
from dataplane.bird.version import SessionPart

HIDDEN: Final = "\0"  # no checked text holds it
TEMPLATE: Final = """\
template bgp session {
  graceful restart on;
  connect delay time 2;
  connect retry time 5;
  error wait time 5, 30;
}"""
# Seat belts: a peer gone mad must not eat the memory, a big cluster must fit ten times over.
# A node has some hundred workloads, a cluster 5,000 nodes, the Internet a million routes.
_LIMITS: Final[dict[Trust, int]] = {
    "node": 10_000,
    "reflector": 1_000_000,
    "outside": 2_000_000,
    "workload": 1_000,
}
_NEXT_HOPS: Final[dict[SessionNextHop, list[str]]] = {
    "auto": [],
    "self": ["  next hop self;"],
    "keep": ["  next hop keep;"],
}
_HOLD: Final = 240  # seconds; BIRD's own, and what Calico's sessions have
_LONGEST_HOLD: Final = 65_535
_LONGEST_RESTART: Final = 4095  # BGP has 12 bits for it


class Surroundings(NamedTuple):
    """What a session has in common with the others of its family."""

    speaker: BgpSpeaker
    sets: Sets
    filters: Filters
    settings: BirdSettings


class Rendered(NamedTuple):
    """`name` is the protocol's; `shown` stands for the password in what people may see."""

    name: str
    text: str
    password: str
    shown: str
    part: SessionPart


def render_session(
    session: BgpSession, ends: Ends, credential: Credential | None, around: Surroundings
) -> Rendered:
    speaker = around.speaker
    password, problem = _password(session, credential)
    enabled = session.password is None or password is not None
    lines = [
        *_description(session, "" if enabled else problem),
        *([] if enabled else ["disabled;"]),
        *_transport(session, ends, speaker),
        *_timers(session),
        *_habits(session, speaker, around.settings),
        *([f'password "{HIDDEN}";'] if password is not None else []),
        *_channel(session, ends, around),
    ]
    body = "".join(f"  {line}\n" for line in lines)
    part = SessionPart(
        agreement=(*ends, password),
        enabled=enabled,
        problem="; ".join(filter(None, [problem, problem_of(session, speaker)])),
    )
    return Rendered(
        ends.name,
        f"protocol bgp {ends.name} from session {{\n{body}}}",
        password.reveal() if password is not None else "",
        _mark(session),
        part,
    )


def has_bfd(session: BgpSession, settings: BirdSettings) -> bool:
    name = "mesh" if session.kind == "mesh" else session.resource
    return "*" in settings.bfd or name in settings.bfd


def _password(session: BgpSession, credential: Credential | None) -> tuple[Password | None, str]:
    """The password to use, and what is wrong.  It is looked at again, whoever did before: one
    quotation mark would let it write BIRD's configuration.
    """
    if session.password is None:
        return None, ""
    if credential is None:
        return None, "password: not read yet"
    found, problem = credential
    if found is None:
        return None, f"password: refused: {problem or 'there is none'}"
    if not texts.is_password(found.reveal()):
        return None, "password: refused: not 1 to 80 printable ASCII characters without quotes"
    return found, f"password: last good, {problem}" if problem else ""


def _mark(session: BgpSession) -> str:
    secret = session.password
    return texts.note(f"<secret {secret.name}/{secret.key}>") if secret is not None else ""


def _description(session: BgpSession, problem: str) -> list[str]:
    about = f"BGPPeer {session.resource}" if session.resource else "node-to-node mesh"
    words = f"{about}; {problem}" if problem else about
    return [f'description "{texts.note(words)}";']


def _transport(session: BgpSession, ends: Ends, speaker: BgpSpeaker) -> list[str]:
    local = f" {ends.local}" if ends.local else ""
    local_port = f" port {ends.local_port}" if ends.local_port != BGP_PORT else ""
    port = f" port {ends.remote_port}" if ends.remote_port != BGP_PORT else ""
    lines = [
        f"local{local}{local_port} as {ends.local_as};",
        f"neighbor {ends.remote}{port} as {ends.remote_as};",
        f"multihop {ends.hops};" if ends.hops else "multihop;",
    ]
    if ends.hops:
        lines.append("ttl security on;")
    if speaker.bind_node_address:
        lines.append("strict bind on;")
    if session.passive:
        lines.append("passive on;")
    return lines


def _timers(session: BgpSession) -> list[str]:
    """BIRD refuses the whole file where a keepalive is longer than the hold time."""
    lines = []
    if session.keepalive_seconds is not None:
        keepalive = min(max(session.keepalive_seconds, 1), _LONGEST_HOLD // 3)
        lines.append(f"hold time {max(_HOLD, 3 * keepalive)};")
        lines.append(f"keepalive time {keepalive};")
    if session.restart_seconds is not None:
        restart = min(max(session.restart_seconds, 0), _LONGEST_RESTART)
        lines.append(f"graceful restart time {restart};")
    return lines


def _habits(session: BgpSession, speaker: BgpSpeaker, settings: BirdSettings) -> list[str]:
    lines = []
    if session.allow_local_as > 0:
        lines.append(f"allow local as {min(session.allow_local_as, 255)};")
    if session.client:
        lines.append("rr client;")
        lines.append(f"rr cluster id {texts.address(speaker.cluster_id, 4)};")
    if has_bfd(session, settings):
        lines.append("bfd on;")
    return lines


def _channel(session: BgpSession, ends: Ends, around: Surroundings) -> list[str]:
    limit = _LIMITS[session.trust]
    lines = [
        f"ipv{session.family} {{",
        "  add paths on;",
        *_NEXT_HOPS[session.next_hop],
        "  import keep filtered on;",
        f"  receive limit {limit} action block;",
        f"  import limit {limit} action block;",
    ]
    directions: tuple[Direction, Direction] = ("import", "export")
    for direction in directions:
        lines.append(f"  {direction} filter {{")
        steps = _steps(session, ends, direction, around)
        lines.extend(f"    {step};" for step in steps)
        lines.append("  };")
    return [*lines, "};"]


def _steps(
    session: BgpSession, ends: Ends, direction: Direction, around: Surroundings
) -> list[str]:
    """The guards come first, for a BGPFilter's Accept to end the walk and not to widen it; except
    where the operator has said otherwise, naming the BGPPeer.
    """
    family, speaker = session.family, around.speaker
    normal = speaker.priority_v4 if family == 4 else speaker.priority_v6
    convert = f"priority_{'in' if direction == 'import' else 'out'}({normal})"
    obey = "obey" if direction == "import" else f"obey_out{family}"
    asked = []
    for position, name in enumerate(session.filters):
        call = around.filters.call(name, direction, family, ends.internal, position)
        if isinstance(call, int):
            return [f"refuse({call})"]
        if call:
            asked.append(f"{obey}({call})")
    guard = _import_guard(session, ends, around) if direction == "import" else _export_guard(around)
    unguarded = bool(session.resource) and session.resource in around.settings.unguarded
    walk = [convert, *asked, *guard] if unguarded else [*guard, convert, *asked]
    if direction == "export":
        return [*walk, f"mark{family}()", "accept"]
    if session.trust == "workload":
        return [*walk, f"refuse({reasons.UNFILTERED})"]
    return [*walk, "accept"]


def _import_guard(session: BgpSession, ends: Ends, around: Surroundings) -> list[str]:
    match session.trust:
        case "node":
            return _guard(around, "from_node", ("CLUSTER",), owner_set(ends.remote), ends.remote)
        case "reflector":
            return [f"from_reflector{session.family}()"]
        case "workload":
            return _guard(around, "from_workload", ("CLUSTER",))
        case "outside":
            if around.speaker.fabric:
                return _guard(around, "from_fabric", ("CLUSTER", "NODES"))
            return _guard(around, "from_outside", ("CLUSTER",))


def _export_guard(around: Surroundings) -> list[str]:
    name = "reflect" if around.speaker.cluster_id else "to_peer"
    return _guard(around, name, ("CLUSTER", "OWN", "ADVERTISED", "WITHHELD"))


def _guard(
    around: Surroundings, function: str, common: tuple[str, ...], own: str = "", owner: str = ""
) -> list[str]:
    names = [*map(around.sets.name, common), *([own] if own else [])]
    arguments = ", ".join([*names, *([owner] if owner else [])])
    return [around.sets.seal(*names), f"{function}({arguments})"]
