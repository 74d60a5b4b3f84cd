"""BGP's part of the shell: Secrets, the task that keeps BIRD as it should be, and what it tells.

part.py        its place in the pipeline: runner.py where it is on, off.py where it is not
runner.py      graph -> dataplane.bird, beside the pipeline
bringing.py    the task that keeps BIRD with the newest version; looks.py, netstat.py: what is up
report.py      problems, status, details; figures.py, metrics.py: for Prometheus
control.py     details over the control socket; offline.py: what would be rendered, for commands
secrets.py     Secrets as manifests or systemd credentials -> credentials
rbac.py        what Kubernetes has to allow for them
node_facts.py  what BIRD says of itself -> the answer to a CalicoNodeStatus
upstream/      the mirrored policy for the routers above
"""
