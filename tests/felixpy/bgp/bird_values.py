"""A small cluster's worth of BGP, as the graph tells it: for tests of the shell."""

from __future__ import annotations

from calc_graph.bgp.resources import SecretRef
from calc_graph.bgp.updates import (
    BgpFaults,
    BgpOrigins,
    BgpPool,
    BgpSession,
    BgpSpeaker,
    BgpUpdate,
)

REF = SecretRef("bgp-secrets", "mesh")
SPEAKER = BgpSpeaker("n1", address_v4="10.0.0.1", pools=(BgpPool("10.65.0.0/16"),))
ORIGINS = BgpOrigins("n2", "10.0.0.2", "", ("10.65.2.0/26",))
MESH = BgpSession(
    "Mesh_10_0_0_2",
    4,
    "mesh",
    "node",
    "10.0.0.2",
    64512,
    64512,
    remote="n2",
    local_address="10.0.0.1",
    password=REF,
)
TOR = BgpSession(
    "Global_10_0_0_254",
    4,
    "global",
    "outside",
    "10.0.0.254",
    65001,
    64512,
    resource="tor",
    local_address="10.0.0.1",
    filters=("narrow", "wide"),
)
FAULTS = BgpFaults((("BGPPeer odd", "names no AS number"),))
UPDATES: list[BgpUpdate] = [SPEAKER, ORIGINS, MESH, TOR]
SECRET = """\
apiVersion: v1
kind: Secret
metadata: {name: bgp-secrets, namespace: calico-system}
stringData: {mesh: %s}
"""
