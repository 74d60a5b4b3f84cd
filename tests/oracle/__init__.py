"""A plain interpreter of Calico's policy: what a node does with the first packet of a flow.

    in   manifests of projectcalico.org/v3, as dicts, and a packet
    out  a Verdict: whether the packet gets through, and what decided that

Written from the published meaning of the resources, for clarity and without any index, and apart
from the agent: nothing of it is used here.  The agent and its kernel are asked the same questions,
and the answers compared.

    selectors.py   label selectors
    cluster.py     manifests -> endpoints, network sets, tiers, policies, profiles
    matching.py    does this rule match this packet?
    verdict.py     tiers, then profiles; egress of the source, then ingress of the destination

What is left out: host endpoints as places where policy applies (their addresses are known), NAT,
connection tracking (a packet is always the first of a flow, and one that can begin a flow), and
resources that are invalid.
"""

from tests.oracle.cluster import Cluster, read_cluster
from tests.oracle.packet import HOST, OUTSIDE, Packet
from tests.oracle.verdict import Settings, Verdict, judge

__all__ = ["HOST", "OUTSIDE", "Cluster", "Packet", "Settings", "Verdict", "judge", "read_cluster"]
