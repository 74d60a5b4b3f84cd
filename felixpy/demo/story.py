"""The acts of the demo: one file of policy, changed before the user's eyes."""

from __future__ import annotations

from typing import NamedTuple


class Workload(NamedTuple):
    name: str
    address: str
    labels: dict[str, str]
    port: int  # the TCP port it serves


class Act(NamedTuple):
    title: str
    policy: str  # the whole file; "" takes it away


WORKLOADS = (
    Workload("web", "10.65.0.2", {"app": "shop", "role": "web"}, 80),
    Workload("db", "10.65.0.3", {"app": "shop", "role": "db"}, 5432),
    Workload("intruder", "10.65.0.4", {"app": "other"}, 8080),
)

ACTS = (
    Act("No policy: the profile of every workload lets everything through", ""),
    Act(
        "The database opens to the web tier alone",
        """\
apiVersion: projectcalico.org/v3
kind: NetworkPolicy
metadata:
  name: database
  namespace: default
spec:
  selector: role == 'db'
  ingress:
  - action: Allow
    protocol: TCP
    source:
      selector: role == 'web'
    destination:
      ports: [5432]
""",
    ),
    Act(
        "A tier above it puts strangers into quarantine, and passes on what belongs to the shop",
        """\
apiVersion: projectcalico.org/v3
kind: Tier
metadata:
  name: security
spec:
  order: 100
---
apiVersion: projectcalico.org/v3
kind: GlobalNetworkPolicy
metadata:
  name: security.quarantine
spec:
  tier: security
  order: 1
  selector: all()
  ingress:
  - action: Deny
    source:
      notSelector: app == 'shop'
  - action: Pass
---
apiVersion: projectcalico.org/v3
kind: NetworkPolicy
metadata:
  name: database
  namespace: default
spec:
  selector: role == 'db'
  ingress:
  - action: Allow
    protocol: TCP
    source:
      selector: role == 'web'
    destination:
      ports: [5432]
""",
    ),
    Act(
        "A mistake (ingres): the last good version stays in force, and the log says where",
        """\
apiVersion: projectcalico.org/v3
kind: NetworkPolicy
metadata:
  name: database
  namespace: default
spec:
  selector: role == 'db'
  ingres:
  - action: Allow
""",
    ),
    Act("The file is taken away: everything is open again", ""),
)
