"""What must be encrypted goes so or not at all, and what has left in clear is counted: settings in,
fixed chains and rules out.

    a policy that requires encryption allows   -> cali-encrypted-in, -out    by a goto, in place of
                                                                             a return
    mangle PREROUTING, first   its flows, and between encrypted pools  -> cali-encrypted-in
    mangle POSTROUTING, first  the same                                -> cali-encrypted-out
           and then            to workloads of other nodes             -> cali-by-ipsec-alone
           and then            not by WireGuard's device               -> cali-left-in-clear

    cali-encrypted-in   note the flow; came by loopback, by WireGuard, by IPsec or from a workload
                        of ours: back; else drop
    cali-encrypted-out  the same of where it goes; in filter only the note, because in INPUT a
                        packet goes nowhere, and after FORWARD and OUTPUT comes mangle POSTROUTING
    cali-by-ipsec-alone to a workload of ours, by loopback or by IPsec: back; else drop
    cali-left-in-clear  to a workload of ours or by loopback: back; else the set counts it

The note is a bit of the connection's mark.  An endpoint's chain accepts what belongs to a flow
without asking policy again, in both directions; so does a flow that began encrypted, and whose
peer has lost its key since.  Mangle sees all of them.  Untracked policy is asked about each packet,
and decides in raw, where there is no flow to note.

A note stays as long as its flow.  Where nothing requires encryption any more nobody reads it.

Between workloads of one host nothing leaves it, so nothing is to be encrypted.  It makes no
difference whether WireGuard is on: without it its device is not there, and nothing comes through.
IPsec has no device: what it lets by is told by the kernel, and asked only where it is on.  Policies
of xfrm close what it cannot encrypt; the rule here is for the moment in which somebody else has
flushed them and they are not yet back.
"""

from __future__ import annotations

from typing import Final

from msgspec import Struct

from dataplane.chains import Chain
from dataplane.families import Family
from dataplane.render import names, text
from dataplane.render.ipsec import BY_IPSEC
from dataplane.render.names import Direction, Table, ipset_name
from dataplane.settings import RenderSettings

IN_CLEAR: Final = "Must be encrypted: "  # and then, which way it went
ENCRYPTED: Final[dict[Direction, str]] = {
    "ingress": names.ENCRYPTED_IN,
    "egress": names.ENCRYPTED_OUT,
}
ENCRYPTED_PREFIX: Final = "cali-encrypted-"
POLICING: Final[tuple[Table, ...]] = ("raw", "mangle", "filter")  # tables with policy in them
_WAYS: Final[dict[Direction, str]] = {"ingress": "came in clear", "egress": "to leave in clear"}


class Guards(Struct, frozen=True):
    """What the fixed rules of one family have to look at.

    policies   a policy requires encryption
    pools      a pool of this family does; its set is there
    counted    what leaves in clear to workloads of other nodes; their set is there
    tunnelled  what goes there goes by IPsec or not at all; their set is there
    """

    policies: bool = False
    pools: bool = False
    counted: bool = False
    tunnelled: bool = False


NO_GUARDS: Final = Guards()


def encryption_chains(
    table: Table, settings: RenderSettings, device: str, *, ipsec: bool
) -> tuple[Chain, ...]:
    """For a family whose WireGuard device has this name, there or not; in any table but nat."""
    note = text.set_connection_mark(settings.marks.encrypted)
    notes = () if table == "raw" else (note,)
    arriving, leaving = (
        Chain(ENCRYPTED[direction], (*notes, *_ways(settings, device, direction, ipsec=ipsec)))
        for direction in ("ingress", "egress")
    )
    if table == "filter":
        leaving = Chain(leaving.name, notes)
    return arriving, leaving


def coverage_chain(family: Family, settings: RenderSettings) -> Chain:
    """Mangle.  The set's own counters count; the rule has no action."""
    remote = text.in_set(ipset_name(names.REMOTE_WORKLOADS_SET, family), "dst")
    title = text.comment("Left in clear")
    return Chain(names.LEFT_IN_CLEAR, (*_at_home(settings, "egress"), f"{title} {remote}"))


def tunnelled_chain(settings: RenderSettings) -> Chain:
    """Mangle, where IPsec is on and nothing in clear is allowed."""
    title = text.comment(f"{IN_CLEAR}{_WAYS['egress']}")
    by_ipsec = f"{BY_IPSEC['egress']} {text.RETURN}"
    return Chain(
        names.BY_IPSEC_ALONE,
        (*_at_home(settings, "egress"), by_ipsec, f"{title} {text.DROP}"),
    )


def arriving_rules(family: Family, settings: RenderSettings, guards: Guards) -> tuple[str, ...]:
    """At the start of mangle PREROUTING."""
    return _guard(family, settings, guards, "ingress")


def leaving_rules(
    family: Family, settings: RenderSettings, guards: Guards, device: str
) -> tuple[str, ...]:
    """At the start of mangle POSTROUTING: what is stopped has not left."""
    counted = f"! {text.out_interface(device)} {text.jump(names.LEFT_IN_CLEAR)}"
    remote = text.in_set(ipset_name(names.REMOTE_WORKLOADS_SET, family), "dst")
    return (
        *_guard(family, settings, guards, "egress"),
        *((f"{remote} {text.jump(names.BY_IPSEC_ALONE)}",) if guards.tunnelled else ()),
        *((counted,) if guards.counted else ()),
    )


def _guard(
    family: Family, settings: RenderSettings, guards: Guards, direction: Direction
) -> tuple[str, ...]:
    jump = text.jump(ENCRYPTED[direction])
    pools = ipset_name(names.ENCRYPTED_POOLS_SET, family)
    flows = text.connection_mark_set(settings.marks.encrypted)
    between = text.body(text.in_set(pools, "src"), text.in_set(pools, "dst"))
    return (
        *((f"{flows} {jump}",) if guards.policies else ()),
        *((f"{between} {jump}",) if guards.pools else ()),
    )


def _ways(
    settings: RenderSettings, device: str, direction: Direction, *, ipsec: bool
) -> tuple[str, ...]:
    title = text.comment(f"{IN_CLEAR}{_WAYS[direction]}")
    return (
        *_at_home(settings, direction),
        f"{_by(direction, device)} {text.RETURN}",
        *((f"{BY_IPSEC[direction]} {text.RETURN}",) if ipsec else ()),
        f"{title} {text.DROP}",
    )


def _at_home(settings: RenderSettings, direction: Direction) -> tuple[str, ...]:
    """What never is on a wire."""
    interfaces = ("lo", *(f"{prefix}+" for prefix in settings.interface_prefixes))
    return tuple(f"{_by(direction, name)} {text.RETURN}" for name in interfaces)


def _by(direction: Direction, interface: str) -> str:
    by = text.in_interface if direction == "ingress" else text.out_interface
    return by(interface)
