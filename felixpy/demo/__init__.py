"""`felixpy demo`: a node and a few workloads in network namespaces, the real agent, real traffic.

network   namespaces and the veth pairs between them; gone when the demo ends, however it ends
probe     runs inside a workload: answers on a port, tries to reach one
story     the acts: what is written into the policy file, and why
verdicts  who decided, from the packet counters of the rules
agent     the real agent, its log read
show      runs the acts
tell      says what happens: tables for people, JSON for programs
signals   whatever ends it, it tidies up
"""
