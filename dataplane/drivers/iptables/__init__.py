"""Chains and hook rules into the kernel through iptables, nf_tables or legacy.

desired --> tables (graph, hooks, refusals) --> blocks --> writer --> kernel
              ^                                                         |
              +---- reader (save) <---- drift (monitor, fingerprints) <-+

driver   the one that others use; ties these together for one address family
detect   which backend, by which programs
sweep    everything of ours out of a backend
"""

from dataplane.drivers.iptables.detect import Backend, detect
from dataplane.drivers.iptables.driver import IptablesDriver
from dataplane.drivers.iptables.monitor import NftMonitor

__all__ = ["Backend", "IptablesDriver", "NftMonitor", "detect"]
