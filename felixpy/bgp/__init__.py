"""BGP's part of the shell: Secrets, the task that keeps BIRD as it should be, and what it tells.

secrets.py     Secrets as manifests or systemd credentials -> credentials
runner.py      graph -> dataplane.bird, beside the pipeline
upstream/      the mirrored policy for the routers above
"""
