"""The policy against hijacking for the routers above, mirrored from that of the nodes.

                 snapshot of the datastore
                           |
    reading.py     one graph per node -> Cluster: pools, and every node with its peers outside
                           |
    build.py       Cluster, role and mode -> Upstream: sets, policies, sessions   (pure)
                           |
    render/        Upstream -> text of one vendor                                 (pure)

    model.py       what those three speak of
    below.py       who may announce what: nets by node, and blocks by length
    names.py       names that every vendor takes
    header.py      the comment on top: role, pools, what is stopped and what is not, a hash

What the nodes do for themselves is in dataplane.bird; either belt is enough without the other.
"""
