"""The limit of what a workload may always ask its host: a workload and the settings in, a chain of
its own out.

    cali-wl-to-host    neighbour discovery, DHCP, DNS, metadata   -> cali-wl-limit
    cali-wl-limit      dispatch by interface                      -> cali-lw-…
    cali-lw-…          within the rate: accepted; over it: dropped, counted, named

Policy cannot close that traffic, so without a limit a workload may keep its host busy with it.
What counts is the interface that a packet comes from and not its source: DHCP has none yet, and
among IPv6's link-local addresses a workload has the choice.  So nobody can use up the budget of
another one.  What policy lets a workload send to its host is no bootstrapping traffic, and is not
counted.  DROP whatever the deny action is: to answer a flood would be more work, not less.
"""

from __future__ import annotations

from dataplane.chains import Chain
from dataplane.render import names, text
from dataplane.settings import RenderSettings

OVER_LIMIT = "Drop over WorkloadToHostPacketRate: "  # and then, of which workload
NO_ENDPOINT = "no endpoint"  # instead of a workload: what interfaces without one share


def workload_limit_chain(interface: str, workload: str, settings: RenderSettings) -> Chain:
    """`interface` must have passed `safe_interface`; there is a limit."""
    rate, burst = settings.workload_to_host_rate, settings.workload_to_host_burst
    allow = text.verdict(settings.filter_allow_action)
    within = text.body(text.limit(f"{rate}/sec", burst), allow)
    over = text.body(text.comment(f"{OVER_LIMIT}{workload}"), text.DROP)
    return Chain(names.workload_limit(interface), (within, over))


def shared_limit_chain(settings: RenderSettings) -> Chain:
    """For interfaces with our prefix that have no endpoint."""
    return workload_limit_chain(names.ANY_INTERFACE, NO_ENDPOINT, settings)
