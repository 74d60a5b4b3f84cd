"""What is there although no one wrote it.

A source that is the only writer of its datastore (a directory of manifests) has to supply these
wherever no resource of the same key exists; in etcd the tiers are written by whoever set the
cluster up, and only the profile is supplied.
"""

from __future__ import annotations

from calc_graph.model import Profile, ProfileKey, Rule, Tier, TierKey

DEFAULT_ALLOW = "projectcalico-default-allow"

DEFAULT_ALLOW_PROFILE = (
    ProfileKey(DEFAULT_ALLOW),
    Profile(ingress=(Rule(action="allow"),), egress=(Rule(action="allow"),)),
)
DEFAULT_TIER = (TierKey("default"), Tier(order=1e6, default_action="Deny"))
