"""What is said of the mesh, in plain words, made when it is asked for.  Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

from calc_graph.model import IpsecNode
from dataplane.families import Family
from dataplane.ipsec.choice import Choice, listed
from dataplane.ipsec.ends import End
from dataplane.ipsec.family import FamilyMesh
from dataplane.ipsec.ids import goes_around
from dataplane.ipsec.progress import PeerProgress, Stage
from dataplane.ipsec.retire import Keys

_NAMED_NODES = 5  # more of them would make no message clearer


def progress(
    name: str,
    end: End,
    choice: Choice,
    families: Mapping[Family, FamilyMesh],
    *,
    sends: int,
    sent: int,
    common: Iterable[int],
    allow_clear: bool,
) -> PeerProgress:
    reasons = dict(_family_reasons(name, end, choice, families))
    both = [m for f, m in families.items() if m.here and f in end.place.addresses]
    through = bool(both) and all(mesh.way(name).spi for mesh in both)
    stage: Stage = "in clear" if allow_clear else "closed"
    if choice.key and through:
        stage = "encrypted"
    elif choice.waits or (choice.key and both):
        stage = "waiting"
    reason = choice.reason or ("" if stage == "encrypted" else "; ".join(reasons.values()))
    return PeerProgress(
        name,
        stage,
        reason,
        sends=sends,
        sent=sent,
        common=tuple(common),
        spis=tuple(dict.fromkeys(spi for mesh in both for spi in mesh.spis(name))),
        ends=dict(end.place.addresses),
        families=reasons if choice.key else {},
    )


def _family_reasons(
    name: str, end: End, choice: Choice, families: Mapping[Family, FamilyMesh]
) -> Iterable[tuple[Family, str]]:
    for family, mesh in families.items():
        if not mesh.here:
            yield family, f"this node has no IPv{family} address"
        elif family not in end.place.addresses:
            yield family, f"has no IPv{family} address"
        elif choice.key and not mesh.way(name).spi:
            yield family, f"waits for the kernel to have the state of key {choice.key}"


def key_problems(
    keys: Keys, held: Mapping[int, Collection[str]], records: Mapping[str, IpsecNode]
) -> dict[str, str]:
    """`held`: key that has left the ring -> nodes that may still send with it."""
    found: dict[str, str] = {}
    if not keys.ring:
        found["key ring"] = "there is no key to encrypt with"
    elif goes_around(keys.alive):
        found["key ring"] = f"of keys {listed(keys.alive)} none is the newest"
    for key, nodes in held.items():
        if nodes:
            found[f"key {key}"] = f"has left the key file, and is used by {_named(nodes)}"
    for key, check in keys.alive.items():
        others = [n for n, r in records.items() if r.enabled and r.receive.get(key, check) != check]
        same = [n for n, r in records.items() if r.enabled and r.receive.get(key) == check]
        if not others:
            continue
        if len(others) > len(same):
            found[f"key {key}"] = f"here is another one than at {_named(others)}"
        else:
            found[f"key {key}"] = f"is another one at {_named(others)} than here"
    for key in keys.refused():
        found[f"key {key}"] = (
            "stands for another key in the key file than in states that are still used: "
            "use a new ID"
        )
    return found


def _named(nodes: Collection[str]) -> str:
    names = sorted(nodes)
    more = len(names) - _NAMED_NODES
    shown = ", ".join(names[:_NAMED_NODES])
    return f"{shown} and {more} more" if more > 0 else shown
