"""What BGP's sessions and announcements of this node are, computed from the datastore's values.

    resources.py   what the datastore says: the input vocabulary
    updates.py     what the dataplane is told: the output vocabulary
    graph.py       BgpGraph: update(key, value), in_sync(), flush()

Nodes, pools and workload endpoints come in as well, as `calc_graph.model` has them.  Output is a
function of the current state alone, as that of the big graph beside it.
"""
