"""What the agent writes down for others about itself and its endpoints, as a Felix would.

    process.py     ProcessReporter: that the agent lives, to a StatusStore, every interval
    endpoints.py   EndpointReporter: the state of local endpoints, to a StatusStore, at a slow pace
    node_statuses.py NodeStatuses: how BGP is on this node, to whoever asks by a CalicoNodeStatus
    node_facts.py  NodeFacts: what is told there, and FactsProvider, who knows it
    files.py       EndpointFiles: which workloads may start, in files that the CNI plugin reads
    store.py       StatusStore: the promise of a place for status, and its error
    conditions.py  Conditions in a resource's status, which are Kubernetes' and not ours alone
    directory.py   DirectoryStatusStore: the place where there is no etcd
    keys.py        the names of all this in etcd and in the file system

A reporter is an endless task, `run`, that sleeps until there is something to do.  What it cannot
write is said once, stands in its `problem` as long as it lasts, and is tried again.
"""
