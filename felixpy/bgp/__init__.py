"""BGP's part of the shell: Secrets, the task that keeps BIRD as it should be, and what it tells.

secrets.py     Secrets as manifests or systemd credentials -> credentials
runner.py      graph -> dataplane.bird, beside the pipeline
node_facts.py  what BIRD says of itself -> the answer to a CalicoNodeStatus
upstream/      the mirrored policy for the routers above
"""
