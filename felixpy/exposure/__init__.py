"""Which local workloads policy lets reach what manages the cluster: `felixpy check exposure`.

    configuration, datastore, kernel ─► reading.py    read once; no agent need run
                                          │
                                          ├─ targets.py   what is asked about, and on which ports
                                          ├─ alike.py     which addresses no rule can tell apart
                                          ▼
                                        survey.py     the judge asked; what is alike, once
                                          ▼
                                        words.py      for people, and as JSON

docs/exposure.md says what an answer means, and what it does not.
"""
