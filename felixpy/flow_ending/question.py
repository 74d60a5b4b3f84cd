"""A listed flow as the judge is asked about it: as a new one, in its original direction.

    in   a TrackedFlow, a judge, the machine's interfaces
    out  Flow, or None where it cannot be known which way its packets go

Connection tracking does not tell interfaces.  A local workload's is known by its address; that of
others is asked of the kernel's routes, and only where it matters because an endpoint of the host
stands at one of them.  The filter table sees the source as it was sent and the destination as it
was translated, which is the source of the replies.
"""

from __future__ import annotations

from ipaddress import ip_address
from typing import Final

from calc_graph.judge import Address, Flow, HostView, Judge
from dataplane.ctnetlink import TrackedFlow
from felixpy.ways import Ways

_WITH_PORTS: Final = frozenset((6, 17, 132, 136))
_WITH_TYPES: Final = frozenset((1, 58))
_IPVS: Final = "kube-ipvs0"  # services of IPVS are translated on their way into the host


class Machine:
    """Who is where, for the time of one reading; addresses are looked into once."""

    def __init__(self, view: HostView, ways: Ways) -> None:
        self.view = view
        self.ways = ways
        self._own = frozenset(
            ip_address(text).packed
            for interface in view.interfaces.values()
            for text in interface.addresses
        )
        self._ipvs = _IPVS in view.interfaces
        self._addresses: dict[bytes, Address | None] = {}

    def is_own(self, address: bytes) -> bool:
        return address in self._own

    def question(self, flow: TrackedFlow, judge: Judge) -> Flow | None:
        ends = flow.ends
        source, destination = self._address(ends.source), self._address(ends.reply_source)
        original = self._address(ends.destination)
        if source is None or destination is None or original is None:
            return None
        ports = flow.protocol in _WITH_PORTS
        translated = original != destination or (
            ports and flow.destination_port != flow.reply_source_port
        )
        if translated and self._ipvs:
            return None
        entering, leaving = self._interface(source, judge), self._interface(destination, judge)
        before = self._interface(original, judge) if translated and self.is_own(ends.source) else ""
        if entering is None or leaving is None or before is None:
            return None
        types = flow.protocol in _WITH_TYPES
        return Flow(
            source=source,
            destination=destination,
            protocol=flow.protocol,
            source_port=flow.source_port if ports else None,
            destination_port=flow.reply_source_port if ports else None,
            icmp_type=flow.icmp_type if types else None,
            icmp_code=flow.icmp_code if types else None,
            in_interface=entering or None,
            out_interface=leaving or None,
            original_destination=original if translated else None,
            original_port=flow.destination_port if translated and ports else None,
            original_out_interface=before or None,
        )

    def _interface(self, address: Address, judge: Judge) -> str | None:
        """ "" for this host itself; None where it cannot be known."""
        if address.packed in self._own:
            return ""
        workload = judge.workload_interface(address, self.view)
        return workload if workload is not None else self.ways.to(address.packed)

    def _address(self, packed: bytes) -> Address | None:
        """None for those that do not tell a place: many, or one of a link."""
        if packed not in self._addresses:
            address = ip_address(packed)
            placeless = address.is_multicast or address.is_link_local or address.is_unspecified
            broadcast = packed == b"\xff\xff\xff\xff"
            self._addresses[packed] = None if placeless or broadcast else address
        return self._addresses[packed]
