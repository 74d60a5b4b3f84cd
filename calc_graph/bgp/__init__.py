"""What BGP's sessions and announcements of this node are, computed from the datastore's values.

    resources.py   what the datastore says: the input vocabulary
    updates.py     what the dataplane is told: the output vocabulary
    graph.py       BgpGraph: update(key, value), in_sync(), flush(), and the drawing of it
    cluster.py       nodes and configurations: addresses, AS numbers, ports
    peerings.py      a BGPPeer that has been checked
    session.py       one session, from its two ends
    sessions.py      which sessions there are: the first of those who ask for one
    origins.py       which nets each node may announce
    speaker.py       this node's own side, and what contradicts itself in it
    felix.py         what FelixConfiguration has to agree to
    workload_peers.py  which workloads speak BGP with their node: for the big graph
    faults.py        what is wrong with the resources, until it is not any more

Nodes, pools and workload endpoints come in as well, as `calc_graph.model` has them.  Output is a
function of the current state alone, as that of the big graph beside it.
"""
