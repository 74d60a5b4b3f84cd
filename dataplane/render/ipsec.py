"""What IPsec adds to the fixed chains, for a family that it is on for: settings in, rules out.

    mangle PREROUTING, first   what workloads send is marked: policies of xfrm encrypt by that mark
    filter INPUT, OUTPUT       ESP from and to the nodes that publish an end of IPsec
    cali-fabric-spoof          what was decrypted comes by a tunnel
    cali-encrypted-in, -out    has gone, or goes, encrypted

The mark is set by the interface that a packet comes from, and not by where it goes: a packet to a
service gets its destination only in nat, after mangle.  It is the first rule, so that nothing that
accepts comes before it, and what no policy of xfrm matches goes on as without it.
A packet that was decrypted goes through all chains again, from the network's interface, with
another mark, which the receiving states have set.  The rule of raw that asks for the reverse path
is for packets from workloads, so it never sees one.  None of these bits is in Calico's own mask.
Policy of host endpoints is asked about the packets inside; the ESP around them is let by before.

Source: sections 4.1, 6.2 and 6.5 of the IPsec reference.
"""

from __future__ import annotations

from typing import Final

from dataplane.families import Family
from dataplane.ipsec.values import DECRYPTED, ENCRYPT, MARK_MASK
from dataplane.render import names, text
from dataplane.render.names import Direction, ipset_name
from dataplane.settings import RenderSettings

_ESP: Final = 50  # protocol number, as Felix writes those of tunnels
# Of what leaves: whether the kernel has found a policy that encrypts it.
_TO_ENCRYPT: Final = "-m policy --dir out --pol ipsec --mode tunnel --proto esp"
_DECRYPTED: Final = text.mark_is(DECRYPTED, MARK_MASK)

BY_IPSEC: Final[dict[Direction, str]] = {"ingress": _DECRYPTED, "egress": _TO_ENCRYPT}


def marking_rules(settings: RenderSettings) -> tuple[str, ...]:
    """The first ones of mangle PREROUTING."""
    mark = text.set_masked_mark(ENCRYPT, MARK_MASK)
    return tuple(
        f"{text.in_interface(f'{prefix}+')} {mark}" for prefix in settings.interface_prefixes
    )


def decrypted_rule() -> str:
    """Back to where the chain was called from."""
    return f"{_DECRYPTED} {text.RETURN}"


def input_rule(family: Family, settings: RenderSettings) -> str:
    return text.body(
        text.comment(f"Allow IPv{family} ESP packets from Calico hosts"),
        text.protocol(_ESP),
        text.in_set(ipset_name(names.IPSEC_NODES_SET, family), "src"),
        text.TO_LOCAL,
        text.verdict(settings.filter_allow_action),
    )


def output_rule(family: Family, settings: RenderSettings) -> str:
    return text.body(
        text.comment(f"Allow IPv{family} ESP packets to other Calico hosts"),
        text.protocol(_ESP),
        text.in_set(ipset_name(names.IPSEC_NODES_SET, family), "dst"),
        text.FROM_LOCAL,
        text.verdict(settings.filter_allow_action),
    )
