"""The acts of the demo: a directory of policy, changed before the user's eyes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple


class Workload(NamedTuple):
    name: str
    address: str
    labels: dict[str, str]
    port: int  # the TCP port it serves


class Act(NamedTuple):
    """`files`: what each file of policy becomes; "" takes it away."""

    title: str
    files: Mapping[str, str] = {}


WORKLOADS = (
    Workload("web", "10.65.0.2", {"app": "shop", "role": "web"}, 80),
    Workload("db", "10.65.0.3", {"app": "shop", "role": "db"}, 5432),
    Workload("intruder", "10.65.0.4", {"app": "other"}, 8080),
)

_DATABASE = """\
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
"""

_QUARANTINE = """\
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
  selector: all()
  ingress:
  - action: Deny
    source:
      notSelector: app == 'shop'
  - action: Pass
"""

_MISTAKE = """\
apiVersion: projectcalico.org/v3
kind: NetworkPolicy
metadata:
  name: database
  namespace: default
spec:
  selector: role == 'db'
  ingres:
  - action: Allow
"""

ACTS = (
    Act("No policy: the profile of each workload lets everything through"),
    Act("The database opens to the web server alone", {"database.yaml": _DATABASE}),
    Act(
        "A tier above puts strangers into quarantine, and passes on what belongs to the shop",
        {"quarantine.yaml": _QUARANTINE},
    ),
    Act(
        'A mistake, "ingres": the last good version stays in force',
        {"database.yaml": _MISTAKE},
    ),
    Act(
        "The files are taken away: everything is open again",
        {"database.yaml": "", "quarantine.yaml": ""},
    ),
)
