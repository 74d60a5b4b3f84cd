"""The pure calculation graph: datastore values in, minimal updates out.

                             graph.update(key, value or None)
                                            |
      +---------------------+---------------+-----------------+---------------------+
      | local endpoints,    | all endpoints,                  | local endpoints,    | nodes, pools,
      | policies, profiles  | network sets, profiles' labels  | policies, tiers     | blocks,
      v                     |                                 |                     v services
    active_policies --------)---- match started, stopped ---> |                  passthru
      | those that matter   |                                 |                  vteps, wireguard
      v                     |                                 v                  route_resolver
    rule_scanner            |                           policy_resolver             |
      | rules |             v                                 | tiers per endpoint  |
      |       +------> ipset_members                          |                     |
      |     sets in use     | whole, added, removed           |                     |
      v                     v                                 v                     v
    sequencer ----- newest value of each, only if new, in dependency order -------------------
                                            |
                                   graph.flush() -> list[Update]

active_policies and ipset_members each have a label_index: selectors against labels, without testing
every pair.  route_resolver, which is told of local endpoints too, keeps facts (route_facts) by CIDR
in a net_table.  `model` is the vocabulary of what comes in, `updates` of what goes out.

Nothing in here does I/O, knows the time, logs, or waits; output is a function of the current state,
never of the path to it.
"""
