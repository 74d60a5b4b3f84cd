"""From the graph's updates to what each driver should hold.

    desired     all of the following: which update goes to whom
    fixed       the chains and hooks that every node has, whatever the datastore says
    sets        IP sets of rules, taken apart by address family
    policies    policies and profiles -> their chains
    workloads   workload endpoints and interfaces -> chains, dispatch, routes, neighbours, sysctls
    hosts       host endpoints and interfaces -> chains, dispatch
    addresses   pools, nodes and this host's addresses -> the sets that address translation asks

Each part keeps just what it was told and what it has made of that; it hands every change to the
drivers at `resolve`, and touches neither clock nor kernel.
"""
