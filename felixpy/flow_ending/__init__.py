"""Flows that a new deny forbids end: ConntrackFlushOnPolicyChange.

    updates, as the dataplane is told ─► ender.py ─► the judge, before and after
                                           ├─ scope.py      which flows a change may concern
    connection tracking, listed ──────────►├─ question.py   a listed flow as the judge is asked
                                           ▼
        exactly the entries that were allowed before and are refused, or must be encrypted, now:
        deleted

Nothing is ended on doubt: of a flow that the judge would have refused before, too, somebody else
has decided; one whose ends have moved, that another flow announced, that is in a zone of its own
or comes from where the judge cannot know, stays.
"""
