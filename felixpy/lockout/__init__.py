"""The lockout guard: no change of policy cuts off those who keep this machine manageable.

    changes ─► guard.py ─► the graph, flushed ─► model.py    what host endpoints would do then
                  │                                  ▲
                  │         machine.py ─► flows.py ──┘       who must still get through
                  │         (wire.py, daemons.py)
                  ├─ search.py      which changes to hold back so that they do: the fewest
                  ├─ resources.py   which kinds can be held back, and whom a verdict points at
                  └─ words.py       which flow, which policy, which rule, for people

What is held back is a resource: it stays as it is in force, and everything else goes on, so that
the rules in the kernel are at any time those of one consistent state.  docs/lockout.md says what
the guard looks at, and what it cannot see.
"""
